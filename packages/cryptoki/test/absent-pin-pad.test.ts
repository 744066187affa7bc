/**
 * Readers that announce a PIN pad but have none, or whose PIN pad refuses the message: the page asks for the
 * PIN in the same call.
 */
import { type CardSlot, PinPadRefusedError, type PinTemplate } from '@webtoki/apdu'
import { ccidSlots, listQuirks } from '@webtoki/ccid'
import { readerControls } from '@webtoki/ccid/controls'
import { CKA, CKF, CKM, CKO, CKR, CKU, Cryptoki, type PinRequest, type Slot } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createPivCard,
  type Fault,
  type PivCard,
  type PivCardOptions,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { bytesOf, verifies } from './piv-setup.ts'

const { qemuUsbCcid, cherrySt2000 } = readerProfiles
/**
 * A PIN pad whose firmware expects three messages where the driver sends another count: it refuses the field
 * at offset 18.
 */
const picky: ReaderProfile = { ...cherrySt2000, pad: { verifyMessages: 3 } }

const open: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of open.splice(0)) await cryptoki.close()
})

interface SetUpOptions {
  readonly protocols?: 'T=0' | 'T=1'
  readonly pin?: string[]
  readonly card?: PivCardOptions
}

/** A library with one such reader. It records the PIN requests to the page and the entries on the PIN pad. */
function setUp(profile: ReaderProfile, options: SetUpOptions = {}) {
  const { protocols = 'T=0', pin = [] } = options
  const reader = new VirtualCcidReader(profile)
  const card = createPivCard({ protocols, ...options.card })
  reader.insert(card)
  const padEntries: string[] = []
  reader.person = async () => {
    padEntries.push('entry')
    return { digits: '123456' }
  }
  const bus = new VirtualBus()
  bus.plug(reader)
  const requests: PinRequest[] = []
  const source = ccidSlots({ usb: bus.context({ protectedClasses: false }) })
  const cryptoki = new Cryptoki({ sources: [source], drivers: [pivDriver()], login: 'on-demand' })
  open.push(cryptoki)
  return {
    reader,
    card,
    bus,
    source,
    cryptoki,
    requests,
    padEntries,
    pin: async (request: PinRequest) => {
      requests.push(request)
      const digits = bytesOf(pin.shift() ?? '123456')
      return request.lastTry ? { pin: digits, acceptLastTry: true as const } : { pin: digits }
    },
    slot: async () =>
      (await firstValueFrom(cryptoki.slots$.pipe(filter(({ length }) => length > 0))))[0] as Slot,
    secures: () => reader.counters.messages.get('Secure') ?? 0,
  }
}

const hasPad = async (slot: Slot) =>
  ((await slot.tokenInfo()).flags & CKF.PROTECTED_AUTHENTICATION_PATH) !== 0
const becomes = (slot: Slot, expected: string) =>
  firstValueFrom(slot.presence$.pipe(filter((presence) => presence === expected)))

describe('a reader that announces a PIN pad and does not know PC_to_RDR_Secure (QEMU usb-ccid)', () => {
  it("logs in with the page's dialog in the same call: one PIN request, one VERIFY, no attempt lost", async () => {
    const made = setUp(qemuUsbCcid)
    const slot = await made.slot()
    const session = await slot.openSession({ pin: made.pin })
    expect(await hasPad(slot)).toBe(true)
    await session.login(CKU.USER)
    expect(made.requests.map(({ purpose, triesLeft, pinPad }) => ({ purpose, triesLeft, pinPad }))).toEqual([
      { purpose: 'login', triesLeft: 3, pinPad: undefined },
    ])
    expect([made.card.pinVerified, verifies(made.card), made.card.pinTriesLeft]).toEqual([true, 1, 3])
    expect(made.secures()).toBe(1)
    expect(await hasPad(slot)).toBe(false)
  })

  it('gets PC_to_RDR_Secure once: not for the next login, the next card or after it is plugged in again', async () => {
    const made = setUp(qemuUsbCcid)
    const slot = await made.slot()
    const session = await slot.openSession({ pin: made.pin })
    await session.login(CKU.USER)
    await session.logout()
    await session.login(CKU.USER)
    made.reader.remove()
    await session.ended
    await becomes(slot, 'empty')
    made.reader.insert(createPivCard({ protocols: 'T=0' }))
    await becomes(slot, 'present')
    const next = await slot.openSession({ pin: made.pin })
    expect(await hasPad(slot)).toBe(false)
    await next.login(CKU.USER)
    made.bus.unplug(made.reader)
    await next.ended
    made.bus.plug(made.reader)
    const replugged = await made.slot()
    expect(replugged).not.toBe(slot)
    await becomes(replugged, 'present')
    await (await replugged.openSession({ pin: made.pin })).login(CKU.USER)
    expect(made.requests).toHaveLength(4)
    expect(made.secures()).toBe(1)
  })

  it('with another serial number is another device and gets its own PC_to_RDR_Secure', async () => {
    const made = setUp(qemuUsbCcid)
    await (await (await made.slot()).openSession({ pin: made.pin })).login(CKU.USER)
    const other = new VirtualCcidReader({ ...qemuUsbCcid, pad: {} }, { serialNumber: 'other' })
    other.insert(createPivCard({ protocols: 'T=0' }))
    other.person = async () => ({ digits: '123456' })
    made.bus.plug(other)
    const slots = await firstValueFrom(made.cryptoki.slots$.pipe(filter(({ length }) => length === 2)))
    const slot = slots.find(({ id }) => id.includes('other')) as Slot
    await becomes(slot, 'present')
    await (await slot.openSession({ pin: made.pin })).login(CKU.USER)
    expect(made.requests).toHaveLength(1)
    expect(other.counters.messages.get('Secure')).toBe(1)
  })

  it('signs with a PIN-always key: the operation waits for the dialog, and VERIFY is sent once', async () => {
    const made = setUp(qemuUsbCcid)
    const session = await (await made.slot()).openSession({ pin: made.pin })
    const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(2) })
    if (key === undefined) throw new Error('No key 9C found.')
    const phases: string[] = []
    const signature = await new Promise<Uint8Array>((resolve, reject) => {
      session.sign({ type: CKM.ECDSA_SHA256 }, key, new Uint8Array(3)).events$.subscribe({
        next: (event) => {
          phases.push(event.phase)
          if (event.phase === 'done') resolve(event.value)
        },
        error: reject,
      })
    })
    expect(signature).toHaveLength(64)
    expect(phases.indexOf('awaiting-pin')).toBeGreaterThan(phases.indexOf('awaiting-pin-pad'))
    expect([made.requests.map(({ purpose }) => purpose), verifies(made.card)]).toEqual([['signature'], 1])
  })

  it('with one attempt left asks for consent in the dialog that takes the PIN', async () => {
    const made = setUp(qemuUsbCcid, { pin: ['999999', '999999'] })
    const session = await (await made.slot()).openSession({ pin: made.pin })
    for (let wrong = 0; wrong < 2; wrong++)
      await expect(session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    await session.login(CKU.USER)
    expect(made.requests.map(({ triesLeft, lastTry }) => [triesLeft, lastTry])).toEqual([
      [3, false],
      [2, false],
      [1, true],
    ])
  })

  it('with one attempt left at the first login asks for consent to the pad entry, then again in the dialog', async () => {
    const made = setUp(qemuUsbCcid, { card: { pinTries: 1 } })
    await (await (await made.slot()).openSession({ pin: made.pin })).login(CKU.USER)
    expect(made.requests.map(({ pinPad, lastTry }) => [pinPad, lastTry])).toEqual([
      [true, true],
      [undefined, true],
    ])
    expect(made.card.pinVerified).toBe(true)
  })

  it('rejects a login without a PIN source, names the PIN source in the message and sends no PIN', async () => {
    const made = setUp(qemuUsbCcid)
    const session = await (await made.slot()).openSession()
    await expect(session.login(CKU.USER)).rejects.toMatchObject({
      rv: CKR.ARGUMENTS_BAD,
      message: expect.stringContaining('PIN source') as string,
    })
    expect(verifies(made.card)).toBe(0)
    await session.login(CKU.USER, made.pin)
    expect(made.card.pinVerified).toBe(true)
  })
})

describe('a PIN pad that refuses a field of the message', () => {
  it.each(['T=0', 'T=1'] as const)(
    "logs in with the page's dialog in the same call, over %s",
    async (protocols) => {
      const made = setUp(picky, { protocols })
      const slot = await made.slot()
      const session = await slot.openSession({ pin: made.pin })
      await session.login(CKU.USER)
      await session.logout()
      await session.login(CKU.USER)
      expect([made.requests.length, made.padEntries.length, made.secures()]).toEqual([2, 0, 1])
      expect([verifies(made.card), made.card.pinVerified, await hasPad(slot)]).toEqual([2, true, false])
    },
  )
})

describe('a PIN entry after which the card may have seen the PIN', () => {
  const kinds: readonly Fault[] = [
    { kind: 'mute-card', ends: 'once' },
    { kind: 'overrun', moment: 'during', ends: 'once' },
    { kind: 'parity-error', moment: 'during', ends: 'once' },
    { kind: 'hardware-error', moment: 'during', ends: 'once' },
    { kind: 'slot-busy', ends: 'once' },
    { kind: 'auto-sequence', ends: 'once' },
    { kind: 'truncated-message', ends: 'once' },
    { kind: 'one-byte-message', ends: 'once' },
    { kind: 'card-pulled', moment: 'after', ends: 'once' },
    { kind: 'unplugged', moment: 'before', ends: 'once' },
  ]
  it.each(kinds)('fails the login without a PIN request to the page: $kind', async (fault) => {
    const made = setUp(cherrySt2000, { protocols: 'T=1' })
    const session = await (await made.slot()).openSession({ pin: made.pin })
    made.reader.faults.schedule(fault, { on: 'Secure' })
    // With T=1 the driver requests a damaged response again, and a pulled card may have responded already:
    // both count as right.
    const outcome: unknown = await session.login(CKU.USER).then(
      () => 'right',
      ({ code }: { code: unknown }) => code,
    )
    expect(outcome).toMatch(/^(right|cryptoki\/.+)$/)
    expect(verifies(made.card)).toBeLessThanOrEqual(1)
    expect(made.requests).toEqual([])
    expect(made.secures()).toBe(1)
  })
})

describe('a PIN pad that refused a message', () => {
  const template: PinTemplate = {
    command: Uint8Array.of(0, 0x20, 0, 0x80, 8, ...new Uint8Array(8).fill(0xff)),
    pinOffset: 0,
    blockBytes: 8,
    format: 'ascii',
    minDigits: 6,
    maxDigits: 8,
  }
  const change: PinTemplate = {
    ...template,
    command: Uint8Array.of(0, 0x24, 0, 0x80, 16, ...new Uint8Array(16).fill(0xff)),
    newPinOffset: 8,
    requiresOldPin: true,
    confirms: true,
  }
  const onPad = async (slot: CardSlot, what: 'verify' | 'modify') => {
    const connection = await slot.connect()
    const result = await connection
      .transaction({}, async ({ pinPad }) => {
        if (pinPad === undefined) return 'no pad'
        return pinPad[what](what === 'verify' ? template : change)
      })
      .catch((error: unknown) => error)
    await connection.close()
    return result
  }

  it('throws PinPadRefusedError once; then the connection and the reader features have no PIN pad', async () => {
    const made = setUp(qemuUsbCcid)
    const [slot] = (await firstValueFrom(made.source.slots$)) as [CardSlot]
    expect(readerControls(slot).features.features).toContain('VERIFY_PIN_DIRECT')
    expect(await onPad(slot, 'verify')).toBeInstanceOf(PinPadRefusedError)
    expect(await onPad(slot, 'verify')).toBe('no pad')
    const { features, pin } = readerControls(slot).features
    expect([features.includes('VERIFY_PIN_DIRECT'), pin]).toEqual([false, undefined])
  })

  it('loses the refused operation alone: a pad that cannot change a PIN still verifies one', async () => {
    const made = setUp(
      { ...cherrySt2000, pad: { unknown: ['modify'], modifyMessages: 0 } },
      { protocols: 'T=1' },
    )
    const [slot] = (await firstValueFrom(made.source.slots$)) as [CardSlot]
    expect(await onPad(slot, 'modify')).toBeInstanceOf(PinPadRefusedError)
    expect(await onPad(slot, 'modify')).toMatchObject({ code: 'card/not-supported' })
    expect(await onPad(slot, 'verify')).toBeInstanceOf(Uint8Array)
    expect(readerControls(slot).features.features).toContain('VERIFY_PIN_DIRECT')
    expect(readerControls(slot).features.features).not.toContain('MODIFY_PIN_DIRECT')
  })

  it('that refused a field loses the refused message alone and stays among the features', async () => {
    const made = setUp(picky, { protocols: 'T=1' })
    const [slot] = (await firstValueFrom(made.source.slots$)) as [CardSlot]
    expect(await onPad(slot, 'verify')).toBeInstanceOf(PinPadRefusedError)
    expect(readerControls(slot).features.features).toContain('VERIFY_PIN_DIRECT')
  })
})

it('the bit4id miniLector EVO has no PIN pad: PC_to_RDR_Secure is not sent', async () => {
  const made = setUp({ ...cherrySt2000, vendorId: 0x25dd, productId: 0x3111 })
  const slot = await made.slot()
  expect(await hasPad(slot)).toBe(false)
  await (await slot.openSession({ pin: made.pin })).login(CKU.USER)
  expect([made.secures(), made.requests.length]).toEqual([0, 1])
  expect(listQuirks().find(({ id }) => id === '25dd:3111')).toMatchObject({
    about: 'reader',
    source: expect.stringContaining('OpenSC/issues/2313'),
  })
})

it('with pinPad: false the page asks for every PIN and no PC_to_RDR_Secure is sent', async () => {
  const reader = new VirtualCcidReader(cherrySt2000)
  const card: PivCard = createPivCard()
  reader.insert(card)
  reader.person = async () => ({ digits: '999999' })
  const bus = new VirtualBus()
  bus.plug(reader)
  const source = ccidSlots({ usb: bus.context(), pinPad: false })
  const cryptoki = new Cryptoki({ sources: [source], drivers: [pivDriver()] })
  open.push(cryptoki)
  const [slot] = (await firstValueFrom(cryptoki.slots$)) as [Slot]
  expect(await hasPad(slot)).toBe(false)
  const session = await slot.openSession({ pin: async () => ({ pin: bytesOf('123456') }) })
  await session.login(CKU.USER)
  expect([card.pinVerified, reader.counters.messages.get('Secure')]).toEqual([true, undefined])
})
