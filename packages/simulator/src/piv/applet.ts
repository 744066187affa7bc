/** The PIV applet of a virtual card (NIST SP 800-73-4 part 2). */
import { copyOf, join, platformRandom, type RandomSource, toInteger } from '../bytes.ts'
import { type AppletResponse, ok, status, type VirtualApplet } from '../iso7816/applet.ts'
import type { CommandApdu } from '../iso7816/command.ts'
import { ReferenceData } from '../iso7816/reference-data.ts'
import { type DataObject, readObjects, tlv } from '../iso7816/tlv.ts'
import {
  agreeWith,
  generatePivKey,
  type PivKey,
  pivEcKey,
  pivKeyOf,
  pivRsaKey,
  publicKeyTemplate,
  rsaModulusBits,
  signWith,
  subjectPublicKeyInfo,
} from './keys.ts'
import { fitsManagementKey, ManagementAuthentication, type ManagementKey } from './management-key.ts'
import {
  applicationProperties,
  capabilities,
  certificateObject,
  chuid,
  discovery,
  guidOf,
  gzip,
  isPivObject,
  objectTags,
  pinProtectedObjects,
  pivAid,
  type PivSlot,
  pivSlots,
} from './objects.ts'
import {
  defaultGuid,
  defaultManagementKey,
  demoIdentity,
  type KeyPolicy,
  type PivOptions,
} from './options.ts'
import { isPinFormat, pinBlock } from './reference-data.ts'

const slotNames = Object.keys(pivSlots) as readonly PivSlot[]
const ins = {
  verify: 0x20,
  changeReferenceData: 0x24,
  resetRetryCounter: 0x2c,
  generateKey: 0x47,
  generalAuthenticate: 0x87,
  select: 0xa4,
  getData: 0xcb,
  putData: 0xdb,
  reset: 0xfb,
  importKey: 0xfe,
  setManagementKey: 0xff,
  getMetadata: 0xf7,
} as const

const nothing = new Uint8Array(0)

/** The PIV applet: executes the commands of SP 800-73-4 and, if requested, Yubico's extensions. */
export class PivApplet implements VirtualApplet {
  readonly aid: Uint8Array = pivAid
  readonly ready: Promise<void>

  readonly #options: PivOptions
  readonly #random: RandomSource
  // Persistent state.
  #pin: ReferenceData
  #puk: ReferenceData
  #managementKey: ManagementKey
  readonly #keys = new Map<number, PivKey>()
  readonly #policies = new Map<number, Policy>()
  readonly #imported = new Set<number>()
  readonly #objects = new Map<number, Uint8Array>()
  readonly #certificates = new Map<PivSlot, Uint8Array>()
  readonly #unreadable = new Set<number>()
  // Volatile state, lost at a reset and when another applet is selected.
  #pinVerified = false
  /** True if the previous command was a successful VERIFY, which a key with PIN policy 'always' requires. */
  #pinFresh = false
  #isManagementAuthenticated = false
  #authentication: ManagementAuthentication | undefined
  /** Incremented when the volatile state is lost, so that a key generated at that time is discarded. */
  #resetEpoch = 0

  constructor(options: PivOptions = {}) {
    this.#options = options
    this.#random = options.random ?? platformRandom
    this.#managementKey = options.managementKey ?? defaultManagementKey
    if (!fitsManagementKey(this.#managementKey))
      throw new RangeError(
        'The management key does not have the length of its algorithm, or the algorithm is unknown.',
      )
    this.#pin = new ReferenceData(pinBlock(options.pin ?? '123456'), options.pinTries ?? 3)
    this.#puk = new ReferenceData(pinBlock(options.puk ?? '12345678'), options.pukTries ?? 3)
    const guid = options.guid ?? defaultGuid
    this.#objects.set(objectTags.chuid, chuid(guid))
    this.#objects.set(objectTags.capabilities, capabilities(guid))
    if (options.discovery ?? true) {
      this.#objects.set(objectTags.discovery, discovery(options.pinUsagePolicy ?? 0x4000))
    }
    for (const slot of slotNames) {
      const own = options.keys?.[slot]
      const key = own && pivKeyOf(own)
      if (own !== undefined && key === undefined)
        throw new RangeError(`The private key for ${slot} is malformed, or PIV has no algorithm for it.`)
      if (key !== undefined) this.#keys.set(pivSlots[slot].reference, key)
    }
    this.ready = this.#personalise()
  }

  /** Attempts left for the PIN. */
  get pinTriesLeft(): number {
    return this.#pin.triesLeft
  }

  /** Attempts left for the PUK. */
  get pukTriesLeft(): number {
    return this.#puk.triesLeft
  }

  /** True if the PIN is verified. A logout must reset it. */
  get pinVerified(): boolean {
    return this.#pinVerified
  }

  /** The GUID in the current CHUID, or undefined if the CHUID was overwritten with something else. */
  get guid(): Uint8Array | undefined {
    return guidOf(this.#objects.get(objectTags.chuid) ?? nothing)
  }

  /**
   * The public key of a slot as SubjectPublicKeyInfo in DER, or undefined if the slot has no key. For checks by other
   * software.
   */
  publicKeyOf(slot: PivSlot): Uint8Array | undefined {
    const key = this.#keys.get(pivSlots[slot].reference)
    return key && subjectPublicKeyInfo(key)
  }

  /** The uncompressed certificate of a slot in DER, or undefined if the slot has none. */
  certificateOf(slot: PivSlot): Uint8Array | undefined {
    const certificate = this.#certificates.get(slot)
    return certificate && copyOf(certificate)
  }

  deselect(): void {
    this.#resetEpoch += 1
    this.#forgetSecurity()
  }

  interrupted(partOfIns?: number): void {
    // The parts of a chained signature command count as one command; any other command cancels the PIN verification for
    // it.
    if (partOfIns !== ins.generalAuthenticate) this.#pinFresh = false
  }

  async #personalise(): Promise<void> {
    const { gzipCertificate = false, absentKeys = [], absentCertificates = [] } = this.#options
    const compressed: Promise<void>[] = []
    for (const slot of slotNames) {
      const { reference, certificateTag } = pivSlots[slot]
      if (this.#options.unreadableCertificates?.includes(slot)) this.#unreadable.add(certificateTag)
      if (absentKeys.includes(slot)) continue
      const demo = demoIdentity(slot, this.#options.nineA ?? 'rsa2048')
      const own = this.#keys.get(reference)
      const certificate = this.#options.certificates?.[slot] ?? (own ? undefined : demo.certificate)
      this.#keys.set(reference, own ?? demo.key)
      this.#policies.set(reference, { ...defaultPolicy(reference), ...this.#options.policies?.[slot] })
      this.#imported.add(reference)
      if (certificate === undefined || absentCertificates.includes(slot)) continue
      this.#certificates.set(slot, certificate)
      const isCompressed =
        typeof gzipCertificate === 'boolean' ? gzipCertificate : gzipCertificate.includes(slot)
      if (!isCompressed) this.#objects.set(certificateTag, certificateObject(certificate, false))
      else {
        compressed.push(
          gzip(certificate).then(
            (bytes) => void this.#objects.set(certificateTag, certificateObject(bytes, true)),
          ),
        )
      }
    }
    await Promise.all(compressed)
  }

  /** Selecting the current application again does not change its security status (SP 800-73-4 part 2, 3.1.1). */
  select(): AppletResponse {
    this.#authentication = undefined
    return ok(applicationProperties())
  }

  run(command: CommandApdu): AppletResponse | Promise<AppletResponse> {
    const fresh = this.#pinFresh
    this.#pinFresh = false
    if (command.ins !== ins.generalAuthenticate) this.#authentication = undefined
    switch (command.ins) {
      case ins.select:
        return status(0x6a86)
      case ins.getData:
        return this.#getData(command)
      case ins.putData:
        return this.#putData(command)
      case ins.verify:
        return this.#verify(command)
      case ins.changeReferenceData:
        return this.#changeReferenceData(command)
      case ins.resetRetryCounter:
        return this.#resetRetryCounter(command)
      case ins.generalAuthenticate:
        return this.#generalAuthenticate(command, fresh)
      case ins.generateKey:
        return this.#generateKey(command)
    }
    if (this.#options.vendorExtensions) {
      if (command.ins === ins.setManagementKey) return this.#setManagementKey(command)
      if (command.ins === ins.importKey) return this.#importKey(command)
      if (command.ins === ins.getMetadata) return this.#getMetadata(command)
      if (command.ins === ins.reset) return this.#factoryReset(command)
    }
    return status(0x6d00)
  }

  #getData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x3f || p2 !== 0xff) return status(0x6a86)
    const [list, ...more] = readObjects(data) ?? []
    if (list?.tag !== 0x5c || more.length > 0 || list.value.length < 1 || list.value.length > 3)
      return status(0x6a80)
    const tag = Number(toInteger(list.value))
    if (this.#unreadable.has(tag)) return status(0x6982)
    if (pinProtectedObjects.has(tag) && !this.#pinVerified) return status(0x6982)
    const content = this.#objects.get(tag)
    if (content === undefined) return status(0x6a82)
    return ok(tlv(tag === objectTags.discovery || tag === objectTags.biometricGroup ? tag : 0x53, content))
  }

  #putData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x3f || p2 !== 0xff) return status(0x6a86)
    if (!this.#isManagementAuthenticated) return status(0x6982)
    const [first, second, ...more] = readObjects(data) ?? []
    let tag: number
    let content: Uint8Array
    if (first?.tag === 0x5c && second?.tag === 0x53 && more.length === 0) {
      tag = Number(toInteger(first.value.subarray(0, 4)))
      content = second.value
    } else if (
      first &&
      !second &&
      (first.tag === objectTags.discovery || first.tag === objectTags.biometricGroup)
    ) {
      // These two objects are written without a tag list (SP 800-73-4 part 2, 3.3.2).
      tag = first.tag
      content = first.value
    } else return status(0x6a80)
    if (!isPivObject(tag)) return status(0x6a82)
    const slot = slotNames.find((name) => pivSlots[name].certificateTag === tag)
    if (slot) {
      const parts = readObjects(content)
      const certificate = parts?.find((part) => part.tag === 0x70)?.value
      const plain = ((parts?.find((part) => part.tag === 0x71)?.value[0] ?? 0) & 1) === 0
      if (certificate && plain) this.#certificates.set(slot, certificate)
      else this.#certificates.delete(slot)
    }
    if (content.length === 0) this.#objects.delete(tag)
    else this.#objects.set(tag, content)
    return ok()
  }

  #verify({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00 && p1 !== 0xff) return status(0x6a86)
    if (p2 !== 0x80) return status(0x6a88)
    if (p1 === 0xff) {
      if (data.length > 0) return status(0x6a80)
      this.#pinVerified = false
      return ok()
    }
    if (this.#pin.triesLeft === 0) return status(0x6983)
    if (data.length === 0)
      return this.#pinVerified ? ok() : status(0x63c0 | Math.min(this.#pin.triesLeft, 15))
    if (!isPinFormat(data)) return status(0x6a80)
    const comparison = this.#pin.compare(data)
    this.#pinVerified = comparison === 'right'
    this.#pinFresh = this.#pinVerified
    return this.#pinVerified ? ok() : this.#wrongReferenceStatus(this.#pin)
  }

  #changeReferenceData({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00) return status(0x6a86)
    const reference = p2 === 0x80 ? this.#pin : p2 === 0x81 ? this.#puk : undefined
    if (reference === undefined) return status(0x6a88)
    if (reference.triesLeft === 0) return status(0x6983)
    if (data.length !== 16) return status(0x6a80)
    const newValue = data.subarray(8)
    if (p2 === 0x80 && !(isPinFormat(data.subarray(0, 8)) && isPinFormat(newValue))) return status(0x6a80)
    const comparison = reference.compare(data.subarray(0, 8))
    if (p2 === 0x80) this.#pinVerified = comparison === 'right'
    if (comparison !== 'right') return this.#wrongReferenceStatus(reference)
    reference.replace(newValue)
    return ok()
  }

  #resetRetryCounter({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x00) return status(0x6a86)
    if (p2 !== 0x80) return status(0x6a88)
    if (this.#puk.triesLeft === 0) return status(0x6983)
    if (data.length !== 16 || !isPinFormat(data.subarray(8))) return status(0x6a80)
    if (this.#puk.compare(data.subarray(0, 8)) !== 'right') {
      // A wrong PUK also resets the security status of the PIN; the right one does not change it (SP 800-73-4 part 2,
      // 3.2.3).
      this.#pinVerified = false
      return this.#wrongReferenceStatus(this.#puk)
    }
    this.#pin.replace(data.subarray(8))
    return ok()
  }

  #wrongReferenceStatus(reference: ReferenceData): AppletResponse {
    const { triesLeft } = reference
    if (triesLeft === 0 && this.#options.lastWrongPin !== '63C0') return status(0x6983)
    return status(0x63c0 | Math.min(triesLeft, 15))
  }

  #generalAuthenticate(
    { p1, p2, data }: CommandApdu,
    pinFresh: boolean,
  ): AppletResponse | Promise<AppletResponse> {
    const authentication = this.#authentication
    this.#authentication = undefined
    const [template, ...more] = readObjects(data) ?? []
    const parts = template?.tag === 0x7c && more.length === 0 ? readObjects(template.value) : undefined
    if (parts === undefined) return status(0x6a80)
    const part = (tag: number): Uint8Array | undefined => parts.find((object) => object.tag === tag)?.value
    if (p2 === 0x9b) return this.#authenticateManagement(p1, part, authentication)

    const key = this.#keys.get(p2)
    if (key === undefined) return status(0x6a86)
    const input = part(0x81)
    const point = part(0x85)
    if (key.algorithm !== p1 && !this.#acceptsRsaReference(p1, key)) return status(0x6a86)
    const { pin, touch } = this.#policies.get(p2) ?? defaultPolicy(p2)
    const allowed = pin === 'never' || (this.#pinVerified && (pin === 'once' || pinFresh))
    if (!allowed) return status(0x6982)
    if (part(0x82)?.length !== 0) return status(0x6a80)
    const use = (): AppletResponse => {
      let output: Uint8Array | undefined
      if (input !== undefined && point === undefined) output = signWith(key, input)
      // Only key management keys support key agreement (SP 800-73-4 part 2, table 7).
      else if (point !== undefined && input === undefined && isKeyManagement(p2))
        output = agreeWith(key, point)
      return output === undefined ? status(0x6a80) : ok(tlv(0x7c, tlv(0x82, output)))
    }
    const touched = touch === 'always' ? this.#options.touch?.() : undefined
    return touched === undefined ? use() : touched.then((inTime) => (inTime ? use() : status(0x6982)))
  }

  // The implementation whose scenarios the tests replay accepts any RSA reference for an RSA key. The length of the
  // block decides.
  #acceptsRsaReference(algorithm: number, key: PivKey): boolean {
    return (
      this.#options.vendorExtensions === true && key.kind === 'rsa' && rsaModulusBits(algorithm) !== undefined
    )
  }

  #authenticateManagement(
    algorithm: number,
    part: (tag: number) => Uint8Array | undefined,
    authentication: ManagementAuthentication | undefined,
  ): AppletResponse {
    const own = this.#managementKey
    // 00 is an older identifier of 3DES (SP 800-78-4, table 6-2).
    if ((algorithm === 0x00 ? 0x03 : algorithm) !== own.algorithm) return status(0x6a86)
    const witness = part(0x80)
    const challenge = part(0x81)
    const response = part(0x82)
    const requestsWitness = witness?.length === 0 && challenge === undefined
    const requestsChallenge = challenge?.length === 0 && witness === undefined
    if (requestsWitness || requestsChallenge) {
      const next = new ManagementAuthentication(own, requestsWitness, this.#random)
      this.#authentication = next
      return ok(tlv(0x7c, tlv(requestsWitness ? 0x80 : 0x81, next.firstMessage)))
    }
    if (authentication !== undefined && witness && challenge) {
      const proof = authentication.respondMutually(witness, challenge)
      if (proof !== undefined) {
        this.#isManagementAuthenticated = true
        return ok(tlv(0x7c, tlv(0x82, proof)))
      }
    } else if (authentication !== undefined && response && authentication.verifyResponse(response)) {
      this.#isManagementAuthenticated = true
      return ok()
    }
    this.#isManagementAuthenticated = false
    return status(0x6a80)
  }

  async #generateKey({ p1, p2, data }: CommandApdu): Promise<AppletResponse> {
    if (p1 !== 0x00) return status(0x6a86)
    if (!this.#isManagementAuthenticated) return status(0x6982)
    if (!this.#isKeySlot(p2)) return status(0x6a86)
    const [template, ...more] = readObjects(data) ?? []
    const parts = template?.tag === 0xac && more.length === 0 ? readObjects(template.value) : undefined
    const algorithm = parts?.find((object) => object.tag === 0x80)?.value
    const exponent = parts?.find((object) => object.tag === 0x81)?.value
    if (algorithm?.length !== 1 || !this.#supports(algorithm[0] ?? 0)) return status(0x6a80)
    if (exponent !== undefined && toInteger(exponent.subarray(0, 8)) !== 65537n) return status(0x6a80)
    const policy = this.#policyOf(p2, parts)
    if (policy === undefined) return status(0x6a80)
    const resetEpoch = this.#resetEpoch
    const key = await generatePivKey(algorithm[0] ?? 0, this.#random)
    if (key === undefined || resetEpoch !== this.#resetEpoch) return status(0x6f00)
    this.#keys.set(p2, key)
    this.#policies.set(p2, policy)
    this.#imported.delete(p2)
    return ok(publicKeyTemplate(key))
  }

  #isKeySlot(reference: number): boolean {
    const retired = reference >= 0x82 && reference <= 0x95
    return (
      slotNames.some((name) => pivSlots[name].reference === reference) ||
      (retired && this.#options.vendorExtensions === true)
    )
  }

  #supports(algorithm: number): boolean {
    const large = algorithm === 0x05 || algorithm === 0x16
    return [0x06, 0x07, 0x11, 0x14].includes(algorithm) || (large && this.#options.vendorExtensions === true)
  }

  #setManagementKey({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0xff || (p2 !== 0xff && p2 !== 0xfe)) return status(0x6a86)
    if (!this.#isManagementAuthenticated) return status(0x6982)
    const [algorithm = 0, reference, length] = data
    const next = { algorithm, key: data.slice(3) }
    if (reference !== 0x9b || length !== next.key.length || !fitsManagementKey(next)) return status(0x6a80)
    this.#managementKey = next
    return ok()
  }

  #importKey({ p1, p2, data }: CommandApdu): AppletResponse {
    if (!this.#isManagementAuthenticated) return status(0x6982)
    if (!this.#isKeySlot(p2) || !this.#supports(p1)) return status(0x6a86)
    const parts = readObjects(data)
    const part = (tag: number): Uint8Array | undefined => parts?.find((object) => object.tag === tag)?.value
    const [p, q, third, scalar] = [part(0x01), part(0x02), part(0x03), part(0x06)]
    // Some senders pass the public exponent in the third part, others a CRT value that is as long as a prime.
    const e = third && third.length <= 4 ? toInteger(third) : 65537n
    const key = p && q ? pivRsaKey(p1, p, q, e) : scalar && pivEcKey(p1, scalar)
    const policy = this.#policyOf(p2, parts)
    if (key === undefined || policy === undefined) return status(0x6a80)
    this.#keys.set(p2, key)
    this.#policies.set(p2, policy)
    this.#imported.add(p2)
    return ok()
  }

  /**
   * Reads the policies of a new key from AA and AB
   * (https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/generate-pair.html). Returns undefined for an
   * unknown value.
   */
  #policyOf(reference: number, parts: readonly DataObject[] | undefined): Policy | undefined {
    const chosen = (tag: number): number =>
      this.#options.vendorExtensions ? (parts?.find((part) => part.tag === tag)?.value[0] ?? 0) : 0
    const pin = ['default', ...pinPolicies][chosen(0xaa)]
    const touch = ['default', ...touchPolicies][chosen(0xab)]
    if (pin === undefined || touch === undefined) return undefined
    const usual = defaultPolicy(reference)
    return {
      pin: pinPolicies.find((each) => each === pin) ?? usual.pin,
      touch: touchPolicies.find((each) => each === touch) ?? usual.touch,
    }
  }

  /**
   * Returns metadata (https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/metadata.html).
   * For a key: algorithm, PIN and touch policy, origin (generated 1, imported 2), public key. For PIN and PUK: algorithm
   * FF, the maximum number of attempts and the attempts left.
   */
  #getMetadata({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0 || data.length > 0) return status(0x6a86)
    const key = this.#keys.get(p2)
    if (key !== undefined) {
      const { pin, touch } = this.#policies.get(p2) ?? defaultPolicy(p2)
      const policy = [pinPolicies.indexOf(pin) + 1, touchPolicies.indexOf(touch) + 1]
      return ok(
        join(
          tlv(0x01, Uint8Array.of(key.algorithm)),
          tlv(0x02, Uint8Array.from(policy)),
          tlv(0x03, Uint8Array.of(this.#imported.has(p2) ? 2 : 1)),
          tlv(0x04, readObjects(publicKeyTemplate(key))?.[0]?.value ?? nothing),
        ),
      )
    }
    const reference = p2 === 0x80 ? this.#pin : p2 === 0x81 ? this.#puk : undefined
    if (reference === undefined) return status(0x6a88)
    const { maxTries, triesLeft } = reference
    return ok(join(tlv(0x01, Uint8Array.of(0xff)), tlv(0x06, Uint8Array.of(maxTries, triesLeft))))
  }

  /** Restores the factory state. Requires a blocked PIN, so that it cannot happen by mistake. */
  #factoryReset({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0 || p2 !== 0 || data.length > 0) return status(0x6a86)
    if (this.#pin.triesLeft > 0) return status(0x6985)
    this.#pin = new ReferenceData(pinBlock('123456'), this.#options.pinTries ?? 3)
    this.#puk = new ReferenceData(pinBlock('12345678'), this.#options.pukTries ?? 3)
    this.#managementKey = defaultManagementKey
    this.#keys.clear()
    this.#policies.clear()
    this.#certificates.clear()
    for (const tag of this.#objects.keys()) if (!keptOnReset.has(tag)) this.#objects.delete(tag)
    this.#forgetSecurity()
    return ok()
  }

  #forgetSecurity(): void {
    this.#pinVerified = false
    this.#pinFresh = false
    this.#isManagementAuthenticated = false
    this.#authentication = undefined
  }
}

type Policy = Required<KeyPolicy>
const pinPolicies = ['never', 'once', 'always'] as const
const touchPolicies = ['never', 'always'] as const

/** The policy of a slot in SP 800-73-4 part 1, table 4. */
function defaultPolicy(reference: number): Policy {
  return { pin: reference === 0x9e ? 'never' : reference === 0x9c ? 'always' : 'once', touch: 'never' }
}

const keptOnReset: ReadonlySet<number> = new Set([
  objectTags.chuid,
  objectTags.capabilities,
  objectTags.discovery,
])

function isKeyManagement(reference: number): boolean {
  return reference === 0x9d || (reference >= 0x82 && reference <= 0x95)
}
