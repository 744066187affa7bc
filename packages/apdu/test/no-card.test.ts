import { describe, expect, it } from 'vitest'
import { reasonForNoCard } from '@webtoki/apdu'

describe('the reason why no slot has a usable card', () => {
  it.each([
    [
      'a reader in use before a card that does not respond',
      ['unreadable', { inUse: 'tab' }],
      'reader/in-use',
    ],
    ['a card that does not respond before empty slots', ['empty', 'unreadable'], 'card/mute'],
    ['undefined for empty slots', ['empty', 'empty'], undefined],
    ['undefined for no slots', [], undefined],
  ] as const)('is %s', (_what, presences, code) => {
    expect(reasonForNoCard(presences)?.code).toBe(code)
  })
})
