/** Runs every code block of docs/operations.md unchanged. */
import { deepEqual } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { CKA, CKM, CKO, type Session, type Slot } from '@webtoki/cryptoki'
import { beforeAll, describe, expect, it } from 'vitest'
import { type KindsSetup, openKinds, outcomeOf } from './kinds-setup.ts'
import { object } from './piv-setup.ts'

const page = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
const blocks = [...page.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, text = '']) => text)

/** Throws unless `act` fails with that code; resolves to the error. */
async function refuses(code: string, act: () => unknown): Promise<unknown> {
  let error: unknown
  const acted = (async () => act())().catch((thrown: unknown) => {
    error = thrown
    throw thrown
  })
  deepEqual((await outcomeOf(acted)).code, code)
  return error
}

const run = Object.getPrototypeOf(async () => {}).constructor as new (
  ...parts: string[]
) => (...values: readonly unknown[]) => Promise<void>

describe('docs/operations.md', () => {
  let setup: KindsSetup
  let firstSession: Session
  let slots: Readonly<Record<'singleSlot' | 'abandonSlot', Slot>>
  beforeAll(async () => {
    setup = await openKinds()
    firstSession = setup.session
    slots = {
      singleSlot: (await openKinds({ dualOperations: false })).slot,
      abandonSlot: (await openKinds({ onConflict: 'abandon' })).slot,
    }
  })

  it('has code for each sentence S1 to S12 of the standard', () => {
    for (let at = 1; at <= 12; at++) expect(page).toMatch(new RegExp(`\\(.*\\bS${at}\\b.*\\)`))
    expect(blocks.length).toBeGreaterThanOrEqual(12)
  })

  it.each(blocks.map((text, at) => [at + 1, text.split('\n')[0], text] as const))(
    'runs block %i: %s',
    async (_at, _line, text) => {
      const session = await setup.slot.openSession()
      const spec = setup.examples.encrypt.spec
      const given = {
        session,
        slot: setup.slot,
        ...slots,
        privateKey: await object(firstSession, CKO.PRIVATE_KEY, 1),
        publicKey: await object(firstSession, CKO.PUBLIC_KEY, 1),
        aes: spec !== undefined && 'key' in spec ? spec.key : undefined,
        data: Uint8Array.from({ length: 50 }, (_, at) => at),
        iv: new Uint8Array(16),
        sha256: { type: CKM.SHA256 },
        rsa: { type: CKM.SHA256_RSA_PKCS },
        cbc: { type: CKM.AES_CBC_PAD, iv: new Uint8Array(16) },
        equal: deepEqual,
        refuses,
      }
      expect(given.privateKey.get(CKA.ID)).toEqual(Uint8Array.of(1))
      await new run(...Object.keys(given), `'use strict'\n${text}`)(...Object.values(given))
      await session.close()
    },
  )
})
