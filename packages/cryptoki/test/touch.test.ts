/** Keys that wait for a touch: when awaiting-touch is emitted, and what a missed touch returns. */
import {
  CKA,
  CKM,
  CKO,
  CKR,
  CKS,
  CKU,
  type CkObject,
  type SignatureMechanism,
  type Session,
} from '@webtoki/cryptoki'
import { type PivCardOptions, readerProfiles } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { bytesOf, object, open, rightPin, type SetupOptions, verifies } from './piv-setup.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }
const message = bytesOf('x')
/** The ATR of a YubiKey 5, from the list of pcsc-tools. */
const yubiKey5 = Uint8Array.from(Buffer.from('3bfd1300008131fe158073c021c057597562694b657940', 'hex'))
const yubiKey = (options: PivCardOptions): PivCardOptions => ({
  atr: yubiKey5,
  vendorExtensions: true,
  ...options,
})

/** A clock that advances by 600 ms each time it is read. */
function ticking(): () => number {
  let ms = 0
  return () => (ms += 600)
}

async function phasesOf(session: Session, mechanism: SignatureMechanism, key: CkObject): Promise<string[]> {
  const phases: string[] = []
  await session.sign(mechanism, key, message).result({ onEvent: ({ phase }) => phases.push(phase) })
  return phases
}

/** A card whose use of the key after VERIFY takes that many time extensions. */
async function slowCard(frames: number, options: SetupOptions = {}) {
  const made = await open({
    cryptoki: { login: 'on-demand', now: ticking() },
    intercept: async (command, card) => {
      if (command[1] === 0x20 && command.length > 5)
        made.reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames })
      return card.process(command)
    },
    ...options,
  })
  return made
}

// The cases of Yubico.NET.SDK issue 229, teleport pull request 16781 and pivy issue 38.
describe('awaiting-touch, on a card that does not report its touch policy', () => {
  it.each(['short', 'extended'] as const)(
    'is emitted once after a second of time extensions during a signature, at %s level',
    async (level) => {
      const { session, cryptoki } = await slowCard(5, { level })
      const key = await object(session, CKO.PRIVATE_KEY, 2)
      const phases = await phasesOf(session, ecdsa, key)
      expect(phases.slice(phases.lastIndexOf('awaiting-pin'))).toEqual([
        'awaiting-pin',
        'awaiting-card',
        'awaiting-card',
        'awaiting-touch',
        'done',
      ])
      await cryptoki.close()
    },
  )

  it('is emitted over T=1 if the card extends the time with S(WTX)', async () => {
    const { session, cryptoki } = await open({
      profile: readerProfiles.gemPcTwin,
      contact: { extensions: [1, 1, 1] },
      cryptoki: { login: 'on-demand', now: ticking() },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const phases = await phasesOf(session, ecdsa, key)
    expect(phases.slice(-2)).toEqual(['awaiting-touch', 'done'])
    expect(phases.indexOf('awaiting-touch')).toBeGreaterThan(phases.indexOf('awaiting-pin'))
    await cryptoki.close()
  })

  it('is not emitted within a second', async () => {
    const { session, cryptoki } = await slowCard(1)
    const phases = await phasesOf(session, ecdsa, await object(session, CKO.PRIVATE_KEY, 2))
    expect(phases).not.toContain('awaiting-touch')
    await cryptoki.close()
  })

  it('is never emitted for commands that use no private key, however long they take', async () => {
    const { session, reader, cryptoki } = await open({ cryptoki: { now: ticking() } })
    reader.faults.schedule({ kind: 'time-extension', ends: 'until-reset', frames: 5 })
    const phases: string[] = []
    const onEvent = ({ phase }: { readonly phase: string }) => void phases.push(phase)
    await session.login(CKU.USER, rightPin, { onEvent })
    await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE }).result({ onEvent })
    expect(phases).toContain('awaiting-card')
    expect(phases).not.toContain('awaiting-touch')
    await cryptoki.close()
  })
})

describe('awaiting-touch, on a card that reports its touch policy', () => {
  it('is emitted before the card requests any time extension', async () => {
    const seen: string[] = []
    let atTouch: readonly string[] = []
    const { session, cryptoki } = await open({
      card: yubiKey({
        policies: { '9A': { touch: 'always' } },
        touch: async () => {
          atTouch = [...seen]
          return true
        },
      }),
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(rsa, key, message).result({ onEvent: ({ phase }) => seen.push(phase) })
    expect(atTouch.at(-1)).toBe('awaiting-touch')
    await cryptoki.close()
  })

  it('is not emitted for a key without a touch policy, even if the card is slow', async () => {
    const { session, cryptoki } = await slowCard(5, { card: yubiKey({}) })
    const phases = await phasesOf(session, ecdsa, await object(session, CKO.PRIVATE_KEY, 2))
    expect(phases).not.toContain('awaiting-touch')
    await cryptoki.close()
  })
})

// The cases of yubico-piv-tool issue 185 and smallstep/crypto issue 1076.
describe('a missed touch returns CKR_FUNCTION_REJECTED and keeps the login:', () => {
  const missed = expect.objectContaining({
    rv: CKR.FUNCTION_REJECTED,
    cause: expect.objectContaining({ code: 'card/touch-missed' }),
  })

  it.each([
    { reports: true, id: 1, mechanism: rsa, pinEntries: 1 },
    { reports: false, id: 1, mechanism: rsa, pinEntries: 1 },
    { reports: true, id: 2, mechanism: ecdsa, pinEntries: 2 },
    { reports: false, id: 2, mechanism: ecdsa, pinEntries: 2 },
  ])(
    'the next signature works: key $id, card reports its policy: $reports',
    async ({ reports, id, mechanism, pinEntries }) => {
      const touches = [false, true]
      const policies = { '9A': { touch: 'always' }, '9C': { touch: 'always' } } as const
      const options = { policies, touch: async () => touches.shift() ?? true }
      const { session, card, cryptoki } = await open({
        card: reports ? yubiKey(options) : options,
        cryptoki: { login: 'on-demand' },
      })
      const key = await object(session, CKO.PRIVATE_KEY, id)
      await expect(session.sign(mechanism, key, message)).rejects.toEqual(missed)
      expect([card.pinVerified, card.pinTriesLeft]).toEqual([true, 3])
      await session.sign(mechanism, key, message)
      expect(verifies(card)).toBe(pinEntries)
      await cryptoki.close()
    },
  )

  it('an earlier login stays, on a card that reports its policy', async () => {
    const touches = [true, false, true]
    const { session, card, cryptoki } = await open({
      card: yubiKey({
        policies: { '9A': { touch: 'always' } },
        touch: async () => touches.shift() ?? false,
      }),
    })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(rsa, key, message)
    await expect(session.sign(rsa, key, message)).rejects.toEqual(missed)
    expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
    await session.sign(rsa, key, message)
    expect([verifies(card), key.get(CKA.ALWAYS_AUTHENTICATE)]).toEqual([1, false])
    await cryptoki.close()
  })

  it('an earlier login stays, on a card that only waited for a second', async () => {
    const touches = [true, false, true]
    let uses = 0
    const { session, card, reader, cryptoki } = await open({
      card: {
        nineA: 'p256',
        policies: { '9A': { touch: 'always' } },
        touch: async () => touches.shift() ?? false,
      },
      cryptoki: { login: 'on-demand', now: ticking() },
      intercept: (command, virtualCard) => {
        // From the second use on the card is slow.
        if (command[1] === 0x87 && ++uses === 1)
          reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 3 })
        return virtualCard.process(command)
      },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(ecdsa, key, message)
    await expect(session.sign(ecdsa, key, message)).rejects.toEqual(missed)
    await session.sign(ecdsa, key, message)
    expect([verifies(card), key.get(CKA.ALWAYS_AUTHENTICATE)]).toEqual([1, false])
    await cryptoki.close()
  })

  it('no PIN is requested by a key that needs only a touch', async () => {
    const { session, card, cryptoki } = await open({
      card: yubiKey({ policies: { '9A': { pin: 'never', touch: 'always' } }, touch: async () => false }),
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await expect(session.sign(rsa, key, message)).rejects.toEqual(missed)
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })
})
