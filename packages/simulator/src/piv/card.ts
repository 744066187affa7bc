/** A PIV card that keeps state, as NIST SP 800-73-4 part 2 describes its command interface. */
import type { CardLogEntry, VirtualCard } from '../card.ts'
import { copyOf, join, platformRandom, type RandomSource, sameBytes, toInteger } from '../bytes.ts'
import { answerToReset } from './answer-to-reset.ts'
import { type CommandApdu, readCommand } from './command.ts'
import {
  agreeWith,
  generatePivKey,
  type PivKey,
  pivEcKey,
  pivRsaKey,
  publicKeyTemplate,
  rsaModulusBits,
  signWith,
  subjectPublicKeyInfo,
} from './keys.ts'
import { fitsManagementKey, ManagementDialogue, type ManagementKey } from './management-key.ts'
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
import { defaultGuid, defaultManagementKey, demoIdentity, type PivCardOptions } from './options.ts'
import { isPinFormat, pinBlock, ReferenceData } from './reference-data.ts'
import { readObjects, tlv } from './tlv.ts'

/** What a command comes to: data and status word. */
interface Answer {
  readonly data: Uint8Array
  readonly sw: number
}

const nothing = new Uint8Array(0)
const status = (sw: number): Answer => ({ data: nothing, sw })
const ok = (data: Uint8Array = nothing): Answer => ({ data, sw: 0x9000 })
const slotNames = Object.keys(pivSlots) as readonly PivSlot[]
/** More than any object or key needs: a chain that goes on beyond it is refused. */
const maxChainedBytes = 0x8000
const ins = {
  verify: 0x20,
  changeReferenceData: 0x24,
  resetRetryCounter: 0x2c,
  generateKey: 0x47,
  generalAuthenticate: 0x87,
  select: 0xa4,
  getResponse: 0xc0,
  getData: 0xcb,
  putData: 0xdb,
  reset: 0xfb,
  importKey: 0xfe,
  setManagementKey: 0xff,
  getMetadata: 0xf7,
} as const

/** A virtual PIV card. Commands run one after the other in the order of `process` calls. */
export class PivCard implements VirtualCard {
  readonly atr: Uint8Array
  readonly maxCommandBytes: number
  /** Every command APDU that reached the card, parts of a chain and GET RESPONSE included, in order. */
  readonly log: CardLogEntry[] = []

  readonly #options: PivCardOptions
  readonly #random: RandomSource
  // What survives a reset.
  #pin: ReferenceData
  #puk: ReferenceData
  #managementKey: ManagementKey
  readonly #keys = new Map<number, PivKey>()
  readonly #objects = new Map<number, Uint8Array>()
  readonly #certificates = new Map<PivSlot, Uint8Array>()
  readonly #unreadable = new Set<number>()
  // What a reset takes away.
  #selected = false
  #pinVerified = false
  /** The command before this one was a successful VERIFY: what a PIN-always key asks for. */
  #pinFresh = false
  #managementOpen = false
  #dialogue: ManagementDialogue | undefined
  #chain: { readonly header: number; data: Uint8Array } | undefined
  #rest: Uint8Array = nothing
  #power = 0
  #turn: Promise<unknown>

  constructor(options: PivCardOptions = {}) {
    this.#options = options
    this.#selected = options.isDefaultSelected ?? false
    this.#random = options.random ?? platformRandom
    const extended = options.extendedLength ?? true
    this.atr = answerToReset(options.protocols ?? 'T=1', extended)
    this.maxCommandBytes = extended ? 65544 : 261
    this.#managementKey = options.managementKey ?? defaultManagementKey
    if (!fitsManagementKey(this.#managementKey))
      throw new RangeError('The management key does not fit its algorithm.')
    this.#pin = new ReferenceData(pinBlock(options.pin ?? '123456'), options.pinTries ?? 3)
    this.#puk = new ReferenceData(pinBlock(options.puk ?? '12345678'), options.pukTries ?? 3)
    const guid = options.guid ?? defaultGuid
    this.#objects.set(objectTags.chuid, chuid(guid))
    this.#objects.set(objectTags.capabilities, capabilities(guid))
    if (options.discovery ?? true) {
      this.#objects.set(objectTags.discovery, discovery(options.pinUsagePolicy ?? 0x4000))
    }
    this.#turn = this.#personalise()
  }

  /** Tries that the PIN has left. */
  get pinTriesLeft(): number {
    return this.#pin.triesLeft
  }

  /** Tries that the PUK has left. */
  get pukTriesLeft(): number {
    return this.#puk.triesLeft
  }

  /** Whether the PIN stands verified now: what a real logout takes back. */
  get pinVerified(): boolean {
    return this.#pinVerified
  }

  /** The GUID in the CHUID as it is now; undefined where the CHUID was overwritten with something else. */
  get guid(): Uint8Array | undefined {
    return guidOf(this.#objects.get(objectTags.chuid) ?? nothing)
  }

  /** Public key of a slot as SubjectPublicKeyInfo (DER), for judges; undefined where there is no key. */
  publicKeyOf(slot: PivSlot): Uint8Array | undefined {
    const key = this.#keys.get(pivSlots[slot].reference)
    return key && subjectPublicKeyInfo(key)
  }

  /** Certificate of a slot (DER, uncompressed); undefined where there is none. */
  certificateOf(slot: PivSlot): Uint8Array | undefined {
    const certificate = this.#certificates.get(slot)
    return certificate && copyOf(certificate)
  }

  reset(_kind: 'cold' | 'warm'): void {
    this.powerOff()
  }

  powerOff(): void {
    this.#power += 1
    this.#selected = this.#options.isDefaultSelected ?? false
    this.#forgetSecurity()
    this.#chain = undefined
    this.#rest = nothing
  }

  process(command: Uint8Array): Promise<Uint8Array> {
    const bytes = copyOf(command)
    const power = this.#power
    const answer = this.#turn.then(async () => {
      // What was sent before the power went away has no one to answer to and must change nothing.
      if (power !== this.#power) return Uint8Array.of(0x6f, 0x00)
      return this.#execute(bytes)
    })
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  async #personalise(): Promise<void> {
    const { gzipCertificate = false, absentKeys = [], absentCertificates = [] } = this.#options
    const compressed: Promise<void>[] = []
    for (const slot of slotNames) {
      const { reference, certificateTag } = pivSlots[slot]
      if (this.#options.unreadableCertificates?.includes(slot)) this.#unreadable.add(certificateTag)
      if (absentKeys.includes(slot)) continue
      const { key, certificate: demo } = demoIdentity(slot, this.#options.nineA ?? 'rsa2048')
      const certificate = this.#options.certificates?.[slot] ?? demo
      this.#keys.set(reference, key)
      if (absentCertificates.includes(slot)) continue
      this.#certificates.set(slot, certificate)
      const small = typeof gzipCertificate === 'boolean' ? gzipCertificate : gzipCertificate.includes(slot)
      if (!small) this.#objects.set(certificateTag, certificateObject(certificate, false))
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

  async #execute(bytes: Uint8Array): Promise<Uint8Array> {
    const command = readCommand(bytes)
    const power = this.#power
    let answer: Answer
    if (command === undefined || (command.extended && this.#options.extendedLength === false)) {
      this.#pinFresh = false
      this.#chain = undefined
      this.#rest = nothing
      answer = status(0x6700)
    } else {
      answer = await this.#take(command).catch(() => status(0x6f00))
    }
    // The power went away while a key was being made.
    if (power !== this.#power) answer = status(0x6f00)
    const [cla = 0, instruction = 0, p1 = 0, p2 = 0] = bytes
    this.log.push({ cla, ins: instruction, p1, p2, dataBytes: command?.data.length ?? 0, sw: answer.sw })
    return join(answer.data, answer.sw >> 8, answer.sw & 0xff)
  }

  /** Chaining in both directions; what remains is one whole command for `#run`. */
  async #take(command: CommandApdu): Promise<Answer> {
    const { cla, data } = command
    if (command.ins === ins.getResponse && cla === 0) {
      this.#pinFresh = false
      this.#chain = undefined
      return this.#getResponse(command)
    }
    this.#rest = nothing
    const header = (command.ins << 16) | (command.p1 << 8) | command.p2
    const known = cla === 0x00 || cla === 0x10
    // A part with another header, and a command of another class, end a chain that was never finished.
    const begun = known && this.#chain?.header === header ? this.#chain.data : nothing
    this.#chain = undefined
    if (!known) {
      this.#pinFresh = false
      if ((cla & 0xe0) === 0 && (cla & 0x03) !== 0) return status(0x6881)
      if ((cla & 0xe0) === 0 && (cla & 0x0c) !== 0) return status(0x6882)
      return status(0x6e00)
    }
    const whole = join(begun, data)
    if (whole.length > maxChainedBytes) {
      this.#pinFresh = false
      return status(0x6a84)
    }
    if (cla === 0x10) {
      // Parts of one signature command stand together; a chain of anything else parts VERIFY from it.
      if (command.ins !== ins.generalAuthenticate) this.#pinFresh = false
      this.#chain = { header, data: whole }
      return ok()
    }
    const fresh = this.#pinFresh
    this.#pinFresh = false
    const answer = await this.#run({ ...command, data: whole }, fresh)
    return this.#send(answer, command)
  }

  #send({ data, sw }: Answer, { le, extended, ins: instruction }: CommandApdu): Answer {
    if (data.length === 0 || sw !== 0x9000) return { data, sw }
    const repeatable = instruction === ins.getData || instruction === ins.select
    const corrects =
      this.#options.wrongLe === '6Cxx' && repeatable && le !== undefined && le !== 256 && !extended
    if (corrects && data.length !== le && data.length <= 256) return status(0x6c00 | (data.length & 0xff))
    this.#rest = data
    // As cards in the field do: without Le they send what there is (and yubico-piv-tool counts on it).
    return this.#next(le ?? 256)
  }

  #getResponse({ p1, p2, data, le = 256, extended }: CommandApdu): Answer {
    if (p1 !== 0 || p2 !== 0) return status(0x6a86)
    if (data.length > 0) return status(0x6700)
    if (this.#rest.length === 0) return status(0x6985)
    const available = Math.min(this.#rest.length, 256)
    if (this.#options.wrongLe === '6Cxx' && !extended && le !== available)
      return status(0x6c00 | (available & 0xff))
    return this.#next(le)
  }

  #next(length: number): Answer {
    const data = this.#rest.slice(0, length)
    this.#rest = this.#rest.slice(length)
    const left = this.#rest.length
    return { data, sw: left === 0 ? 0x9000 : 0x6100 | (left > 255 ? 0 : left) }
  }

  async #run(command: CommandApdu, fresh: boolean): Promise<Answer> {
    if (command.ins !== ins.generalAuthenticate) this.#dialogue = undefined
    if (command.ins === ins.select) return this.#select(command)
    if (!this.#selected) return status(0x6d00)
    switch (command.ins) {
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

  #select({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0x04 || (p2 !== 0x00 && p2 !== 0x0c)) return status(0x6a86)
    const truncated = data.length >= 5 && data.length <= pivAid.length
    if (!truncated || !sameBytes(data, pivAid.subarray(0, data.length))) return status(0x6a82)
    // Selecting the selected application changes no security status (SP 800-73-4 part 2 §3.1.1).
    this.#selected = true
    return ok(p2 === 0x0c ? nothing : applicationProperties())
  }

  #getData({ p1, p2, data }: CommandApdu): Answer {
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

  #putData({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0x3f || p2 !== 0xff) return status(0x6a86)
    if (!this.#managementOpen) return status(0x6982)
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
      // These two come without a tag list (SP 800-73-4 part 2 §3.3.2).
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

  #verify({ p1, p2, data }: CommandApdu): Answer {
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
    return this.#pinVerified ? ok() : this.#wrong(this.#pin)
  }

  #changeReferenceData({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0x00) return status(0x6a86)
    const reference = p2 === 0x80 ? this.#pin : p2 === 0x81 ? this.#puk : undefined
    if (reference === undefined) return status(0x6a88)
    if (reference.triesLeft === 0) return status(0x6983)
    if (data.length !== 16) return status(0x6a80)
    const fresh = data.subarray(8)
    if (p2 === 0x80 && !(isPinFormat(data.subarray(0, 8)) && isPinFormat(fresh))) return status(0x6a80)
    const comparison = reference.compare(data.subarray(0, 8))
    if (p2 === 0x80) this.#pinVerified = comparison === 'right'
    if (comparison !== 'right') return this.#wrong(reference)
    reference.replace(fresh)
    return ok()
  }

  #resetRetryCounter({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0x00) return status(0x6a86)
    if (p2 !== 0x80) return status(0x6a88)
    if (this.#puk.triesLeft === 0) return status(0x6983)
    if (data.length !== 16 || !isPinFormat(data.subarray(8))) return status(0x6a80)
    if (this.#puk.compare(data.subarray(0, 8)) !== 'right') {
      // A wrong PUK takes the PIN's status too; a right one leaves it as it is (SP 800-73-4 part 2 §3.2.3).
      this.#pinVerified = false
      return this.#wrong(this.#puk)
    }
    this.#pin.replace(data.subarray(8))
    return ok()
  }

  #wrong(reference: ReferenceData): Answer {
    const { triesLeft } = reference
    if (triesLeft === 0 && this.#options.lastWrongPin !== '63C0') return status(0x6983)
    return status(0x63c0 | Math.min(triesLeft, 15))
  }

  #generalAuthenticate({ p1, p2, data }: CommandApdu, fresh: boolean): Answer {
    const dialogue = this.#dialogue
    this.#dialogue = undefined
    const [template, ...more] = readObjects(data) ?? []
    const parts = template?.tag === 0x7c && more.length === 0 ? readObjects(template.value) : undefined
    if (parts === undefined) return status(0x6a80)
    const part = (tag: number): Uint8Array | undefined => parts.find((object) => object.tag === tag)?.value
    if (p2 === 0x9b) return this.#authenticateManagement(p1, part, dialogue)

    const key = this.#keys.get(p2)
    if (key === undefined) return status(0x6a86)
    const input = part(0x81)
    const point = part(0x85)
    if (key.algorithm !== p1 && !this.#sharesRsa(p1, key)) return status(0x6a86)
    const allowed = p2 === 0x9e || (p2 === 0x9c ? this.#pinVerified && fresh : this.#pinVerified)
    if (!allowed) return status(0x6982)
    if (part(0x82)?.length !== 0) return status(0x6a80)
    let output: Uint8Array | undefined
    if (input !== undefined && point === undefined) output = signWith(key, input)
    // Only the key management keys agree on secrets (SP 800-73-4 part 2 table 7).
    else if (point !== undefined && input === undefined && isKeyManagement(p2)) output = agreeWith(key, point)
    return output === undefined ? status(0x6a80) : ok(tlv(0x7c, tlv(0x82, output)))
  }

  // The implementation behind the replayed scenarios asks for an RSA key by any RSA reference; the block's length decides.
  #sharesRsa(algorithm: number, key: PivKey): boolean {
    return (
      this.#options.vendorExtensions === true && key.kind === 'rsa' && rsaModulusBits(algorithm) !== undefined
    )
  }

  #authenticateManagement(
    algorithm: number,
    part: (tag: number) => Uint8Array | undefined,
    dialogue: ManagementDialogue | undefined,
  ): Answer {
    const own = this.#managementKey
    // 00 is an older name of 3DES (SP 800-78-4 table 6-2).
    if ((algorithm === 0x00 ? 0x03 : algorithm) !== own.algorithm) return status(0x6a86)
    const witness = part(0x80)
    const challenge = part(0x81)
    const response = part(0x82)
    const asksWitness = witness?.length === 0 && challenge === undefined
    const asksChallenge = challenge?.length === 0 && witness === undefined
    if (asksWitness || asksChallenge) {
      const next = new ManagementDialogue(own, asksWitness, this.#random)
      this.#dialogue = next
      return ok(tlv(0x7c, tlv(asksWitness ? 0x80 : 0x81, next.question)))
    }
    if (dialogue !== undefined && witness && challenge) {
      const proof = dialogue.answerMutual(witness, challenge)
      if (proof !== undefined) {
        this.#managementOpen = true
        return ok(tlv(0x7c, tlv(0x82, proof)))
      }
    } else if (dialogue !== undefined && response && dialogue.acceptsResponse(response)) {
      this.#managementOpen = true
      return ok()
    }
    this.#managementOpen = false
    return status(0x6a80)
  }

  async #generateKey({ p1, p2, data }: CommandApdu): Promise<Answer> {
    if (p1 !== 0x00) return status(0x6a86)
    if (!this.#managementOpen) return status(0x6982)
    if (!this.#holdsKeys(p2)) return status(0x6a86)
    const [template, ...more] = readObjects(data) ?? []
    const parts = template?.tag === 0xac && more.length === 0 ? readObjects(template.value) : undefined
    const algorithm = parts?.find((object) => object.tag === 0x80)?.value
    const exponent = parts?.find((object) => object.tag === 0x81)?.value
    if (algorithm?.length !== 1 || !this.#supports(algorithm[0] ?? 0)) return status(0x6a80)
    if (exponent !== undefined && toInteger(exponent.subarray(0, 8)) !== 65537n) return status(0x6a80)
    const power = this.#power
    const key = await generatePivKey(algorithm[0] ?? 0, this.#random)
    if (key === undefined || power !== this.#power) return status(0x6f00)
    this.#keys.set(p2, key)
    return ok(publicKeyTemplate(key))
  }

  #holdsKeys(reference: number): boolean {
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

  #setManagementKey({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0xff || (p2 !== 0xff && p2 !== 0xfe)) return status(0x6a86)
    if (!this.#managementOpen) return status(0x6982)
    const [algorithm = 0, reference, length] = data
    const next = { algorithm, key: data.slice(3) }
    if (reference !== 0x9b || length !== next.key.length || !fitsManagementKey(next)) return status(0x6a80)
    this.#managementKey = next
    return ok()
  }

  #importKey({ p1, p2, data }: CommandApdu): Answer {
    if (!this.#managementOpen) return status(0x6982)
    if (!this.#holdsKeys(p2) || !this.#supports(p1)) return status(0x6a86)
    const parts = readObjects(data)
    const part = (tag: number): Uint8Array | undefined => parts?.find((object) => object.tag === tag)?.value
    const [p, q, third, scalar] = [part(0x01), part(0x02), part(0x03), part(0x06)]
    // The third part is the exponent with some senders and a CRT number with others, which has the length of a prime.
    const e = third && third.length <= 4 ? toInteger(third) : 65537n
    const key = p && q ? pivRsaKey(p1, p, q, e) : scalar && pivEcKey(p1, scalar)
    if (key === undefined) return status(0x6a80)
    this.#keys.set(p2, key)
    return ok()
  }

  /** Of PIN and PUK alone: the algorithm FF, and the attempts, all and left (Yubico's manual, "Get metadata"). */
  #getMetadata({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0 || data.length > 0) return status(0x6a86)
    const reference = p2 === 0x80 ? this.#pin : p2 === 0x81 ? this.#puk : undefined
    if (reference === undefined) return status(0x6a88)
    const { maxTries, triesLeft } = reference
    return ok(join(tlv(0x01, Uint8Array.of(0xff)), tlv(0x06, Uint8Array.of(maxTries, triesLeft))))
  }

  /** Back to the factory's state; only where the PIN is blocked, so that nobody does it by mistake. */
  #factoryReset({ p1, p2, data }: CommandApdu): Answer {
    if (p1 !== 0 || p2 !== 0 || data.length > 0) return status(0x6a86)
    if (this.#pin.triesLeft > 0) return status(0x6985)
    this.#pin = new ReferenceData(pinBlock('123456'), this.#options.pinTries ?? 3)
    this.#puk = new ReferenceData(pinBlock('12345678'), this.#options.pukTries ?? 3)
    this.#managementKey = defaultManagementKey
    this.#keys.clear()
    this.#certificates.clear()
    for (const tag of this.#objects.keys()) if (!keptOnReset.has(tag)) this.#objects.delete(tag)
    this.#forgetSecurity()
    return ok()
  }

  #forgetSecurity(): void {
    this.#pinVerified = false
    this.#pinFresh = false
    this.#managementOpen = false
    this.#dialogue = undefined
  }
}

const keptOnReset: ReadonlySet<number> = new Set([
  objectTags.chuid,
  objectTags.capabilities,
  objectTags.discovery,
])

function isKeyManagement(reference: number): boolean {
  return reference === 0x9d || (reference >= 0x82 && reference <= 0x95)
}
