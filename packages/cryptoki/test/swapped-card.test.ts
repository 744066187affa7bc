/**
 * A card swapped during a PIN dialog: a PIN for one card never reaches another, even if the reader does not
 * notice the swap.
 */
import { ccidSlots } from '@webtoki/ccid'
import {
  CKA,
  CKM,
  CKO,
  CKR,
  CKU,
  Cryptoki,
  type PinRequest,
  type PinSource,
  type Slot,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createPivCard,
  type PivCard,
  type PivCardOptions,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { bytesOf, commands, rightPin, verifies } from './piv-setup.ts'

const { jinmuyuMr800, dualiAbcm6 } = readerProfiles
/** Powers cards itself and has an interrupt endpoint, which reports a quick swap as one change. */
const withInterrupt: ReaderProfile = { ...jinmuyuMr800, interrupt: true }
/** The same reader without an interrupt endpoint; an inserted card has no power until the host powers it. */
const poweredByHost: ReaderProfile = {
  ...jinmuyuMr800,
  ccidDescriptor: jinmuyuMr800.ccidDescriptor.replace('be0104000f02', 'ba0104000f02'),
}
const withPinPad: ReaderProfile = {
  ...jinmuyuMr800,
  ccidDescriptor: `${jinmuyuMr800.ccidDescriptor.slice(0, 104)}0301`,
}
const otherGuid = new Uint8Array(16).fill(7)

const open: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of open.splice(0)) await cryptoki.close()
})

async function setUp(
  profile: ReaderProfile,
  options: { card?: PivCardOptions; other?: PivCardOptions } = {},
) {
  const reader = new VirtualCcidReader(profile)
  const card = createPivCard(options.card)
  const other = createPivCard({ guid: otherGuid, ...options.other })
  reader.insert(card)
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  const cryptoki = new Cryptoki({ sources: [source], drivers: [pivDriver()], login: 'on-demand' })
  open.push(cryptoki)
  const [slot] = (await firstValueFrom(cryptoki.slots$)) as [Slot, ...Slot[]]
  await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
  return { reader, card, other, slot }
}

/** A PIN source that runs `happens` before it returns the PIN. */
const pinAfter =
  (happens: () => unknown, requests: PinRequest[] = []): PinSource =>
  async (request) => {
    requests.push(request)
    await happens()
    return rightPin(request)
  }

const key = async (session: Awaited<ReturnType<Slot['openSession']>>, id: number) => {
  const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(id) }
  const [found] = await session.findObjects(template)
  if (found === undefined) throw new Error('No such key found.')
  return found
}

/** Counts every command with a PIN that the card received, with or without PIV selected. */
const pinsAt = (card: PivCard): number =>
  card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0).length

describe.each([
  ['without an interrupt endpoint', jinmuyuMr800],
  ['with an interrupt endpoint', withInterrupt],
])('at a reader that powers cards itself, %s,', (_, profile) => {
  describe.each<[string, PivCardOptions]>([
    ['that has to be selected', {}],
    ['whose PIV application is selected by default', { isDefaultSelected: true }],
    ['without a GUID', { isDefaultSelected: true, guid: new Uint8Array(16) }],
  ])('another card %s', (_kind, other) => {
    it('gets no PIN typed for the first one, whose session ends with CKR_DEVICE_REMOVED', async () => {
      const made = await setUp(profile, { other })
      const session = await made.slot.openSession({
        pin: pinAfter(() => made.reader.insert(made.other)),
      })
      await expect(session.login(CKU.USER)).rejects.toMatchObject({
        rv: CKR.DEVICE_REMOVED,
        cause: { code: 'card/gone', why: 'replaced' },
      })
      expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([0, 0])
      expect((await session.ended)?.rv).toBe(CKR.DEVICE_REMOVED)
      // The next session belongs to the other card.
      const next = await made.slot.openSession({ pin: rightPin })
      await next.login(CKU.USER)
      expect([pinsAt(made.card), pinsAt(made.other), made.other.pinVerified]).toEqual([0, 1, true])
    })

    it('gets no PIN typed for one signature', async () => {
      const made = await setUp(profile, { other })
      const session = await made.slot.openSession({ pin: rightPin })
      await session.login(CKU.USER)
      const signing = session.sign({ type: CKM.ECDSA_SHA256 }, await key(session, 2), new Uint8Array(3), {
        pin: pinAfter(() => made.reader.insert(made.other)),
      })
      await expect(signing).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
      expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([1, 0])
      expect(made.other.log.some(({ ins }) => ins === 0x87)).toBe(false)
    })

    it('gets no PIN typed for an on-demand login', async () => {
      const made = await setUp(profile, { other })
      const session = await made.slot.openSession({ pin: pinAfter(() => made.reader.insert(made.other)) })
      const nineA = await key(session, 1)
      const signing = session.sign({ type: CKM.SHA256_RSA_PKCS }, nineA, new Uint8Array(3))
      await expect(signing).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
      expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([0, 0])
    })
  })

  it('the same card after reinsertion needs a new session, because nothing is selected on it', async () => {
    const made = await setUp(profile)
    const session = await made.slot.openSession({ pin: pinAfter(() => made.reader.insert(made.card)) })
    await expect(session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect(pinsAt(made.card)).toBe(0)
  })

  it('attempts that the card lost elsewhere are seen before its last one is used', async () => {
    const made = await setUp(profile, { card: { isDefaultSelected: true } })
    const session = await made.slot.openSession({
      pin: pinAfter(async () => {
        made.reader.remove()
        const wrong = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('999999'), 0xff, 0xff)
        for (let tries = 0; tries < 2; tries++) await made.card.process(wrong)
        made.reader.insert(made.card)
      }),
    })
    // The session has ended if the removal was noticed; otherwise the retry counter shows it.
    await expect(session.login(CKU.USER)).rejects.toMatchObject({
      cause: { code: expect.stringMatching(/card\/(last-try|gone)/) as string },
    })
    expect(made.card.pinTriesLeft).toBe(1)
  })
})

describe('at a reader that powers cards itself and has no interrupt endpoint,', () => {
  // SELECT, CHUID, discovery, attempts; attempts and CHUID again; VERIFY.
  it.each([1, 2, 3, 4, 5])('a card inserted before APDU %i of a login gets no PIN', async (skip) => {
    const made = await setUp(jinmuyuMr800)
    made.reader.faults.schedule({ kind: 'card-swapped', card: made.other, ends: 'once' }, { skip })
    const login = made.slot.openSession({ pin: rightPin }).then((session) => session.login(CKU.USER))
    await expect(login).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([0, 0])
  })

  it('each PIN costs two more APDUs: the attempts left, and the identity of the card', async () => {
    const made = await setUp(jinmuyuMr800)
    const session = await made.slot.openSession({ pin: rightPin })
    await session.login(CKU.USER)
    const nineC = await key(session, 2)
    made.card.log.length = 0
    await session.sign({ type: CKM.ECDSA_SHA256 }, nineC, new Uint8Array(3))
    expect(commands(made.card)).toEqual(['20 00 80', 'cb 3f ff', '20 00 80', '87 11 9c'])
    expect(verifies(made.card)).toBe(1)
  })

  it('a card without a CHUID is recognized and gets its PIN', async () => {
    const made = await setUp(jinmuyuMr800, { card: { guid: new Uint8Array(16) } })
    const session = await made.slot.openSession({ pin: rightPin })
    await session.login(CKU.USER)
    expect(made.card.pinVerified).toBe(true)
  })

  it('a card inserted before the entry on the PIN pad gets no PIN', async () => {
    const made = await setUp(withPinPad, { other: { isDefaultSelected: true } })
    made.reader.person = async () => ({ digits: '123456' })
    const session = await made.slot.openSession()
    made.reader.insert(made.other)
    await expect(session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([0, 0])
    expect(made.reader.counters.messages.get('Secure')).toBeUndefined()
  })

  it('consent to the last attempt is valid for the card that it was requested for', async () => {
    const made = await setUp(withPinPad, {
      card: { pinTries: 1 },
      other: { pinTries: 1, isDefaultSelected: true },
    })
    made.reader.person = async () => ({ digits: '999999' })
    const pin: PinSource = async () => {
      made.reader.insert(made.other)
      return { pin: new Uint8Array(0), acceptLastTry: true }
    }
    const session = await made.slot.openSession({ pin })
    await expect(session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect([made.card.pinTriesLeft, made.other.pinTriesLeft]).toEqual([1, 1])
  })
})

describe('a reader that notices a swap needs no more APDUs:', () => {
  it.each([
    ['it has an interrupt endpoint', dualiAbcm6],
    ['it has one and powers cards itself', withInterrupt],
    ['it has none, but a new card has no power', poweredByHost],
  ])('%s', async (_, profile) => {
    const made = await setUp(profile)
    const session = await made.slot.openSession({ pin: rightPin })
    await session.login(CKU.USER)
    const nineC = await key(session, 2)
    made.card.log.length = 0
    await session.sign({ type: CKM.ECDSA_SHA256 }, nineC, new Uint8Array(3))
    expect(commands(made.card)).toEqual(['20 00 80', '87 11 9c'])
  })

  it('a new card without power ends the session and gets no PIN', async () => {
    const made = await setUp(poweredByHost, { other: { isDefaultSelected: true } })
    const session = await made.slot.openSession({ pin: pinAfter(() => made.reader.insert(made.other)) })
    await expect(session.login(CKU.USER)).rejects.toMatchObject({
      code: expect.stringMatching(/^cryptoki\//),
    })
    expect([pinsAt(made.card), pinsAt(made.other)]).toEqual([0, 0])
  })
})
