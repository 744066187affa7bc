/** Keys that wait for a touch: who is told, when, and what a missed one is. */
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
/** YubiKey 5 (pcsc-tools' list). */
const yubiKey5 = Uint8Array.from(Buffer.from('3bfd1300008131fe158073c021c057597562694b657940', 'hex'))
const yubiKey = (options: PivCardOptions): PivCardOptions => ({
  atr: yubiKey5,
  vendorExtensions: true,
  ...options,
})

/** A clock that is 600 ms later each time it is looked at. */
function ticking(): () => number {
  let ms = 0
  return () => (ms += 600)
}

async function phasesOf(session: Session, mechanism: SignatureMechanism, key: CkObject): Promise<string[]> {
  const phases: string[] = []
  await session.sign(mechanism, key, message).result({ onEvent: ({ phase }) => phases.push(phase) })
  return phases
}

/** The command after VERIFY, the use of the key, is answered after so many time extensions. */
async function thinking(frames: number, options: SetupOptions = {}) {
  const made = await open({
    cryptoki: { login: 'on-demand', now: ticking() },
    between: async (command, card) => {
      if (command[1] === 0x20 && command.length > 5)
        made.reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames })
      return card.process(command)
    },
    ...options,
  })
  return made
}

// The kind of Yubico.NET.SDK issue 229, teleport pull request 16781 and pivy issue 38.
describe('awaiting-touch, on a card that does not tell of touches', () => {
  it.each(['short', 'extended'] as const)(
    'is told once, after a second of time extensions over a signature, at %s level',
    async (level) => {
      const { session, cryptoki } = await thinking(5, { level })
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

  it('is told over T=1, where the card asks for time by S(WTX)', async () => {
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

  it('is not told for less than a second', async () => {
    const { session, cryptoki } = await thinking(1)
    const phases = await phasesOf(session, ecdsa, await object(session, CKO.PRIVATE_KEY, 2))
    expect(phases).not.toContain('awaiting-touch')
    await cryptoki.close()
  })

  it('is never told for commands that use no private key, however long they take', async () => {
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

describe('awaiting-touch, on a card that tells which keys want one', () => {
  it('is told before the card has asked for any time', async () => {
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

  it('is not told for a key that wants none, though its card takes its time', async () => {
    const { session, cryptoki } = await thinking(5, { card: yubiKey({}) })
    const phases = await phasesOf(session, ecdsa, await object(session, CKO.PRIVATE_KEY, 2))
    expect(phases).not.toContain('awaiting-touch')
    await cryptoki.close()
  })
})

// The kind of yubico-piv-tool issue 185 and smallstep/crypto issue 1076.
describe('a touch that is not given in time is CKR_FUNCTION_REJECTED and no lost login', () => {
  const missed = expect.objectContaining({
    rv: CKR.FUNCTION_REJECTED,
    cause: expect.objectContaining({ code: 'card/touch-missed' }),
  })

  it.each([
    { tells: true, id: 1, mechanism: rsa, asked: 1 },
    { tells: false, id: 1, mechanism: rsa, asked: 1 },
    { tells: true, id: 2, mechanism: ecdsa, asked: 2 },
    { tells: false, id: 2, mechanism: ecdsa, asked: 2 },
  ])(
    'the next signature works: key $id, card tells of touches: $tells',
    async ({ tells, id, mechanism, asked }) => {
      const touches = [false, true]
      const policies = { '9A': { touch: 'always' }, '9C': { touch: 'always' } } as const
      const options = { policies, touch: async () => touches.shift() ?? true }
      const { session, card, cryptoki } = await open({
        card: tells ? yubiKey(options) : options,
        cryptoki: { login: 'on-demand' },
      })
      const key = await object(session, CKO.PRIVATE_KEY, id)
      await expect(session.sign(mechanism, key, message)).rejects.toEqual(missed)
      expect([card.pinVerified, card.pinTriesLeft]).toEqual([true, 3])
      await session.sign(mechanism, key, message)
      expect(verifies(card)).toBe(asked)
      await cryptoki.close()
    },
  )

  it('a login made long before it stays, on a card that tells', async () => {
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

  it('a login made long before it stays, on a card that only waited for a second', async () => {
    const touches = [true, false, true]
    let uses = 0
    const { session, card, reader, cryptoki } = await open({
      card: {
        nineA: 'p256',
        policies: { '9A': { touch: 'always' } },
        touch: async () => touches.shift() ?? false,
      },
      cryptoki: { login: 'on-demand', now: ticking() },
      between: (command, own) => {
        // The first use is over: the second one takes its time.
        if (command[1] === 0x87 && ++uses === 1)
          reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 3 })
        return own.process(command)
      },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(ecdsa, key, message)
    await expect(session.sign(ecdsa, key, message)).rejects.toEqual(missed)
    await session.sign(ecdsa, key, message)
    expect([verifies(card), key.get(CKA.ALWAYS_AUTHENTICATE)]).toEqual([1, false])
    await cryptoki.close()
  })

  it('nobody is asked for a PIN by a key that wants a touch alone', async () => {
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
