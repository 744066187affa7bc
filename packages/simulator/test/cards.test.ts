/** Tests of the echo card and the scripted card. */
import { describe, expect, it } from 'vitest'
import { createEchoCard, createPivCard, ScriptedCard } from '../src/index.ts'

describe('simple cards', () => {
  it('the echo card joins command chains and returns long responses in parts', async () => {
    const card = createEchoCard()
    expect(await card.process(Uint8Array.of(0x10, 0x10, 0, 0, 1, 7))).toEqual(Uint8Array.of(0x90, 0))
    expect(await card.process(Uint8Array.of(0, 0x10, 0, 0, 1, 8, 0))).toEqual(Uint8Array.of(7, 8, 0x90, 0))
    const first = await card.process(Uint8Array.of(0, 0x12, 1, 4, 0))
    expect([first.length, ...first.slice(-2)]).toEqual([258, 0x61, 4])
    expect(await card.process(Uint8Array.of(0, 0xc0, 0, 0, 4))).toEqual(Uint8Array.of(0, 1, 2, 3, 0x90, 0))
  })

  it('the scripted card reports missing and unexpected commands', async () => {
    const card = new ScriptedCard([{ command: '00a40400', response: '9000' }])
    expect(() => card.check()).toThrow(/did not receive 00a40400/)
    expect(await card.process(Uint8Array.of(0, 0xa4, 4, 0))).toEqual(Uint8Array.of(0x90, 0))
    card.check()
    expect(await card.process(Uint8Array.of(1, 2, 3, 4))).toEqual(Uint8Array.of(0x6f, 0))
    expect(() => card.check()).toThrow(/01020304 instead of no command/)
  })

  it('PIV cards with different keys have the same default GUID', () => {
    expect(createPivCard().guid).toEqual(createPivCard({ nineA: 'p256' }).guid)
  })
})
