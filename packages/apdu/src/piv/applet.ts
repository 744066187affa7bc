/** The PIV card application's commands, SP 800-73-4 part 2 clause 3, over the channel of a transaction. */
import { concatBytes, copyOf } from '../bytes.ts'
import { decodeResponse, type ResponseApdu } from '../command.ts'
import {
  LastTryError,
  MalformedError,
  PinBlockedError,
  PinError,
  PinPadCancelledError,
  PinPadRefusedError,
  PinPadTimeoutError,
  StatusError,
} from '../errors.ts'
import { type ExchangeOptions, exchange, expectOk, type NamedCommand } from '../exchange.ts'
import type { CardChannel, PinPad, PinTemplate, TransmitOptions } from '../ports.ts'
import { describeStatus, SW, triesLeftFromStatus } from '../status-words.ts'
import { encodeTlv, findTlv, decodeTlv } from '../tlv.ts'
import { PivObject, PivReference, pivAid } from './constants.ts'
import {
  decodeCertificate,
  decodeChuid,
  decodeDiscovery,
  type PivCertificate,
  type PivChuid,
  type PivDiscovery,
} from './objects.ts'
import type { PivSlot } from './constants.ts'

/** What is known of the PIN and its attempts. */
interface PinKnowledge {
  readonly verified: boolean
  readonly mayBeVerified: boolean
  /** As the card told since it was last selected; undefined: it has not. */
  readonly triesTold: number | undefined
  /** No fewer can be left, by all that the card ever told; undefined: it told nothing. */
  readonly fewestTries: number | undefined
}

/** What VERIFY without data tells. */
export interface PinStatus {
  readonly verified: boolean
  /** Tries left; undefined while verified, and on cards that do not tell. */
  readonly triesLeft: number | undefined
}

/** Options of VERIFY. */
export interface VerifyOptions extends TransmitOptions {
  /** The person said that the last try may be spent. */
  readonly acceptLastTry?: boolean
}

/** The dynamic authentication template's request: a challenge to sign or decrypt (81), or a peer's point (85). */
export interface AuthenticateInput {
  readonly tag: 0x81 | 0x85
  readonly value: Uint8Array
}

/** More than any key's result or certificate; the exchange asks for what the channel can take of it. */
const ALL_BYTES = 65536
const PIN_BYTES = 8
/** In metadata: two bytes, all attempts and those that are left. */
const METADATA_TRIES = 0x06
/** What others write into the exported one is not selected. */
const aid = /* @__PURE__ */ copyOf(pivAid)
/** SP 800-73-4 part 1, 4.3. */
const MIN_PIN_DIGITS = 6

/**
 * One card's PIV application, for as long as its connection lives. It remembers what it learned (selection, PIN
 * reference, tries), and forgets it in `ensureSelected` when somebody else was at the card. Each method sends exactly
 * the command that it names.
 */
export class PivApplet {
  #selectedOn: CardChannel | undefined
  #undisturbedWhenSelected = false
  #pinReference: number = PivReference.APPLICATION_PIN
  #mostTries = 0
  #pin: PinKnowledge = {
    verified: false,
    mayBeVerified: false,
    triesTold: undefined,
    fewestTries: undefined,
  }

  /** Whether the PIN counts as verified, as far as this object knows. */
  get isVerified(): boolean {
    return this.#pin.verified
  }

  /** Whether the card may hold a verified PIN of ours: from before VERIFY is sent until something says that it does not. */
  get mayBeVerified(): boolean {
    return this.#pin.mayBeVerified
  }

  /**
   * Attempts left as last told in this undisturbed stretch. If nothing was told since then, 1 for a card that may be
   * down to one; undefined: not known.
   */
  get triesLeft(): number | undefined {
    const { triesTold, fewestTries } = this.#pin
    return triesTold ?? (fewestTries === 1 ? 1 : undefined)
  }

  /** Reference of the PIN that VERIFY uses: 80 unless discovery said 00. */
  get pinReference(): number {
    return this.#pinReference
  }

  /** Forgets selection, tries and verified state: the card was reset, and has forgotten them too. */
  forget(): void {
    this.#forgetSelection()
    this.#knows({ mayBeVerified: false })
  }

  #knows(news: Partial<PinKnowledge>): void {
    this.#pin = { ...this.#pin, ...news }
  }

  /** SELECT of the same application leaves the card's security status as it is. */
  #forgetSelection(): void {
    this.#selectedOn = undefined
    this.#knows({ verified: false, triesTold: undefined })
  }

  /** Selects only where the card may have lost it; to be called first in each transaction. True: selected anew. */
  async ensureSelected(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    if (this.#selectedOn !== undefined && this.#holdsOn(channel)) {
      this.#selectedOn = channel
      this.#undisturbedWhenSelected = channel.undisturbed
      return false
    }
    await this.select(channel, options)
    return true
  }

  /** SELECT by AID. Throws StatusError, with 6A82 where the card has no PIV application. */
  async select(channel: CardChannel, options?: TransmitOptions): Promise<Uint8Array> {
    this.#forgetSelection()
    const command = { name: 'SELECT PIV', cla: 0, ins: 0xa4, p1: 4, p2: 0, data: aid, responseBytes: 256 }
    const template = expectOk(await exchange(channel, command, options), command.name)
    this.#selectedOn = channel
    this.#undisturbedWhenSelected = channel.undisturbed
    return template
  }

  /** Reads the discovery object and takes over its PIN reference; undefined where the card has none. */
  async readDiscovery(channel: CardChannel, options?: TransmitOptions): Promise<PivDiscovery | undefined> {
    const object = await this.readObject(channel, PivObject.DISCOVERY, options)
    const discovery = object === undefined || object.length === 0 ? undefined : decodeDiscovery(object)
    const reference = discovery?.pinReference ?? PivReference.APPLICATION_PIN
    if (reference !== this.#pinReference) this.#forgetTries()
    this.#pinReference = reference
    return discovery
  }

  /** Reads the CHUID; undefined where the card has none. */
  async readChuid(channel: CardChannel, options?: TransmitOptions): Promise<PivChuid | undefined> {
    const object = await this.readObject(channel, PivObject.CHUID, options)
    return object === undefined ? undefined : decodeChuid(object)
  }

  /** Reads a slot's certificate; undefined where there is none. */
  async readCertificate(
    channel: CardChannel,
    slot: PivSlot,
    options?: TransmitOptions,
  ): Promise<PivCertificate | undefined> {
    const object = await this.readObject(channel, slot.certificateTag, options)
    return object === undefined ? undefined : decodeCertificate(object)
  }

  /** GET DATA, whole; undefined where the card has no such object. */
  async readObject(
    channel: CardChannel,
    tag: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    return presentData(await exchange(channel, getData(tag, ALL_BYTES), options))
  }

  /** The first 256 bytes at most of an object, in one APDU, the rest left on the card; undefined where it is absent. */
  async readObjectHead(
    channel: CardChannel,
    tag: number,
    options?: TransmitOptions,
  ): Promise<Uint8Array | undefined> {
    const response = await exchange(channel, getData(tag, 256), { ...options, follow: false })
    if (response.sw >> 8 === 0x61) return response.data
    return presentData(response)
  }

  /** VERIFY without data: spends no try. Not between VERIFY and the signature of a PIN-always key. */
  async pinStatus(channel: CardChannel, options?: TransmitOptions): Promise<PinStatus> {
    const { sw } = await exchange(channel, this.#verifyCommand(0), options)
    const verified = sw === SW.OK
    const triesLeft = triesTold(sw)
    // Cards that refuse VERIFY without data tell nothing: no reason to fail, nor to believe that a PIN of ours is gone.
    const mayBeVerified = verified || (triesLeft === undefined && this.#pin.mayBeVerified)
    this.#knows({ verified, mayBeVerified })
    if (verified) this.#learnFull()
    else if (triesLeft !== undefined) this.#learnTries(triesLeft)
    return { verified, triesLeft }
  }

  /** Tries left of the PIN, asked from the card; undefined while verified, and on cards that do not tell. */
  async pinTriesLeft(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    return (await this.pinStatus(channel, options)).triesLeft
  }

  /**
   * GET METADATA of the PIN (Yubico, firmware 5.3 and later): the attempts left, told also while it is verified. False:
   * the card does not tell.
   */
  async askMetadata(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    const command = {
      name: 'GET METADATA',
      cla: 0,
      ins: 0xf7,
      p1: 0,
      p2: this.#pinReference,
      responseBytes: 256,
    }
    const { sw, data } = await exchange(channel, command, options)
    const [, triesLeft] = (sw === SW.OK && findTlv(data, METADATA_TRIES)) || []
    if (triesLeft === undefined) return false
    this.#learnTries(triesLeft)
    return true
  }

  /**
   * Sends VERIFY exactly once. `pin` (1 to 8 bytes) is overwritten in every outcome. Throws PinError, PinBlockedError;
   * LastTryError and RangeError before anything is sent.
   */
  async verifyPin(channel: CardChannel, pin: Uint8Array, options: VerifyOptions = {}): Promise<void> {
    const block = new Uint8Array(PIN_BYTES).fill(0xff)
    try {
      if (pin.length < 1 || pin.length > PIN_BYTES) throw new RangeError('A PIV PIN has 1 to 8 bytes.')
      this.#checkTries(options)
      block.set(pin)
      pin.fill(0)
      await this.#sendVerify(channel, block, options)
    } finally {
      pin.fill(0)
      block.fill(0)
    }
  }

  #checkTries({ acceptLastTry }: VerifyOptions): void {
    if (this.triesLeft === 0) throw new PinBlockedError()
    if (this.triesLeft === 1 && acceptLastTry !== true) throw new LastTryError()
  }

  /**
   * The same with a PIN that the person types on the reader, which alone sees it. Rejects also with
   * PinPadCancelledError, PinPadTimeoutError and PinPadRefusedError: then no try was spent.
   */
  async verifyPinOnPad(pad: PinPad, options: VerifyOptions = {}): Promise<void> {
    this.#checkTries(options)
    const { acceptLastTry: _, ...rest } = options
    const { cla, ins, p1, p2 } = this.#verifyCommand(0)
    const block = new Uint8Array(PIN_BYTES).fill(0xff)
    const template: PinTemplate = {
      command: Uint8Array.of(cla, ins, p1, p2, PIN_BYTES, ...block),
      pinOffset: 0,
      blockBytes: PIN_BYTES,
      format: 'ascii',
      minDigits: MIN_PIN_DIGITS,
      maxDigits: PIN_BYTES,
    }
    const before = this.#verifyBegins()
    try {
      const { sw } = decodeResponse(await pad.verify(template, rest))
      this.#verifyAnswered(sw, before.triesTold)
    } catch (error) {
      if (isWithoutVerify(error)) this.#pin = before
      throw error
    }
  }

  /** Takes the verified state back (VERIFY with P1 FF). False: the card cannot; the caller resets it, then calls `forget`. */
  async logout(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    const { sw } = await exchange(channel, this.#verifyCommand(0xff), options)
    if (sw !== SW.OK) return false
    // The card tells its attempts again now, and knows best: others may share its PIN.
    this.#knows({ verified: false, mayBeVerified: false, triesTold: undefined })
    return true
  }

  /** GENERAL AUTHENTICATE with a private key; resolves to what stands in 82: RSA block, DER signature or shared secret. */
  async generalAuthenticate(
    channel: CardChannel,
    algorithm: number,
    key: number,
    input: AuthenticateInput,
    options?: TransmitOptions,
  ): Promise<Uint8Array> {
    const command = {
      name: 'GENERAL AUTHENTICATE',
      cla: 0,
      ins: 0x87,
      p1: algorithm,
      p2: key,
      data: encodeTlv(0x7c, encodeTlv(0x82), encodeTlv(input.tag, input.value)),
      responseBytes: ALL_BYTES,
    }
    const template = decodeTlv(expectOk(await exchange(channel, command, options), command.name))
    const result = template.tag === 0x7c ? findTlv(template.value, 0x82) : undefined
    if (result === undefined || result.length === 0) {
      throw new MalformedError('answer to GENERAL AUTHENTICATE', 'no result in 7C')
    }
    return result
  }

  async #sendVerify(channel: CardChannel, block: Uint8Array, options: VerifyOptions): Promise<void> {
    const before = this.#verifyBegins()
    const { acceptLastTry: _, ...rest } = options
    const transmitOptions: ExchangeOptions = { ...rest, sensitive: true }
    const { sw } = await exchange(channel, { ...this.#verifyCommand(0), data: block }, transmitOptions)
    this.#verifyAnswered(sw, before.triesTold)
  }

  /** Until the card has answered, nobody knows whether the PIN was right. Returns what was known before. */
  #verifyBegins(): PinKnowledge {
    const before = this.#pin
    const { fewestTries } = before
    this.#pin = {
      verified: false,
      mayBeVerified: true,
      triesTold: undefined,
      fewestTries: fewestTries && Math.max(1, fewestTries - 1),
    }
    return before
  }

  #verifyAnswered(sw: number, triesBefore: number | undefined): void {
    if (sw === SW.OK) {
      this.#knows({ verified: true })
      this.#learnFull()
      return
    }
    // 6300 says wrong, and not how many are left.
    const wrongUncounted = sw === SW.WARNING && triesBefore !== undefined
    const triesLeft = wrongUncounted ? triesBefore - 1 : triesTold(sw)
    if (triesLeft === undefined) throw new StatusError('VERIFY', sw, describeStatus(sw))
    // A wrong PIN takes the verified state away (SP 800-73-4 part 2, 3.2.1).
    this.#knows({ mayBeVerified: false })
    this.#learnTries(triesLeft)
    if (triesLeft === 0) throw new PinBlockedError()
    throw new PinError(triesLeft)
  }

  #learnTries(triesLeft: number): void {
    this.#knows({ triesTold: triesLeft, fewestTries: triesLeft })
    this.#mostTries = Math.max(this.#mostTries, triesLeft)
  }

  /** At a verified PIN the counter stands at its maximum, which is no less than the most it ever told. */
  #learnFull(): void {
    if (this.#mostTries > 0) this.#learnTries(this.#mostTries)
  }

  /** Another PIN has other attempts. */
  #forgetTries(): void {
    this.#knows({ triesTold: undefined, fewestTries: undefined })
    this.#mostTries = 0
  }

  #verifyCommand(p1: 0 | 0xff): NamedCommand {
    return { name: 'VERIFY', cla: 0, ins: 0x20, p1, p2: this.#pinReference }
  }

  /** A channel whose transaction began disturbed may still be ours: if it was already so when we selected on it. */
  #holdsOn(channel: CardChannel): boolean {
    if (channel.undisturbed) return true
    return channel === this.#selectedOn && !this.#undisturbedWhenSelected
  }
}

/** The PIN pad sent nothing to the card. */
function isWithoutVerify(error: unknown): boolean {
  return (
    error instanceof PinPadCancelledError ||
    error instanceof PinPadTimeoutError ||
    error instanceof PinPadRefusedError
  )
}

function getData(tag: number, responseBytes: number): NamedCommand {
  const tagBytes =
    tag > 0xffff ? [tag >> 16, (tag >> 8) & 0xff, tag & 0xff] : tag > 0xff ? [tag >> 8, tag & 0xff] : [tag]
  const data = concatBytes([0x5c, tagBytes.length], tagBytes)
  return { name: 'GET DATA', cla: 0, ins: 0xcb, p1: 0x3f, p2: 0xff, data, responseBytes }
}

/** Absent objects answer 6A82, on some cards 6A88. */
function presentData(response: ResponseApdu): Uint8Array | undefined {
  if (response.sw === SW.NOT_FOUND || response.sw === SW.REFERENCED_DATA_NOT_FOUND) return undefined
  return expectOk(response, 'GET DATA')
}

/** 63Cx; 6983; and 630x, as PIV cards before SP 800-73-3 tell it (x = 0 is not a count there). */
function triesTold(sw: number): number | undefined {
  if (sw === SW.AUTHENTICATION_BLOCKED) return 0
  const oldCount = (sw & 0xfff0) === 0x6300 && sw !== SW.WARNING ? sw & 0x0f : undefined
  return triesLeftFromStatus(sw) ?? oldCount
}
