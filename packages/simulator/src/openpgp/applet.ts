/** The OpenPGP applet of a virtual card (OpenPGP card application 3.4, 7.2). */
import { copyOf, join, platformRandom, type RandomSource, sameBytes } from '../bytes.ts'
import { type AppletResponse, ok, status, type VirtualApplet } from '../iso7816/applet.ts'
import type { CommandApdu } from '../iso7816/command.ts'
import { ReferenceData } from '../iso7816/reference-data.ts'
import { tagBytes, tlv } from '../iso7816/tlv.ts'
import { defaultKdf, derivedPin, kdfObject, noKdf, readKdf } from './kdf.ts'
import {
  algorithmOf,
  attributesOf,
  decipherWith,
  demoKey,
  fingerprintOf,
  generateOpenPgpKey,
  keyTemplates,
  keyUses,
  type OpenPgpAlgorithm,
  type OpenPgpKey,
  type OpenPgpKeyUse,
  publicKeyTemplate,
  signWith,
  subjectPublicKeyInfo,
} from './keys.ts'
import {
  algorithmInformation,
  button,
  extendedCapabilities,
  extendedLengthInformation,
  historicalBytes,
  maxCertificateBytes,
  maxChallengeBytes,
  maxObjectBytes,
  maxPinBytes,
  openPgpAid,
  tags,
} from './objects.ts'
import type { OpenPgpOptions } from './options.ts'

const ins = {
  verify: 0x20,
  changeReferenceData: 0x24,
  performSecurityOperation: 0x2a,
  resetRetryCounter: 0x2c,
  generateKey: 0x47,
  getChallenge: 0x84,
  internalAuthenticate: 0x88,
  selectData: 0xa5,
  getData: 0xca,
  putData: 0xda,
} as const

const nothing = new Uint8Array(0)
const minPinBytes = 6
const minAdminPinBytes = 8
/** References of VERIFY: PW1 for signatures, PW1 for other commands, PW3. */
const references = { 0x81: '81', 0x82: '82', 0x83: '83' } as const
type Reference = (typeof references)[keyof typeof references]

/** The key use of each occurrence of 7F21. */
const certificateUses: readonly OpenPgpKeyUse[] = ['authentication', 'decryption', 'signature']

/** The data of one key use. It exists even without a key. */
interface KeySlot {
  algorithm: OpenPgpAlgorithm
  key: OpenPgpKey | undefined
  /** As in DO DE: 0 absent, 1 generated, 2 imported. */
  origin: 0 | 1 | 2
  fingerprint: Uint8Array
  caFingerprint: Uint8Array
  time: Uint8Array
  /** User interaction flag: 0 off, 1 on, 2 permanently on. */
  touch: number
}

/** The OpenPGP applet: executes the commands of the specification. */
export class OpenPgpApplet implements VirtualApplet {
  readonly aid: Uint8Array
  readonly ready: Promise<void>

  readonly #options: OpenPgpOptions
  readonly #random: RandomSource
  // Persistent state.
  readonly #pin: ReferenceData
  readonly #adminPin: ReferenceData
  #resettingCode: ReferenceData | undefined
  #pinPerSignature: boolean
  #kdf: Uint8Array = noKdf
  #signatureCount = 0
  readonly #keySlots: Readonly<Record<OpenPgpKeyUse, KeySlot>>
  /** Data objects that the terminal can write freely. */
  readonly #objects = new Map<number, Uint8Array>()
  /** Cardholder certificates in the order of their occurrences. */
  readonly #certificates: Uint8Array[]
  // Volatile state, lost at a reset and at any selection.
  #occurrence = 0
  readonly #verified = new Set<Reference>()
  /** Incremented when the volatile state is lost, so that a command that began before it changes nothing afterwards. */
  #resetEpoch = 0

  constructor(options: OpenPgpOptions = {}) {
    this.#options = options
    this.#random = options.random ?? platformRandom
    this.aid = openPgpAid(options.manufacturer ?? 0xff00, options.serialNumber ?? 0x4a000001)
    this.#pin = new ReferenceData(text(options.pin ?? '123456'), options.pinTries ?? 3)
    this.#adminPin = new ReferenceData(text(options.adminPin ?? '12345678'), options.adminPinTries ?? 3)
    if (options.resettingCode !== undefined) this.#setResettingCode(text(options.resettingCode))
    this.#pinPerSignature = options.pinPerSignature ?? true
    this.#keySlots = {
      signature: this.#createKeySlot('signature'),
      decryption: this.#createKeySlot('decryption'),
      authentication: this.#createKeySlot('authentication'),
    }
    const { name = 'Lovelace<<Ada', language = 'en', sex, login = 'ada', url = '' } = options.cardholder ?? {}
    this.#objects.set(tags.name, text(name))
    this.#objects.set(tags.language, text(language))
    this.#objects.set(tags.sex, text({ male: '1', female: '2', unknown: '9' }[sex ?? 'unknown']))
    this.#objects.set(tags.login, text(login))
    this.#objects.set(tags.url, text(url))
    this.#certificates = certificateUses.map((use) => copyOf(options.certificates?.[use] ?? nothing))
    this.ready = this.#personalise()
  }

  /** Attempts left for PW1. References 81 and 82 share them. */
  get pinTriesLeft(): number {
    return this.#pin.triesLeft
  }

  /** Attempts left for PW3. */
  get adminPinTriesLeft(): number {
    return this.#adminPin.triesLeft
  }

  /** The references that are verified, in ascending order. */
  get verified(): readonly Reference[] {
    return [...this.#verified].sort()
  }

  /** Number of signatures that the signature key has made. */
  get signatureCount(): number {
    return this.#signatureCount
  }

  /**
   * The public key as SubjectPublicKeyInfo in DER, or undefined if the card does not have the key. For checks by other
   * software.
   */
  publicKeyOf(use: OpenPgpKeyUse): Uint8Array | undefined {
    const { key } = this.#keySlots[use]
    return key && subjectPublicKeyInfo(key)
  }

  /**
   * Resets all verifications, even if this applet was selected already. Cards that notify the applet of each selection
   * do the same.
   */
  select(): AppletResponse {
    this.deselect()
    return ok()
  }

  deselect(): void {
    this.#resetEpoch += 1
    this.#occurrence = 0
    this.#verified.clear()
  }

  run(command: CommandApdu): AppletResponse | Promise<AppletResponse> {
    switch (command.ins) {
      case ins.verify:
        return this.#verify(command)
      case ins.changeReferenceData:
        return this.#changeReferenceData(command)
      case ins.resetRetryCounter:
        return this.#resetRetryCounter(command)
      case ins.performSecurityOperation:
        return this.#performSecurityOperation(command)
      case ins.internalAuthenticate:
        return this.#internalAuthenticate(command)
      case ins.generateKey:
        return this.#generateKey(command)
      case ins.getChallenge:
        return this.#getChallenge(command)
      case ins.selectData:
        return this.#selectData(command)
      case ins.getData:
        return this.#getData(command)
      case ins.putData:
        return this.#putData(command)
    }
    return status(0x6d00)
  }

  #createKeySlot(use: OpenPgpKeyUse): KeySlot {
    const { algorithms, absentKeys = [], touch } = this.#options
    const algorithm = algorithms?.[use] ?? 'p256'
    const key = demoKey(use, algorithm)
    const isAbsent = absentKeys.includes(use)
    return {
      algorithm,
      key: isAbsent ? undefined : key,
      origin: isAbsent ? 0 : 1,
      fingerprint: new Uint8Array(20),
      caFingerprint: new Uint8Array(20),
      time: new Uint8Array(4),
      touch: { off: 0, on: 1, fixed: 2 }[touch?.[use] ?? 'off'],
    }
  }

  /** Sets the values that need the platform's asynchronous hash functions. */
  async #personalise(): Promise<void> {
    for (const use of keyUses) {
      const slot = this.#keySlots[use]
      if (slot.key === undefined) continue
      // 2020-01-01T00:00:00Z.
      slot.time = Uint8Array.of(0x5e, 0x0b, 0xe1, 0x00)
      slot.fingerprint = await fingerprintOf(use, slot.algorithm, slot.key, 0x5e0be100)
    }
    const { kdf: hash, pin = '123456', adminPin = '12345678', resettingCode } = this.#options
    if (hash === undefined) return
    const kdf = defaultKdf(hash, this.#options.kdfSalts ?? 3)
    this.#pin.replace(await derivedPin(kdf, 'pin', text(pin)))
    this.#adminPin.replace(await derivedPin(kdf, 'adminPin', text(adminPin)))
    if (resettingCode !== undefined)
      this.#setResettingCode(await derivedPin(kdf, 'resettingCode', text(resettingCode)))
    const initial = await Promise.all([
      derivedPin(kdf, 'pin', text('123456')),
      derivedPin(kdf, 'adminPin', text('12345678')),
    ])
    this.#kdf = kdfObject(kdf, ...initial)
  }

  // 7.2.2: without data the command returns the status, with P1 FF it resets the verification.
  #verify({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00 && p1 !== 0xff) return status(0x6a86)
    if (!isReference(p2)) return status(0x6a88)
    const name = references[p2]
    if (p1 === 0xff) {
      if (data.length > 0) return status(0x6a80)
      this.#verified.delete(name)
      return ok()
    }
    const reference = name === '83' ? this.#adminPin : this.#pin
    if (data.length === 0) return this.#verified.has(name) ? ok() : triesLeft(reference)
    if (!fits(data, name === '83' ? minAdminPinBytes : minPinBytes)) return status(0x6a80)
    const comparison = reference.compare(data)
    if (comparison === 'right') this.#verified.add(name)
    else this.#verified.delete(name)
    return comparison === 'right' ? ok() : this.#refusalStatus(comparison, reference)
  }

  // 7.2.3: the data is the old PIN followed by the new one. The card knows the length of the old one.
  #changeReferenceData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00) return status(0x6a86)
    if (p2 !== 0x81 && p2 !== 0x83) return status(0x6a88)
    const reference = p2 === 0x83 ? this.#adminPin : this.#pin
    const newPin = data.subarray(reference.length)
    const comparison = reference.compare(data.subarray(0, reference.length))
    for (const name of p2 === 0x83 ? (['83'] as const) : (['81', '82'] as const)) this.#verified.delete(name)
    if (comparison !== 'right') return this.#refusalStatus(comparison, reference)
    if (!fits(newPin, p2 === 0x83 ? minAdminPinBytes : minPinBytes)) return status(0x6a80)
    reference.replace(newPin)
    return ok()
  }

  // 7.2.4: P1 02 requires PW3, P1 00 the resetting code before the new PIN.
  #resetRetryCounter({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00 && p1 !== 0x02) return status(0x6a86)
    if (p2 !== 0x81) return status(0x6a88)
    let newPin = data
    if (p1 === 0x02) {
      if (!this.#verified.has('83')) return status(0x6982)
    } else {
      const code = this.#resettingCode
      if (code === undefined) return status(0x6982)
      const comparison = code.compare(data.subarray(0, code.length))
      if (comparison !== 'right') return this.#refusalStatus(comparison, code)
      newPin = data.subarray(code.length)
    }
    if (!fits(newPin, minPinBytes)) return status(0x6a80)
    this.#pin.replace(newPin)
    this.#verified.delete('81')
    this.#verified.delete('82')
    return ok()
  }

  #refusalStatus(comparison: 'wrong' | 'blocked', reference: ReferenceData): AppletResponse {
    if (comparison === 'blocked') return status(0x6983)
    return this.#options.wrongPin === '6982' ? status(0x6982) : triesLeft(reference)
  }

  async #performSecurityOperation({ p1, p2, data }: CommandApdu): Promise<AppletResponse> {
    const operation = (p1 << 8) | p2
    if (operation === 0x8086) return this.#useKey('decryption', '82', data, decipherWith)
    if (operation !== 0x9e9a) return status(0x6a86)
    const response = this.#useKey('signature', '81', data, signWith)
    // 7.2.10: the verification is valid for one command, whether it succeeds or not. It is reset before the signature
    // is complete, so that a second command cannot use it.
    if (this.#pinPerSignature) this.#verified.delete('81')
    const { sw } = await response
    if (sw === 0x9000) this.#signatureCount = Math.min(this.#signatureCount + 1, 0xffffff)
    return response
  }

  async #internalAuthenticate({ p1, p2, data }: CommandApdu): Promise<AppletResponse> {
    if (p1 !== 0x00 || p2 !== 0x00) return status(0x6a86)
    return this.#useKey('authentication', '82', data, signWith)
  }

  async #useKey(
    use: OpenPgpKeyUse,
    reference: Reference,
    input: Uint8Array,
    compute: (key: OpenPgpKey, input: Uint8Array) => Uint8Array | undefined,
  ): Promise<AppletResponse> {
    const { key, touch } = this.#keySlots[use]
    if (!this.#verified.has(reference)) return status(0x6982)
    if (key === undefined) return status(0x6a88)
    const resetEpoch = this.#resetEpoch
    const { onTouch = () => true } = this.#options
    if (touch !== 0 && !(await onTouch(use))) return status(0x6600)
    if (resetEpoch !== this.#resetEpoch) return status(0x6f00)
    const output = compute(key, input)
    return output === undefined ? status(0x6a80) : ok(output)
  }

  // 7.2.14: P1 80 generates a key, P1 81 reads the public key. The template names the key: B6, B8 or A4, empty or with
  // 84.
  async #generateKey({ p1, p2, data }: CommandApdu): Promise<AppletResponse> {
    if ((p1 !== 0x80 && p1 !== 0x81) || p2 !== 0x00) return status(0x6a86)
    const at = keyUses.findIndex((use) => keyTemplates[use] === data[0])
    const use = keyUses[at]
    const isEmpty = data.length === 2 && data[1] === 0
    const isNamed =
      data.length === 5 && data[1] === 3 && data[2] === 0x84 && data[3] === 1 && data[4] === at + 1
    if (use === undefined || !(isEmpty || isNamed)) return status(0x6a80)
    const slot = this.#keySlots[use]
    if (p1 === 0x81) return slot.key === undefined ? status(0x6a88) : ok(publicKeyTemplate(slot.key))
    if (!this.#verified.has('83')) return status(0x6982)
    const resetEpoch = this.#resetEpoch
    const key = await generateOpenPgpKey(slot.algorithm, this.#random)
    if (key === undefined || resetEpoch !== this.#resetEpoch) return status(0x6f00)
    this.#setKey(use, key)
    return ok(publicKeyTemplate(key))
  }

  /** Sets a key and clears its fingerprint and time, which the terminal writes afterwards. */
  #setKey(use: OpenPgpKeyUse, key: OpenPgpKey | undefined): void {
    const slot = this.#keySlots[use]
    slot.key = key
    slot.origin = key === undefined ? 0 : 1
    slot.fingerprint = new Uint8Array(20)
    slot.time = new Uint8Array(4)
    if (use === 'signature') this.#signatureCount = 0
  }

  #getChallenge({ p1, p2, data, le }: CommandApdu): AppletResponse {
    if (p1 !== 0 || p2 !== 0) return status(0x6a86)
    if (data.length > 0 || le === undefined || le > maxChallengeBytes) return status(0x6700)
    return ok(this.#random(le))
  }

  // 7.2.5: selects one of the three certificates for GET DATA and PUT DATA.
  #selectData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p2 !== 0x04) return status(0x6a86)
    if (!sameBytes(data, tlv(0x60, tlv(0x5c, tagBytes(tags.certificate))))) return status(0x6a80)
    if (p1 >= certificateUses.length) return status(0x6a88)
    this.#occurrence = p1
    return ok()
  }

  #getData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (data.length > 0) return status(0x6700)
    const value = this.#object((p1 << 8) | p2)
    return value === undefined ? status(0x6a88) : ok(value)
  }

  /**
   * Returns a data object. A constructed object includes its tag, except for the certificate and F9, which are returned
   * as the terminal wrote them.
   */
  #object(tag: number): Uint8Array | undefined {
    const slots = keyUses.map((use) => this.#keySlots[use])
    const hasButton = this.#options.touch !== undefined
    const child = (own: number): Uint8Array => tlv(own, this.#object(own) ?? nothing)
    switch (tag) {
      case tags.aid:
        return this.aid
      case tags.historicalBytes:
        return historicalBytes(this.#options.extendedLength ?? true)
      case tags.cardholder:
        return tlv(tag, child(tags.name), child(tags.language), child(tags.sex))
      case tags.application: {
        const features = hasButton ? [this.#object(tags.features) ?? nothing] : []
        const whole = [this.#object(tags.extendedLength), this.#object(tags.discretionary)]
        return tlv(
          tag,
          child(tags.aid),
          child(tags.historicalBytes),
          ...features,
          ...whole.map((part) => part ?? nothing),
        )
      }
      case tags.discretionary: {
        const attributes = keyUses.map((_, at) => child(tags.algorithmAttributes + at))
        const touch = hasButton ? keyUses.map((_, at) => child(tags.touch + at)) : []
        const rest = [tags.pinStatus, tags.fingerprints, tags.caFingerprints, tags.times, tags.keyInformation]
        return tlv(tag, child(tags.extendedCapabilities), ...attributes, ...rest.map(child), ...touch)
      }
      case tags.securitySupport:
        return tlv(tag, child(tags.signatureCounter))
      case tags.signatureCounter: {
        const count = this.#signatureCount
        return Uint8Array.of(count >> 16, (count >> 8) & 0xff, count & 0xff)
      }
      case tags.extendedLength:
        return tlv(tag, extendedLengthInformation)
      case tags.features:
        return hasButton ? tlv(tag, tlv(0x81, button)) : undefined
      case tags.extendedCapabilities:
        return extendedCapabilities
      case tags.pinStatus:
        return this.#pinStatus()
      case tags.fingerprints:
        return join(...slots.map(({ fingerprint }) => fingerprint))
      case tags.caFingerprints:
        return join(...slots.map(({ caFingerprint }) => caFingerprint))
      case tags.times:
        return join(...slots.map(({ time }) => time))
      case tags.keyInformation:
        return join(...slots.map(({ origin }, at) => [at + 1, origin]))
      case tags.certificate:
        return this.#certificates[this.#occurrence]
      case tags.kdf:
        return this.#kdf
      case tags.algorithmInformation:
        return tlv(tag, algorithmInformation())
    }
    const [row, at] = rowOf(tag)
    const use = keyUses[at]
    if (row === tags.algorithmAttributes && use !== undefined)
      return attributesOf(use, this.#keySlots[use].algorithm)
    if (row === tags.touch && use !== undefined && hasButton)
      return Uint8Array.of(this.#keySlots[use].touch, button)
    return this.#objects.get(tag)
  }

  // 4.4.3.4: validity of 81, maximum PIN lengths (bit 8 clear: no PIN block format 2), attempts left.
  #pinStatus(): Uint8Array {
    const attempts = [this.#pin.triesLeft, this.#resettingCode?.triesLeft ?? 0, this.#adminPin.triesLeft]
    return join(this.#pinPerSignature ? 0 : 1, maxPinBytes, maxPinBytes, maxPinBytes, attempts)
  }

  #putData({ p1, p2, data }: CommandApdu): AppletResponse {
    const tag = (p1 << 8) | p2
    const write = this.#writerOf(tag)
    if (write === undefined) return status(0x6a88)
    if (!this.#verified.has('83')) return status(0x6982)
    return write(copyOf(data)) ? ok() : status(0x6a80)
  }

  /**
   * Returns a function that writes an object and returns false if the value does not fit. Undefined if the object
   * cannot be written.
   */
  #writerOf(tag: number): ((value: Uint8Array) => boolean) | undefined {
    if (tag === tags.pinStatus) return (value) => this.#setPinPerSignature(value)
    if (tag === tags.resettingCode) return (value) => this.#writeResettingCode(value)
    if (tag === tags.kdf) return (value) => this.#setKdf(value)
    if (tag === tags.certificate) return (value) => this.#setCertificate(value)
    const [row, at] = rowOf(tag)
    const use = keyUses[at]
    if (use !== undefined) {
      const slot = this.#keySlots[use]
      if (row === tags.algorithmAttributes) return (value) => this.#setAlgorithm(use, algorithmOf(use, value))
      if (row === tags.fingerprint) return ofLength(20, (value) => (slot.fingerprint = value))
      if (row === tags.caFingerprint) return ofLength(20, (value) => (slot.caFingerprint = value))
      if (row === tags.time) return ofLength(4, (value) => (slot.time = value))
      return this.#options.touch && ((value) => setTouch(slot, value))
    }
    if (!this.#objects.has(tag)) return undefined
    return (value) => value.length <= maxObjectBytes && this.#objects.set(tag, value) !== undefined
  }

  #setPinPerSignature(value: Uint8Array): boolean {
    const [first = 0xff] = value
    if (value.length !== 1 || first > 1) return false
    this.#pinPerSignature = first === 0
    return true
  }

  #setCertificate(value: Uint8Array): boolean {
    if (value.length > maxCertificateBytes) return false
    this.#certificates[this.#occurrence] = value
    return true
  }

  #writeResettingCode(value: Uint8Array): boolean {
    if (value.length > 0 && !fits(value, minAdminPinBytes)) return false
    this.#setResettingCode(value)
    return true
  }

  #setResettingCode(value: Uint8Array): void {
    const tries = this.#options.resettingCodeTries ?? 3
    this.#resettingCode = value.length === 0 ? undefined : new ReferenceData(value, tries)
  }

  /** Sets DO F9. The PINs become those in the object (87 and 88), or those of a new card if derivation is disabled. */
  #setKdf(value: Uint8Array): boolean {
    const kdf = readKdf(value)
    if (kdf === undefined) return false
    this.#kdf = value
    this.#pin.replace(kdf === 'none' ? text('123456') : kdf.pin)
    this.#adminPin.replace(kdf === 'none' ? text('12345678') : kdf.adminPin)
    this.#setResettingCode(nothing)
    this.#verified.delete('81')
    this.#verified.delete('82')
    return true
  }

  #setAlgorithm(use: OpenPgpKeyUse, algorithm: OpenPgpAlgorithm | undefined): boolean {
    if (algorithm === undefined) return false
    const slot = this.#keySlots[use]
    // A change of the algorithm deletes the key.
    if (slot.algorithm !== algorithm) this.#setKey(use, undefined)
    slot.algorithm = algorithm
    return true
  }
}

const rows: readonly number[] = [
  tags.algorithmAttributes,
  tags.fingerprint,
  tags.caFingerprint,
  tags.time,
  tags.touch,
]

/** Splits the tag of an object that exists once for each key into the tag of the first one and the index of the key. */
function rowOf(tag: number): readonly [row: number | undefined, at: number] {
  const row = rows.find((first) => tag >= first && tag < first + 3)
  return [row, row === undefined ? -1 : tag - row]
}

function ofLength(length: number, set: (value: Uint8Array) => void): (value: Uint8Array) => boolean {
  return (value) => {
    if (value.length === length) set(value)
    return value.length === length
  }
}

function setTouch(slot: KeySlot, value: Uint8Array): boolean {
  const [policy = 0xff, how] = value
  if (value.length !== 2 || policy > 2 || how !== button || slot.touch === 2) return false
  slot.touch = policy
  return true
}

function isReference(p2: number): p2 is keyof typeof references {
  return p2 in references
}

function fits(pin: Uint8Array, minBytes: number): boolean {
  return pin.length >= minBytes && pin.length <= maxPinBytes
}

function triesLeft(reference: ReferenceData): AppletResponse {
  return status(0x63c0 | Math.min(reference.triesLeft, 15))
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}
