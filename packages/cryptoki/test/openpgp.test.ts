/**
 * OpenPGP cards as tokens: PW1 with 81 and with 82, one signature per PIN or several, derived PINs, PIN pads,
 * and PIV on the same card.
 */
import { createHash, createPublicKey, verify } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import {
  CKA,
  CKF,
  CKK,
  CKM,
  ckmName,
  CKO,
  CKR,
  CKU,
  type CkObject,
  Cryptoki,
  type CryptokiOptions,
  type OperationEvent,
  type PinRequest,
  type PinSource,
  type Session,
  type SignatureMechanism,
  type Slot,
} from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  AppletCard,
  createOpenPgpCard,
  createPivCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  openpgp,
  type PinPadPerson,
  piv,
  readerProfiles,
  VirtualCcidReader,
  type VirtualCard,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom, Subject } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'

const opened: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of opened.splice(0)) await cryptoki.close()
})

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const message = bytesOf('Dear reader,\n')
const ecdsa = { type: CKM.ECDSA_SHA256 }
const short = readerProfiles.omnikey3021
const extended = readerProfiles.dualiAbcm6

/** A PIN source that gives these PINs in turn, repeats the last one, and records the requests. */
function page(...pins: string[]) {
  const requests: PinRequest[] = []
  const source: PinSource = async (request) => {
    requests.push(request)
    const pin = (pins.length > 1 ? pins.shift() : pins[0]) ?? '123456'
    return { pin: bytesOf(pin) }
  }
  return { requests, source }
}

interface SetUpOptions {
  readonly profile?: (typeof readerProfiles)[keyof typeof readerProfiles]
  readonly drivers?: CryptokiOptions['drivers']
  readonly login?: CryptokiOptions['login']
  readonly pin?: PinSource
  readonly person?: PinPadPerson
}

async function setUp<Card extends VirtualCard>(card: Card, options: SetUpOptions = {}) {
  const { profile = extended, drivers = [openPgpDriver()], login = 'on-demand', pin } = options
  const reader = new VirtualCcidReader(profile)
  reader.insert(card)
  if (options.person !== undefined) reader.person = options.person
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers, login })
  opened.push(cryptoki)
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin: pin ?? page().source })
  return { card, reader, cryptoki, slot, session }
}

const withCard = (card: OpenPgpCardOptions = {}, options?: SetUpOptions) =>
  setUp(createOpenPgpCard(card), options)

async function only(session: Session, objectClass: CKO): Promise<CkObject> {
  const [object] = await session.findObjects({ [CKA.CLASS]: objectClass })
  if (object === undefined) throw new Error('No such object found.')
  return object
}
const privateKey = (session: Session): Promise<CkObject> => only(session, CKO.PRIVATE_KEY)

const isValid = (
  spki: Uint8Array | undefined,
  signature: Uint8Array,
  data: Uint8Array = message,
): boolean => {
  const key = createPublicKey({ key: Buffer.from(spki ?? []), format: 'der', type: 'spki' })
  return verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

/** The commands since the last call, as INS, P1 and P2, with `?` after VERIFY without data. */
const takeCommands = ({ log }: Pick<OpenPgpCard, 'log'>): readonly string[] =>
  log.splice(0).map(({ ins, p1, p2, dataBytes }) => {
    const header = Buffer.of(ins, p1, p2).toString('hex')
    return ins === 0x20 && p1 === 0 && dataBytes === 0 ? `${header}?` : header
  })

const wrongPin = { rv: CKR.PIN_INCORRECT }

describe('an OpenPGP card', () => {
  it('is two tokens, with serial number, manufacturer, version and attempts left', async () => {
    const { cryptoki, slot } = await withCard()
    expect(await slot.tokenInfo()).toMatchObject({
      label: 'OpenPGP (signature)',
      model: 'OpenPGP 3.4',
      manufacturer: 'manufacturer ff00',
      serialNumber: 'ff004a000001',
      minPinBytes: 6,
      maxPinBytes: 127,
    })
    const slots = await firstValueFrom(cryptoki.slots$)
    expect(slots).toHaveLength(2)
    expect(await (slots[1] as Slot).tokenInfo()).toMatchObject({ label: 'OpenPGP (authentication)' })
    const { flags } = await slot.tokenInfo()
    expect(flags & (CKF.USER_PIN_COUNT_LOW | CKF.WRITE_PROTECTED | CKF.LOGIN_REQUIRED)).toBe(
      CKF.WRITE_PROTECTED | CKF.LOGIN_REQUIRED,
    )
    expect([...(await slot.mechanisms()).keys()]).toContain(CKM.ECDSA_SHA256)
  })

  it('lists each key with type, size, value and uses', async () => {
    const { card, session } = await withCard()
    const objects = await session.findObjects()
    expect(objects.map((object) => [object.get(CKA.CLASS), object.get(CKA.ID)])).toEqual([
      [CKO.PUBLIC_KEY, Uint8Array.of(1)],
      [CKO.PRIVATE_KEY, Uint8Array.of(1)],
    ])
    for (const object of objects) {
      expect(object.get(CKA.KEY_TYPE)).toBe(CKK.EC)
      expect(object.get(CKA.EC_POINT)).toHaveLength(67)
      expect(Buffer.from(object.get(CKA.PUBLIC_KEY_INFO))).toEqual(
        Buffer.from(card.publicKeyOf('signature') ?? []),
      )
    }
    expect(objects[1]?.get(CKA.ALWAYS_AUTHENTICATE)).toBe(true)
    // The key was read once for both objects.
    expect(takeCommands(card).filter((each) => each.startsWith('47'))).toHaveLength(1)
  })

  it('does not list an absent key or one on an unsupported curve', async () => {
    const absent = await withCard({ absentKeys: ['signature'] })
    expect(await absent.session.findObjects()).toEqual([])
    const edwards = await withCard({ algorithms: { signature: 'ed25519' } })
    expect(await edwards.session.findObjects()).toEqual([])
    const mechanisms = [...(await edwards.slot.mechanisms())]
    const signing = mechanisms.filter(([, { flags }]) => (flags & CKF.SIGN) !== 0).map(([type]) => type)
    // Session keys make MACs in software.
    expect(signing.filter((type) => !ckmName(type).endsWith('_HMAC'))).toEqual([])
    expect(signing).not.toEqual([])
  })

  it('lists the certificate that belongs to the key of the slot', async () => {
    const certificates = { signature: bytesOf('for signatures'), authentication: bytesOf('for logins') }
    const { cryptoki, session } = await withCard({ certificates })
    expect((await only(session, CKO.CERTIFICATE)).get(CKA.VALUE)).toEqual(certificates.signature)
    const [, second] = await firstValueFrom(cryptoki.slots$)
    const other = await (second as Slot).openSession()
    expect((await only(other, CKO.CERTIFICATE)).get(CKA.VALUE)).toEqual(certificates.authentication)
  })

  it.each([
    ['p256', ecdsa],
    ['p384', ecdsa],
    ['rsa2048', { type: CKM.SHA256_RSA_PKCS }],
  ] as const)(
    'signs with a %s key in both slots, and Node verifies the signature',
    async (algorithm, mechanism) => {
      const algorithms = { signature: algorithm, authentication: algorithm }
      const { card, cryptoki } = await withCard({ algorithms }, { profile: short })
      const slots = await firstValueFrom(cryptoki.slots$)
      for (const [at, use] of (['signature', 'authentication'] as const).entries()) {
        const session = await (slots[at] as Slot).openSession({ pin: page().source })
        const signature = await session.sign(mechanism, await privateKey(session), message)
        expect(isValid(card.publicKeyOf(use), signature)).toBe(true)
        expect(await session.verify(mechanism, await only(session, CKO.PUBLIC_KEY), message, signature)).toBe(
          true,
        )
      }
      expect(card.signatureCount).toBe(1)
    },
  )

  it('refuses a wrong mechanism at Init and oversized data before a PIN request', async () => {
    const { requests, source } = page()
    const { session } = await withCard({ algorithms: { signature: 'rsa2048' } }, { pin: source })
    const key = await privateKey(session)
    const sign = (type: CKM, data: Uint8Array) =>
      session.sign({ type } as SignatureMechanism, key, data).result()
    await expect(sign(CKM.ECDSA, message)).rejects.toMatchObject({ rv: CKR.MECHANISM_INVALID })
    await expect(sign(CKM.SHA256_RSA_PKCS_PSS, message)).rejects.toMatchObject({ rv: CKR.MECHANISM_INVALID })
    await expect(sign(CKM.RSA_PKCS, new Uint8Array(103))).rejects.toMatchObject({ rv: CKR.DATA_LEN_RANGE })
    expect(requests).toEqual([])
    expect(await sign(CKM.RSA_PKCS, new Uint8Array(102).fill(1))).toHaveLength(256)
  })
})

describe('a card whose PIN is valid for one signature', () => {
  it('requests it for each one, with no command between VERIFY and the signature', async () => {
    const { requests, source } = page()
    const { card, session } = await withCard({}, { pin: source })
    const key = await privateKey(session)
    takeCommands(card)
    for (const commands of [
      ['ca00f9', '200081?', '200081', '2a9e9a'],
      ['200081', '2a9e9a'],
    ]) {
      const signature = await session.sign(ecdsa, key, message)
      expect(isValid(card.publicKeyOf('signature'), signature)).toBe(true)
      expect(takeCommands(card)).toEqual(commands)
    }
    expect(requests.map(({ purpose, triesLeft, alphabet }) => [purpose, triesLeft, alphabet])).toEqual([
      ['signature', 3, 'text'],
      ['signature', 3, 'text'],
    ])
    expect(card.signatureCount).toBe(2)
  })

  it('requests it for each one after a login too', async () => {
    const { requests, source } = page()
    const { card, session } = await withCard({}, { pin: source, login: 'explicit' })
    await session.login(CKU.USER)
    const key = await privateKey(session)
    await session.sign(ecdsa, key, message)
    await session.sign(ecdsa, key, message)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login', 'signature', 'signature'])
    expect(card.signatureCount).toBe(2)
  })

  it('accepts the PIN before the data as in C, and a wrong one leaves the operation unchanged', async () => {
    const { requests, source } = page('654321', '123456')
    const { card, session } = await withCard({}, { pin: source })
    const data = new Subject<Uint8Array>()
    const signature = session.sign(ecdsa, await privateKey(session), data).result()
    data.next(message.subarray(0, 4))
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toMatchObject(wrongPin)
    takeCommands(card)
    await session.login(CKU.CONTEXT_SPECIFIC)
    data.next(message.subarray(4))
    data.complete()
    expect(isValid(card.publicKeyOf('signature'), await signature)).toBe(true)
    expect(takeCommands(card)).toEqual(['200081', '2a9e9a'])
    expect(requests.map(({ purpose }) => purpose)).toEqual(['signature', 'signature'])
  })

  it('ends the signature if it is pulled during the PIN dialog, and no PIN is sent', async () => {
    const { card, reader, session } = await withCard()
    const key = await privateKey(session)
    const pin: PinSource = async () => {
      reader.remove()
      await session.ended
      return { pin: bytesOf('123456') }
    }
    await expect(session.sign(ecdsa, key, message, { pin })).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect(takeCommands(card)).not.toContain('200081')
  })

  it('emits awaiting-touch, and reports a touch that did not come', async () => {
    const touches = [true, false]
    const { session } = await withCard({
      touch: { signature: 'on' },
      onTouch: () => touches.shift() ?? false,
    })
    const key = await privateKey(session)
    const phases: OperationEvent<Uint8Array>['phase'][] = []
    await session.sign(ecdsa, key, message).result({ onEvent: ({ phase }) => phases.push(phase) })
    expect(phases).toContain('awaiting-touch')
    await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject({
      cause: { code: 'card/touch-missed' },
    })
  })
})

describe('a card whose PIN is valid for several signatures', () => {
  it('requests it once, and the next signature is one command', async () => {
    const { requests, source } = page()
    const { card, session } = await withCard({ pinPerSignature: false }, { pin: source })
    const key = await privateKey(session)
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(false)
    await session.sign(ecdsa, key, message)
    takeCommands(card)
    await session.sign(ecdsa, key, message)
    expect(takeCommands(card)).toEqual(['2a9e9a'])
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login'])
    await session.logout()
    expect(card.verified).toEqual([])
  })

  it('has one retry counter and two logins', async () => {
    const { card, cryptoki, session } = await withCard({ pinPerSignature: false }, { login: 'explicit' })
    const [, second] = await firstValueFrom(cryptoki.slots$)
    const other = await (second as Slot).openSession({ pin: page('999999', '123456').source })
    await expect(other.login(CKU.USER)).rejects.toMatchObject(wrongPin)
    const first = page()
    await session.login(CKU.USER, first.source)
    expect(first.requests.map(({ triesLeft }) => triesLeft)).toEqual([2])
    expect(card.verified).toEqual(['81'])
    await other.login(CKU.USER)
    expect(card.verified).toEqual(['81', '82'])
    await session.logout()
    expect(card.verified).toEqual(['82'])
    expect(await other.sign(ecdsa, await privateKey(other), message)).toHaveLength(64)
  })
})

describe('a wrong PIN', () => {
  it.each(['63Cx', '6982'] as const)(
    'reported as %s costs one attempt, which the next request states',
    async (status) => {
      const { requests, source } = page('654321', '123456')
      const { card, session } = await withCard({ wrongPin: status }, { pin: source })
      const key = await privateKey(session)
      await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject({
        ...wrongPin,
        cause: { code: 'card/pin-wrong', triesLeft: 2 },
      })
      expect(card.pinTriesLeft).toBe(2)
      await session.sign(ecdsa, key, message)
      expect(requests.map(({ triesLeft, previousWasWrong }) => [triesLeft, previousWasWrong])).toEqual([
        [3, false],
        [2, true],
      ])
      expect(card.pinTriesLeft).toBe(3)
    },
  )

  it.each(['63Cx', '6982'] as const)(
    'reported as %s at the last attempt blocks the card only with consent',
    async (status) => {
      const { requests, source } = page('654321')
      const { card, slot, session } = await withCard({ wrongPin: status, pinTries: 2 }, { pin: source })
      const key = await privateKey(session)
      const sign = (pin: PinSource) => session.sign(ecdsa, key, message, { pin }).result()
      await expect(sign(source)).rejects.toMatchObject(wrongPin)
      await expect(sign(source)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
      expect(card.pinTriesLeft).toBe(1)
      expect((await slot.tokenInfo()).flags & CKF.USER_PIN_FINAL_TRY).not.toBe(0)
      const willing: PinSource = async () => ({ pin: bytesOf('654321'), acceptLastTry: true })
      await expect(sign(willing)).rejects.toMatchObject({ rv: CKR.PIN_LOCKED })
      expect([card.pinTriesLeft, requests.map(({ lastTry }) => lastTry)]).toEqual([0, [false, true]])
      takeCommands(card)
      // The card has lost the login, and the session the handles of its private keys.
      const again = session.sign(ecdsa, await privateKey(session), message, { pin: source }).result()
      await expect(again).rejects.toMatchObject({ rv: CKR.PIN_LOCKED })
      expect(requests).toHaveLength(2)
      expect(takeCommands(card)).not.toContain('200081')
      expect((await slot.tokenInfo()).flags & CKF.USER_PIN_LOCKED).not.toBe(0)
    },
  )

  it('of five characters is refused without a command, and letters are allowed', async () => {
    const { card, session } = await withCard(
      { pin: 'Geheimnis ü' },
      { pin: page('12345', 'Geheimnis ü').source },
    )
    const key = await privateKey(session)
    await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject({ rv: CKR.PIN_LEN_RANGE })
    expect(card.pinTriesLeft).toBe(3)
    expect(await session.sign(ecdsa, key, message)).toHaveLength(64)
  })
})

describe('a card that needs its PIN in derived form', () => {
  it.each([
    ['sha256', 1],
    ['sha256', 3],
    ['sha512', 3],
  ] as const)(
    'with %s and %i salts gets it: the right PIN is accepted, and no attempt is lost',
    async (kdf, kdfSalts) => {
      const { requests, source } = page('123456', '654321', '123456')
      const { card, cryptoki, session } = await withCard({ kdf, kdfSalts }, { pin: source })
      const key = await privateKey(session)
      expect(isValid(card.publicKeyOf('signature'), await session.sign(ecdsa, key, message))).toBe(true)
      await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject(wrongPin)
      await session.sign(ecdsa, key, message)
      expect(requests.map(({ triesLeft }) => triesLeft)).toEqual([3, 3, 2])
      const [, second] = await firstValueFrom(cryptoki.slots$)
      const other = await (second as Slot).openSession({ pin: source })
      expect(await other.sign(ecdsa, await privateKey(other), message)).toHaveLength(64)
      const sent = card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)
      expect(new Set(sent.map(({ dataBytes }) => dataBytes))).toEqual(new Set([kdf === 'sha256' ? 32 : 64]))
      // F9 was read once, before the first of them.
      expect(takeCommands(card).filter((each) => each === 'ca00f9')).toHaveLength(1)
    },
  )

  it('with an unknown KDF is sent nothing', async () => {
    const card = createOpenPgpCard({ kdf: 'sha256' })
    const unknownKdf: VirtualCard = {
      atr: card.atr,
      reset: (kind) => card.reset(kind),
      powerOff: () => card.powerOff(),
      process: async (command) => {
        const response = await card.process(command)
        // The hash algorithm with number 02 is SHA-1.
        return command[1] === 0xca && command[3] === 0xf9
          ? response.map((byte, at) => (at === 5 ? 2 : byte))
          : response
      },
    }
    const { requests, source } = page()
    const { session } = await setUp(unknownKdf, { pin: source })
    await expect(session.sign(ecdsa, await privateKey(session), message)).rejects.toMatchObject({
      rv: CKR.DEVICE_ERROR,
      cause: { code: 'wire/malformed' },
    })
    expect([card.pinTriesLeft, requests]).toEqual([3, []])
    expect(card.log.some(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toBe(false)
  })
})

describe('a reader with a PIN pad', () => {
  const profile = readerProfiles.cherrySt2000

  it('takes the PIN for a signature without a PIN request to the page', async () => {
    const { requests, source } = page()
    const person: PinPadPerson = async () => ({ digits: '123456' })
    const { card, slot, session } = await withCard({}, { profile, pin: source, person })
    expect((await slot.tokenInfo()).flags & CKF.PROTECTED_AUTHENTICATION_PATH).not.toBe(0)
    const signature = await session.sign(ecdsa, await privateKey(session), message)
    expect(isValid(card.publicKeyOf('signature'), signature)).toBe(true)
    expect(requests).toEqual([])
  })

  it('logs in and signs in a session without a PIN source', async () => {
    const person: PinPadPerson = async () => ({ digits: '123456' })
    const { card, slot } = await withCard({}, { profile, person })
    const session = await slot.openSession()
    await session.login(CKU.USER)
    expect(card.verified).toEqual(['81'])
    expect(await session.sign(ecdsa, await privateKey(session), message)).toHaveLength(64)
  })

  it('cannot derive a PIN: the page gets the request, and no attempt is lost', async () => {
    const { requests, source } = page()
    const person: PinPadPerson = async () => ({ digits: '123456' })
    const { card, slot, session } = await withCard({ kdf: 'sha256' }, { profile, pin: source, person })
    expect((await slot.tokenInfo()).flags & CKF.PROTECTED_AUTHENTICATION_PATH).toBe(0)
    await session.sign(ecdsa, await privateKey(session), message)
    expect([requests.length, card.pinTriesLeft]).toEqual([1, 3])
  })
})

it('pulling an OpenPGP card ends the session, and after reinsertion the PIN is requested again', async () => {
  const { card, reader, slot, session } = await withCard({ pinPerSignature: false })
  await session.login(CKU.USER)
  const key = await privateKey(session)
  reader.remove()
  await session.ended
  await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject({ rv: CKR.SESSION_HANDLE_INVALID })
  reader.insert(card)
  await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
  const { requests, source } = page()
  const again = await slot.openSession({ pin: source })
  expect(await again.sign(ecdsa, await privateKey(again), message)).toHaveLength(64)
  expect(requests).toHaveLength(1)
})

describe('a card with PIV and OpenPGP', () => {
  const both = () => {
    const pgp = openpgp({ pinPerSignature: false, pin: '234567' })
    return { pgp, card: new AppletCard({ applets: [piv(), pgp] }) }
  }
  const drivers = [pivDriver(), openPgpDriver()]

  it('has a slot for each PIN, and signs in each', async () => {
    const { card, pgp } = both()
    const { cryptoki } = await setUp(card, { drivers, pin: page('123456').source })
    const slots = await firstValueFrom(cryptoki.slots$)
    const labels = await Promise.all(slots.map(async (slot) => (await slot.tokenInfo()).model))
    expect(labels).toEqual(['PIV', 'OpenPGP 3.4', 'OpenPGP 3.4'])
    const [first, second, third] = slots as [Slot, Slot, Slot]
    const pivSession = await first.openSession({ pin: page('123456').source })
    const pivKey = (await pivSession.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY }))[0] as CkObject
    const rsa = { type: CKM.SHA256_RSA_PKCS }
    expect(await pivSession.sign(rsa, pivKey, message)).toHaveLength(256)
    for (const [slot, use] of [
      [second, 'signature'],
      [third, 'authentication'],
    ] as const) {
      const session = await slot.openSession({ pin: page('234567').source })
      const signature = await session.sign(ecdsa, await privateKey(session), message)
      expect(isValid(pgp.publicKeyOf(use), signature)).toBe(true)
    }
    expect(await pivSession.sign(rsa, pivKey, message)).toHaveLength(256)
  })

  it('loses a login when the other application is used, and repeats it on demand', async () => {
    const { card } = both()
    const { cryptoki } = await setUp(card, { drivers })
    const [first, second] = (await firstValueFrom(cryptoki.slots$)) as [Slot, Slot]
    const [forPiv, forPgp] = [page('123456'), page('234567')]
    const pivSession = await first.openSession({ pin: forPiv.source })
    const pivKey = (await pivSession.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY }))[0] as CkObject
    const pgpSession = await second.openSession({ pin: forPgp.source })
    const pgpKey = await privateKey(pgpSession)
    for (let turn = 0; turn < 2; turn++) {
      await pivSession.sign({ type: CKM.SHA256_RSA_PKCS }, pivKey, message)
      await pgpSession.sign(ecdsa, pgpKey, message)
      await pgpSession.sign(ecdsa, pgpKey, message)
    }
    expect([forPiv.requests.length, forPgp.requests.length]).toEqual([2, 2])
  })

  it('reports a lost login to a session with explicit logins', async () => {
    const { card } = both()
    const { cryptoki } = await setUp(card, { drivers, login: 'explicit' })
    const [first, second] = (await firstValueFrom(cryptoki.slots$)) as [Slot, Slot]
    const pgpSession = await second.openSession({ pin: page('234567').source })
    await pgpSession.login(CKU.USER)
    const key = await privateKey(pgpSession)
    await pgpSession.sign(ecdsa, key, message)
    const pivSession = await first.openSession({ pin: page('123456').source })
    await pivSession.login(CKU.USER)
    await expect(pgpSession.sign(ecdsa, key, message)).rejects.toMatchObject({ rv: CKR.USER_NOT_LOGGED_IN })
    await pgpSession.login(CKU.USER)
    expect(await pgpSession.sign(ecdsa, await privateKey(pgpSession), message)).toHaveLength(64)
  })

  it('keeps a PIV login while tokenInfo of the OpenPGP token is read', async () => {
    const { card } = both()
    const { cryptoki } = await setUp(card, { drivers })
    const [first, second] = (await firstValueFrom(cryptoki.slots$)) as [Slot, Slot]
    const pivSession = await first.openSession({ pin: page().source })
    await pivSession.login(CKU.USER)
    card.log.length = 0
    expect((await second.tokenInfo()).serialNumber).toBe('ff004a000001')
    expect(card.log).toEqual([])
  })

  it('with one of the two applets has the slots of that one', async () => {
    const order = [pivDriver(), openPgpDriver()]
    const pgpOnly = await setUp(createOpenPgpCard(), { drivers: order })
    expect((await pgpOnly.slot.tokenInfo()).model).toBe('OpenPGP 3.4')
    expect(await pgpOnly.session.sign(ecdsa, await privateKey(pgpOnly.session), message)).toHaveLength(64)
    const pivOnly = await setUp(createPivCard(), { drivers: order })
    expect((await pivOnly.slot.tokenInfo()).model).toBe('PIV')
    expect(await firstValueFrom(pivOnly.cryptoki.slots$)).toHaveLength(1)
  })
})

describe.each([
  ['short', short, 7, 2],
  ['extended', extended, 7, 2],
] as const)('APDUs at %s level', (_, profile, cold, next) => {
  it(`are at most ${cold} for a first signature, and ${next} for the next one`, async () => {
    const { reader, session } = await withCard({}, { profile })
    const key = await privateKey(session)
    await session.sign(ecdsa, key, message)
    expect(reader.counters.apdus).toBeLessThanOrEqual(cold)
    reader.counters.reset()
    await session.sign(ecdsa, key, message)
    expect(reader.counters.apdus).toBeLessThanOrEqual(next)
  })
})

it('CKM_ECDSA signs the given digest on an OpenPGP card', async () => {
  const { card, session } = await withCard()
  const digest = createHash('sha256').update(message).digest()
  const signature = await session.sign({ type: CKM.ECDSA }, await privateKey(session), digest)
  expect(isValid(card.publicKeyOf('signature'), signature)).toBe(true)
})
