import { constants, createPublicKey, createVerify, type KeyObject, X509Certificate } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import {
  type Attributes,
  CKA,
  CKF,
  CKG,
  CKM,
  CKO,
  CKR,
  CKU,
  CryptokiError,
  Cryptoki,
  type FindOptions,
  MemoryObjectCache,
  type PinRequest,
  type PinSource,
  type Session,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createEchoCard,
  createPivCard,
  type Fault,
  type FaultMoment,
  type PivCard,
  type PivSlot,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { bytesOf, commands, object, open, rightPin, rv, verifies } from './piv-setup.ts'

const message = new TextEncoder().encode('what is to be signed')

function publicKeyOf(card: PivCard, slot: PivSlot): KeyObject {
  const key = card.publicKeyOf(slot)
  if (key === undefined) throw new Error(`The card has no key ${slot}.`)
  return createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' })
}

describe.each(['short', 'extended'] as const)('signatures at %s level', (level) => {
  it("with the RSA key 9A verify in Node's OpenSSL, PKCS#1 and PSS, with every hash", async () => {
    const { session, card, cryptoki } = await open({ level })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    const open9a = await object(session, CKO.PUBLIC_KEY, 1)
    const publicKey = publicKeyOf(card, '9A')
    for (const [mechanism, hash] of [
      [CKM.SHA1_RSA_PKCS, 'sha1'],
      [CKM.SHA256_RSA_PKCS, 'sha256'],
      [CKM.SHA384_RSA_PKCS, 'sha384'],
      [CKM.SHA512_RSA_PKCS, 'sha512'],
    ] as const) {
      const signature = await session.sign({ type: mechanism }, key, message)
      expect(createVerify(hash).update(message).verify(publicKey, signature)).toBe(true)
      await session.verify({ type: mechanism }, open9a, message, signature)
    }
    for (const [mechanism, hash] of [
      [CKM.SHA256_RSA_PKCS_PSS, 'sha256'],
      [CKM.SHA512_RSA_PKCS_PSS, 'sha512'],
    ] as const) {
      const signature = await session.sign({ type: mechanism }, key, message)
      const pss = {
        key: publicKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      }
      expect(createVerify(hash).update(message).verify(pss, signature)).toBe(true)
      await session.verify({ type: mechanism }, open9a, message, signature)
      signature[100] = (signature[100] ?? 0) ^ 1
      await expect(session.verify({ type: mechanism }, open9a, message, signature)).rejects.toEqual(
        rv(CKR.SIGNATURE_INVALID),
      )
    }
    await cryptoki.close()
  })

  it("with the EC keys 9C and 9E are r‖s and verify in Node's OpenSSL", async () => {
    const { session, card, cryptoki } = await open({ level })
    await session.login(CKU.USER)
    for (const [slot, id, mechanism, hash] of [
      ['9C', 2, CKM.ECDSA_SHA256, 'sha256'],
      ['9C', 2, CKM.ECDSA_SHA512, 'sha512'],
      ['9E', 4, CKM.ECDSA_SHA384, 'sha384'],
      ['9E', 4, CKM.ECDSA_SHA1, 'sha1'],
    ] as const) {
      const key = await object(session, CKO.PRIVATE_KEY, id)
      const signature = await session.sign({ type: mechanism }, key, message)
      expect(signature.length).toBe(slot === '9C' ? 64 : 96)
      const publicKey = publicKeyOf(card, slot)
      const raw = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
      expect(createVerify(hash).update(message).verify(raw, signature)).toBe(true)
      await session.verify({ type: mechanism }, await object(session, CKO.PUBLIC_KEY, id), message, signature)
    }
    await cryptoki.close()
  })

  it('accept parameters of the caller: another PSS salt length, a digest made by the caller', async () => {
    const { session, card, cryptoki } = await open({ level })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    const publicKey = publicKeyOf(card, '9A')
    const digest = await session.digest({ type: CKM.SHA256 }, message)
    const pss = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltBytes: 20 }
    const signature = await session.sign({ type: CKM.RSA_PKCS_PSS, pss }, key, digest)
    const verification = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 20 }
    expect(createVerify('sha256').update(message).verify(verification, signature)).toBe(true)
    await expect(session.sign({ type: CKM.RSA_PKCS_PSS } as never, key, digest)).rejects.toEqual(
      rv(CKR.MECHANISM_PARAM_INVALID),
    )
    await expect(session.sign({ type: CKM.RSA_PKCS }, key, new Uint8Array(246))).rejects.toEqual(
      rv(CKR.DATA_LEN_RANGE),
    )
    await cryptoki.close()
  })

  it('with a mechanism for another key type return CKR_KEY_TYPE_INCONSISTENT, not a size error', async () => {
    const { session, cryptoki } = await open()
    await session.login(CKU.USER)
    const mechanisms = { 1: CKM.ECDSA_SHA256, 2: CKM.SHA256_RSA_PKCS }
    for (const [id, type] of Object.entries(mechanisms)) {
      const key = await object(session, CKO.PRIVATE_KEY, Number(id))
      await expect(session.sign({ type }, key, message)).rejects.toEqual(rv(CKR.KEY_TYPE_INCONSISTENT))
    }
    await cryptoki.close()
  })
})

describe('the objects of a card', () => {
  it('are certificates, public and private keys, read when they are needed', async () => {
    const { session, card, cryptoki } = await open()
    const certificate = await object(session, CKO.CERTIFICATE, 1)
    expect(commands(card)).toEqual(['a4 04 00', 'cb 3f ff', 'cb 3f ff'])
    const x509 = new X509Certificate(certificate.get(CKA.VALUE))
    expect(x509.subject).toContain('CN=Ada Lovelace (demo)')
    expect(certificate.get(CKA.LABEL)).toBe('Certificate for PIV Authentication')
    expect(session.getAttributes(certificate, CKA.ID, CKA.TOKEN)).toEqual({
      [CKA.ID]: Uint8Array.of(1),
      [CKA.TOKEN]: true,
    })
    expect(() => certificate.get(CKA.MODULUS)).toThrow('CKR_ATTRIBUTE_TYPE_INVALID')
    await object(session, CKO.PUBLIC_KEY, 1)
    expect(card.log).toHaveLength(3)
    await cryptoki.close()
  })

  it('of all four slots are found without a template', async () => {
    const { session, cryptoki } = await open({ cryptoki: { login: 'on-demand' } })
    const found = await session.findObjects()
    expect(found.map((each) => each.get(CKA.ID)[0])).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4])
    const signing = await session.findObjects({ [CKA.SIGN]: true })
    expect(signing.map((each) => each.get(CKA.ID)[0])).toEqual([1, 2, 4])
    await cryptoki.close()
  })

  it('are found page by page, and objects after the last page stay unread', async () => {
    const { session, cryptoki, card } = await open({ cryptoki: { login: 'on-demand' } })
    const keys = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ALWAYS_AUTHENTICATE]: false }
    const [first] = await session.findObjects(keys, { max: 1 })
    const before = card.log.length
    const [second] = await session.findObjects(keys, { max: 1, after: first })
    expect([first, second].map((each) => each?.get(CKA.ID)[0])).toEqual([1, 3])
    expect(card.log.length).toBeGreaterThan(before)
    const rest = await session.findObjects(keys, { after: second })
    expect(rest.map((each) => each.get(CKA.ID)[0])).toEqual([4])
    expect(await session.findObjects(keys, { max: 0 })).toEqual([])
    await cryptoki.close()
    const reopened = await open({ cryptoki: { login: 'on-demand' } })
    const foreign = reopened.session.findObjects(keys, { after: first })
    await expect(foreign).rejects.toEqual(rv(CKR.OBJECT_HANDLE_INVALID))
    await reopened.cryptoki.close()
  })

  it('are left out if the card does not have them', async () => {
    const { session, cryptoki } = await open({ card: { absentCertificates: ['9C', '9D'] } })
    const found = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
    expect(found.map((each) => each.get(CKA.ID)[0])).toEqual([1, 4])
    await cryptoki.close()
  })

  it('are left out if they cannot be read, and an error if nothing else matches', async () => {
    const { session, cryptoki } = await open({
      card: { unreadableCertificates: ['9C'], absentCertificates: ['9D'] },
      cryptoki: { login: 'on-demand' },
    })
    const ids = async (template: Attributes, options: FindOptions = {}) =>
      (await session.findObjects(template, options)).map((each) => each.get(CKA.ID)[0])
    const refused = rv(CKR.USER_NOT_LOGGED_IN)
    expect(await ids({ [CKA.CLASS]: CKO.CERTIFICATE })).toEqual([1, 4])
    expect(await ids({ [CKA.CLASS]: CKO.CERTIFICATE }, { max: 0 })).toEqual([])
    // The only PIN-always key is the one that cannot be read.
    const pinAlways = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ALWAYS_AUTHENTICATE]: true }
    await expect(session.findObjects(pinAlways)).rejects.toEqual(refused)
    await expect(session.findObjects({ [CKA.ID]: Uint8Array.of(2) })).rejects.toEqual(refused)
    // A missing certificate is not an error.
    expect(await ids({ [CKA.ID]: Uint8Array.of(3) })).toEqual([])
    await cryptoki.close()
  })

  // The case of OpenSC issue 1837: a token returns more bytes than the object has.
  it('are read although the card adds two bytes after each of them', async () => {
    const { session, cryptoki } = await open({
      intercept: async (command, card) => {
        const response = await card.process(command)
        const isCertificate = Buffer.from(command).toString('hex').includes('5c035fc105')
        return isCertificate ? Uint8Array.of(...response.slice(0, -2), 0, 0, ...response.slice(-2)) : response
      },
    })
    const found = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
    expect(found.map((each) => each.get(CKA.ID)[0])).toEqual([1, 2, 3, 4])
    await cryptoki.close()
  })

  it('are the same if the card stores its certificate compressed', async () => {
    const plain = await open()
    const packed = await open({ card: { gzipCertificate: true } })
    const value = async (session: Session): Promise<Uint8Array> =>
      (await object(session, CKO.CERTIFICATE, 1)).get(CKA.VALUE)
    expect(await value(packed.session)).toEqual(await value(plain.session))
    await plain.cryptoki.close()
    await packed.cryptoki.close()
  })

  it('sign with P-256 in 9A if the card has such a key', async () => {
    const { session, card, cryptoki } = await open({ card: { nineA: 'p256' } })
    await session.login(CKU.USER)
    const signature = await session.sign(
      { type: CKM.ECDSA_SHA256 },
      await object(session, CKO.PRIVATE_KEY, 1),
      message,
    )
    const key = publicKeyOf(card, '9A')
    expect(createVerify('sha256').update(message).verify({ key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(
      true,
    )
    await cryptoki.close()
  })

  it('are not taken from the cache after the card was reissued', async () => {
    const cache = new MemoryObjectCache()
    const before = await open({ cache })
    const old = await object(before.session, CKO.CERTIFICATE, 1)
    await before.cryptoki.close()
    const same = await open({ cache })
    const again = await object(same.session, CKO.CERTIFICATE, 1)
    expect(again.get(CKA.VALUE)).toEqual(old.get(CKA.VALUE))
    expect(same.reader.counters.bytesFromCard).toBeLessThan(450)
    await same.cryptoki.close()
    const renewed = await open({ cache, card: { nineA: 'p256' } })
    const fresh = await object(renewed.session, CKO.CERTIFICATE, 1)
    expect(new X509Certificate(fresh.get(CKA.VALUE)).publicKey.asymmetricKeyType).toBe('ec')
    await renewed.cryptoki.close()
  })
})

describe('PINs', () => {
  it('a wrong one costs exactly one attempt, and the next request states how many are left', async () => {
    const requests: PinRequest[] = []
    const pins = ['111111', '222222', '123456']
    const pin: PinSource = async (request) => {
      requests.push(request)
      return { pin: bytesOf(pins[requests.length - 1] ?? ''), acceptLastTry: true }
    }
    const { session, card, cryptoki } = await open({ pin })
    await expect(session.login(CKU.USER)).rejects.toMatchObject({
      rv: CKR.PIN_INCORRECT,
      cause: { triesLeft: 2 },
    })
    await expect(session.login(CKU.USER)).rejects.toMatchObject({
      rv: CKR.PIN_INCORRECT,
      cause: { triesLeft: 1 },
    })
    await session.login(CKU.USER)
    expect(requests.map(({ triesLeft, lastTry }) => ({ triesLeft, lastTry }))).toEqual([
      { triesLeft: 3, lastTry: false },
      { triesLeft: 2, lastTry: false },
      { triesLeft: 1, lastTry: true },
    ])
    expect(verifies(card)).toBe(3)
    expect(card.pinTriesLeft).toBe(3)
    await cryptoki.close()
  })

  it('one that is not sent is overwritten too: too long, or the reader was unplugged', async () => {
    for (const digits of ['123456789', '123456']) {
      const given = bytesOf(digits)
      const { session, reader, card, cryptoki } = await open()
      const pin: PinSource = async () => {
        if (digits.length === 6) reader.remove()
        return { pin: given }
      }
      await expect(session.login(CKU.USER, pin)).rejects.toBeInstanceOf(CryptokiError)
      expect(given.every((byte) => byte === 0)).toBe(true)
      expect(verifies(card)).toBe(0)
      await cryptoki.close()
    }
  })

  it('token flags warn of wrong PINs: few attempts left, the last one, locked', async () => {
    const wrong: PinSource = async () => ({ pin: bytesOf('999999'), acceptLastTry: true })
    const { session, slot, cryptoki } = await open({ pin: wrong })
    const all = CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED
    const warnings = [(await slot.tokenInfo()).flags & all]
    for (let count = 0; count < 3; count++) {
      await session.login(CKU.USER).catch(() => {})
      warnings.push((await slot.tokenInfo()).flags & all)
    }
    const low = CKF.USER_PIN_COUNT_LOW
    expect(warnings).toEqual([0, low, low | CKF.USER_PIN_FINAL_TRY, CKF.USER_PIN_LOCKED])
    await cryptoki.close()
  })

  it('of the security officer do not exist on a PIV card: no request is made, and nothing is sent', async () => {
    let isRequested = false
    const pin: PinSource = async () => {
      isRequested = true
      return { pin: bytesOf('123456') }
    }
    const { session, card, cryptoki } = await open()
    await expect(session.login(CKU.SO, pin)).rejects.toMatchObject({ rv: CKR.USER_TYPE_INVALID })
    expect([isRequested, verifies(card)]).toEqual([false, 0])
    await cryptoki.close()
  })

  it('a logout ends the verification with one command, without a reset if the card supports that', async () => {
    const { session, reader, card, cryptoki } = await open({ pin: rightPin })
    await session.login(CKU.USER)
    const resets = reader.counters.messages.get('IccPowerOn')
    await session.logout()
    expect(card.pinVerified).toBe(false)
    expect(reader.counters.messages.get('IccPowerOn')).toBe(resets)
    await cryptoki.close()
  })

  it('the last attempt is not used without explicit consent', async () => {
    const wrong: PinSource = async () => ({ pin: bytesOf('999999') })
    const { session, card, cryptoki } = await open({ pin: wrong })
    await session.login(CKU.USER).catch(() => {})
    await session.login(CKU.USER).catch(() => {})
    expect(card.pinTriesLeft).toBe(1)
    await expect(session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(card.pinTriesLeft).toBe(1)
    const yes: PinSource = async () => ({ pin: bytesOf('999999'), acceptLastTry: true })
    await expect(session.login(CKU.USER, yes)).rejects.toMatchObject({ rv: CKR.PIN_LOCKED })
    expect(card.pinTriesLeft).toBe(0)
    let isRequested = false
    const recording: PinSource = async () => {
      isRequested = true
      return undefined
    }
    await expect(session.login(CKU.USER, recording)).rejects.toMatchObject({ rv: CKR.PIN_LOCKED })
    expect(isRequested).toBe(false)
    await cryptoki.close()
  })

  it('an invalid one, or none, is never sent', async () => {
    const { session, card, cryptoki } = await open()
    for (const text of ['12345', '123456789', '']) {
      const source: PinSource = async () => ({ pin: bytesOf(text) })
      await expect(session.login(CKU.USER, source)).rejects.toEqual(rv(CKR.PIN_LEN_RANGE))
    }
    await expect(session.login(CKU.USER, async () => undefined)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })

  it('given as text is not sent, and the message asks for bytes', async () => {
    const { session, card, cryptoki } = await open()
    const source = async (): Promise<never> => ({ pin: '123456' }) as never
    await expect(session.login(CKU.USER, source)).rejects.toMatchObject({
      rv: CKR.ARGUMENTS_BAD,
      message: expect.stringContaining('bytes') as string,
    })
    expect(card.pinTriesLeft).toBe(3)
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })

  it('is overwritten after use, right or wrong', async () => {
    for (const text of ['123456', '654321']) {
      const pin = bytesOf(text)
      const { session, cryptoki } = await open({ pin: async () => ({ pin }) })
      await session.login(CKU.USER).catch(() => {})
      expect(pin.every((byte) => byte === 0)).toBe(true)
      await cryptoki.close()
    }
  })

  it('is copied when it is given: a later write by the page changes nothing', async () => {
    let held: Promise<void> | undefined
    const { session, card, slot } = await open({
      intercept: async (command, card) => {
        await held
        return card.process(command)
      },
    })
    const other = await slot.openSession()
    const pin = bytesOf('123456')
    await session.login(CKU.USER, async () => {
      // The card is used by another session now, so the PIN has to wait.
      let resolve!: () => void
      held = new Promise((free) => void (resolve = free))
      other.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE }).events$.subscribe()
      setImmediate(() => {
        pin.set(bytesOf('999999'))
        resolve()
      })
      return { pin }
    })
    expect(verifies(card)).toBe(1)
  })

  it('a PIN-always key requests one for each signature, with VERIFY right before it', async () => {
    const purposes: string[] = []
    const pin: PinSource = async ({ purpose }) => {
      purposes.push(purpose)
      return { pin: bytesOf('123456') }
    }
    const { session, card, cryptoki } = await open({ pin })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(true)
    card.log.length = 0
    await session.sign({ type: CKM.ECDSA_SHA256 }, key, message)
    await session.sign({ type: CKM.ECDSA_SHA256 }, key, message)
    expect(commands(card)).toEqual(['20 00 80', '87 11 9c', '20 00 80', '87 11 9c'])
    expect(purposes).toEqual(['login', 'signature', 'signature'])
    await cryptoki.close()
  })

  it('an on-demand login requests one once, and not before the card needs it', async () => {
    let requests = 0
    const pin: PinSource = async () => {
      requests++
      return { pin: bytesOf('123456') }
    }
    const { session, cryptoki } = await open({ pin, cryptoki: { login: 'on-demand' } })
    const nineE = await object(session, CKO.PRIVATE_KEY, 4)
    await session.sign({ type: CKM.ECDSA_SHA384 }, nineE, message)
    expect(requests).toBe(0)
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign({ type: CKM.SHA256_RSA_PKCS }, nineA, message)
    await session.sign({ type: CKM.SHA256_RSA_PKCS }, nineA, message)
    expect(requests).toBe(1)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await session.sign({ type: CKM.ECDSA_SHA256 }, nineC, message)
    expect(requests).toBe(2)
    await cryptoki.close()
  })

  it('an open dialog does not block other sessions, and leaves nothing when it is abandoned', async () => {
    let resolvePin!: (pin: { pin: Uint8Array } | undefined) => void
    const pin: PinSource = () => new Promise((resolve) => void (resolvePin = resolve))
    const { session, card, cryptoki } = await open({ pin, cryptoki: { login: 'on-demand' } })
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    const waiting = await new Promise<{ unsubscribe(): void }>((resolve) => {
      const subscription = session
        .sign({ type: CKM.ECDSA_SHA256 }, nineC, message)
        .events$.subscribe(({ phase }) => {
          if (phase === 'awaiting-pin') resolve(subscription)
        })
    })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    const other = await slot?.openSession()
    if (other === undefined) throw new Error('No slot found.')
    expect(
      await other.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: Uint8Array.of(4) }),
    ).toHaveLength(1)
    waiting.unsubscribe()
    expect(session.active).toEqual([])
    const late = bytesOf('123456')
    resolvePin({ pin: late })
    await new Promise((resolve) => setImmediate(resolve))
    expect(late.every((byte) => byte === 0)).toBe(true)
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })

  it('a logout ends the verification on the card', async () => {
    const { session, card, cryptoki } = await open()
    await session.login(CKU.USER)
    expect(card.pinVerified).toBe(true)
    await session.logout()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })
})

const faults: readonly { readonly kind: Fault['kind']; readonly moment?: FaultMoment }[] = [
  { kind: 'stall-in' },
  { kind: 'stall-out' },
  { kind: 'mute-card' },
  { kind: 'stale-response' },
  { kind: 'truncated-message' },
  { kind: 'wrong-length' },
  { kind: 'huge-length' },
  { kind: 'one-byte-message' },
  { kind: 'one-byte-response' },
  { kind: 'empty-packet' },
  { kind: 'time-extension' },
  { kind: 'card-pulled', moment: 'before' },
  { kind: 'card-pulled', moment: 'during' },
  { kind: 'card-pulled', moment: 'after' },
  { kind: 'unplugged', moment: 'before' },
  { kind: 'unplugged', moment: 'during' },
  { kind: 'unplugged', moment: 'after' },
]

/** Faults after which the signature is still right without a person's help. */
const recoverable: readonly Fault['kind'][] = [
  'stall-in',
  'stall-out',
  'stale-response',
  'empty-packet',
  'time-extension',
]

/** SELECT, CHUID, discovery, attempts, VERIFY, certificate, signature: a fault can hit each. */
const APDUS_OF_A_SIGNATURE = 7

describe.each(['once', 'twice'] as const)('a fault that comes %s, at any APDU of a signature', (ends) => {
  it.each(faults)(
    '$kind $moment: right signature or typed error, no attempt lost, and a retry works',
    async (fault) => {
      for (let skip = 0; skip < APDUS_OF_A_SIGNATURE; skip++) {
        const card = createPivCard()
        const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
        reader.insert(card)
        const bus = new VirtualBus()
        bus.plug(reader)
        const usb = bus.context({ protectedClasses: false })
        const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()] })
        reader.faults.schedule({ ...fault, ends } as Fault, { skip })
        const failure: unknown = await signOnce(cryptoki).then(check(card), (error: unknown) => error)
        if (recoverable.includes(fault.kind)) expect(failure).toBeUndefined()
        if (failure !== undefined)
          expect(failure).toMatchObject({ code: expect.stringMatching(/^cryptoki\//) })
        expect(card.pinTriesLeft).toBe(3)
        expect(verifies(card)).toBeLessThanOrEqual(1)
        expect(card.log.filter(({ ins }) => ins === 0x87).length).toBeLessThanOrEqual(1)

        bus.unplug(reader)
        if (reader.cardIn() === undefined) reader.insert(card)
        while (reader.faults.waiting > 0) reader.faults.next()
        bus.plug(reader)
        await new Promise((resolve) => setImmediate(resolve))
        check(card)(await signOnce(cryptoki))
        expect(card.pinTriesLeft).toBe(3)
        await cryptoki.close()
        const [device] = await usb.getDevices()
        expect(device?.opened).toBe(false)
      }
    },
  )
})

async function signOnce(cryptoki: Cryptoki): Promise<Uint8Array> {
  const [slot] = await firstValueFrom(cryptoki.slots$)
  const session = await slot?.openSession({ pin: rightPin })
  if (session === undefined) throw new Error('No slot found.')
  await session.login(CKU.USER)
  return session
    .sign({ type: CKM.SHA256_RSA_PKCS }, await object(session, CKO.PRIVATE_KEY, 1), message)
    .result()
}

/** Throws if the signature is not exactly right. */
function check(card: PivCard): (signature: Uint8Array) => undefined {
  const publicKey = publicKeyOf(card, '9A')
  return (signature) => {
    expect(createVerify('sha256').update(message).verify(publicKey, signature)).toBe(true)
    return undefined
  }
}

describe('a slot', () => {
  it('returns CKR_TOKEN_NOT_RECOGNIZED for an unknown card and CKR_TOKEN_NOT_PRESENT without one', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
    const bus = new VirtualBus()
    bus.plug(reader)
    const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb: bus.context() })], drivers: [pivDriver()] })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    if (slot === undefined) throw new Error('No slot found.')
    await expect(slot.openSession()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
    reader.insert(createEchoCard())
    await expect(slot.openSession()).rejects.toEqual(rv(CKR.TOKEN_NOT_RECOGNIZED))
    reader.remove()
    reader.insert(createPivCard())
    await expect(slot.openSession()).resolves.toBeDefined()
    await cryptoki.close()
  })
})
