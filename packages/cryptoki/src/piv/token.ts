/** A PIV card behind the token port: SP 800-73-4 part 2, read as lazily as the standard allows. */
import {
  type CardChannel,
  type CardConnection,
  CardGoneError,
  copyOf,
  equalBytes,
  MalformedError,
  PinBlockedError,
  PinError,
  PinPadRefusedError,
  sealed,
  StatusError,
  SW,
  toHex,
  type TransmitOptions,
} from '@webtoki/apdu'
import { decodeCertificate, decodeChuid, PivApplet, PivObject, type PivSlot } from '@webtoki/apdu/piv'
import type { Attributes } from '../attributes.ts'
import { decodeX509 } from '../certificate.ts'
import { CKF, CKR, CKU } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { MechanismInfo } from '../mechanisms.ts'
import type { ObjectCache } from '../object-cache.ts'
import { type PinSource, requestPin } from '../pin.ts'
import type { LoginUser, SignRequest, Token, TokenInfo, TokenLoginOptions, TokenObject } from '../token.ts'
import { pivMechanisms } from './mechanisms.ts'
import { allAttributes, knownAttributes, type PivObjectKind, shownSlots } from './objects.ts'
import { prepareSignature } from './signing.ts'

/** SP 800-73-4 part 1, 4.3: six to eight digits. */
const MIN_PIN_BYTES = 6
const MAX_PIN_BYTES = 8

/** From here down a person should take care (CKF_USER_PIN_COUNT_LOW). */
const FEW_TRIES = 2

const FLAGS =
  CKF.LOGIN_REQUIRED |
  CKF.USER_PIN_INITIALIZED |
  CKF.TOKEN_INITIALIZED |
  CKF.WRITE_PROTECTED |
  CKF.DUAL_CRYPTO_OPERATIONS

/** The slot whose certificate names the holder: 9A. */
const authenticationSlot = shownSlots[0] as PivSlot

/** What all tokens of one driver share. */
export interface PivShared {
  readonly cache: ObjectCache
  readonly randomBytes: (bytes: number) => Uint8Array
  /** GUIDs of cards that told few attempts when they were last asked. */
  readonly low: Set<string>
}

class PivTokenObject implements TokenObject {
  readonly known: Attributes
  readonly slot: PivSlot
  readonly #kind: PivObjectKind
  readonly #token: PivToken
  #loaded: Attributes | undefined

  constructor(token: PivToken, slot: PivSlot, kind: PivObjectKind) {
    this.#token = token
    this.slot = slot
    this.#kind = kind
    this.known = sealed(knownAttributes(slot, kind))
    Object.freeze(this)
  }

  async load(options?: TransmitOptions): Promise<Attributes | undefined> {
    if (this.#loaded === undefined) {
      const der = await this.#token.certificate(this.slot, options)
      // That the card has none is remembered by the token.
      const attributes = der && allAttributes(this.slot, this.#kind, der)
      this.#loaded = attributes && sealed(attributes)
    }
    return this.#loaded
  }
}

/** One card for as long as it is connected. Owner of its transactions: what it knows holds while undisturbed. */
export class PivToken implements Token {
  readonly mechanisms: ReadonlyMap<number, MechanismInfo> = pivMechanisms
  readonly #connection: CardConnection
  readonly #shared: PivShared
  readonly #applet: PivApplet
  readonly #identity: CardIdentity
  readonly #objects: readonly PivTokenObject[]
  readonly #certificates = new Map<PivSlot, Uint8Array | undefined>()
  /** False also after the pad refused a PIN entry. */
  #hasPinPad: boolean
  #discovered = false
  #triesAsked = false
  #tellsMetadata = true

  private constructor(
    connection: CardConnection,
    shared: PivShared,
    applet: PivApplet,
    identity: CardIdentity,
    hasPinPad: boolean,
  ) {
    this.#hasPinPad = hasPinPad
    this.#connection = connection
    this.#shared = shared
    this.#applet = applet
    this.#identity = identity
    const kinds = ['certificate', 'public-key', 'private-key'] as const
    this.#objects = Object.freeze(
      shownSlots.flatMap((slot) => kinds.map((kind) => new PivTokenObject(this, slot, kind))),
    )
  }

  /** SELECT and CHUID; undefined where the card has no PIV application. */
  static async open(connection: CardConnection, shared: PivShared): Promise<PivToken | undefined> {
    const applet = new PivApplet()
    return connection.transaction(applet, async (channel) => {
      try {
        await applet.select(channel)
      } catch (error) {
        if (error instanceof StatusError) return undefined
        throw error
      }
      const identity = await identify(applet, channel)
      return new PivToken(connection, shared, applet, identity, channel.pinPad !== undefined)
    })
  }

  get flags(): number {
    return this.#hasPinPad ? FLAGS | CKF.PROTECTED_AUTHENTICATION_PATH : FLAGS
  }

  get mayBeVerified(): boolean {
    return this.#applet.mayBeVerified
  }

  objects(): readonly TokenObject[] {
    return this.#objects
  }

  async describe(options?: TransmitOptions): Promise<TokenInfo> {
    await this.certificate(authenticationSlot, options).catch((error: unknown) => {
      // A card without a name is a card all the same.
      if (!(error instanceof StatusError) && !(error instanceof MalformedError)) throw error
    })
    // An APDU that is saved at most cards: one that may need a warning is asked.
    if (this.#discovered || this.#shared.low.has(this.#identity.guid ?? ''))
      await this.triesLeft(CKU.USER, options)
    return {
      label: this.#label,
      manufacturer: '',
      model: 'PIV',
      serialNumber: this.#identity.guid ?? '',
      flags: this.flags | triesFlags(this.#applet.triesLeft),
      minPinBytes: MIN_PIN_BYTES,
      maxPinBytes: MAX_PIN_BYTES,
    }
  }

  /** The holder's name as far as it has been read. */
  get #label(): string {
    const der = this.#certificates.get(authenticationSlot)
    return (der === undefined ? undefined : commonName(der)) ?? 'PIV card'
  }

  /**
   * A slot's certificate in DER, from memory or cache where that is safe; undefined: the card has none. Rejects where
   * the card will not give it or gives nonsense, and then asks again the next time.
   */
  async certificate(slot: PivSlot, options?: TransmitOptions): Promise<Uint8Array | undefined> {
    if (this.#certificates.has(slot)) return this.#certificates.get(slot)
    const key = this.#cacheKey(slot)
    const cached = key === undefined ? undefined : await this.#cached(key)
    const object = await this.#inTransaction(options, async (channel) => {
      if (cached !== undefined && (await this.#isStillThere(channel, slot, cached, options))) return cached
      return this.#applet.readObject(channel, slot.certificateTag, options)
    })
    const der = object === undefined ? undefined : (await decodeCertificate(object))?.der
    this.#certificates.set(slot, der)
    if (key !== undefined && der !== undefined && object !== cached && object !== undefined) {
      await this.#shared.cache.set(key, copyOf(object)).catch(() => {})
    }
    return der
  }

  /** A copy: what the cache's owner writes into its bytes, after they were compared say, is no certificate. */
  async #cached(key: string): Promise<Uint8Array | undefined> {
    try {
      const object = await this.#shared.cache.get(key)
      return object && copyOf(object)
    } catch {
      return undefined
    }
  }

  /** One APDU: the object's length and first bytes, with the serial number in them, are a fingerprint. Fewer bytes than were asked for are none. */
  async #isStillThere(
    channel: CardChannel,
    slot: PivSlot,
    cached: Uint8Array,
    options: TransmitOptions | undefined,
  ): Promise<boolean> {
    const head = await this.#applet.readObjectHead(channel, slot.certificateTag, options)
    const headBytes = Math.min(256, channel.limits.responseBytes, cached.length)
    return head !== undefined && head.length >= headBytes && equalBytes(head, cached.subarray(0, head.length))
  }

  /** No GUID, no identity: such a card is read anew each time. */
  #cacheKey(slot: PivSlot): string | undefined {
    const { guid } = this.#identity
    return guid === undefined ? undefined : `piv/${guid}/${slot.certificateTag.toString(16)}`
  }

  async triesLeft(user: LoginUser, options?: TransmitOptions): Promise<number | undefined> {
    if (user !== CKU.USER) return undefined
    return this.#inTransaction(options, (channel) => this.#learnTries(channel, options))
  }

  /** Asks the card only if nobody knows: discovery once a connection, VERIFY without data once between two changes. */
  async #learnTries(channel: CardChannel, options: TransmitOptions | undefined): Promise<number | undefined> {
    if (!this.#discovered) {
      await this.#readDiscovery(channel, options)
      this.#discovered = true
    }
    if (!this.#triesAsked) {
      const mayBeOurs = this.#applet.mayBeVerified
      const status = await this.#applet.pinStatus(channel, options)
      // Somebody else's login hides the counter; it is none of ours, and ends. Behind our own the counter is full.
      if (status.verified && !mayBeOurs && (await this.#applet.logout(channel, options))) {
        await this.#applet.pinStatus(channel, options)
      }
      this.#triesAsked = true
      // A verified PIN hides its counter: one attempt is all that this card ever told, and its maker may have a command for more.
      if (this.#applet.isVerified && this.#applet.triesLeft === 1 && this.#tellsMetadata)
        this.#tellsMetadata = await this.#askMetadata(channel, options)
    }
    this.#noteTries()
    return this.#applet.triesLeft
  }

  #noteTries(): void {
    const { triesLeft } = this.#applet
    const { guid } = this.#identity
    if (guid === undefined || triesLeft === undefined) return
    if (triesLeft > FEW_TRIES) this.#shared.low.delete(guid)
    else this.#shared.low.add(guid)
  }

  async #askMetadata(channel: CardChannel, options: TransmitOptions | undefined): Promise<boolean> {
    try {
      return await this.#applet.askMetadata(channel, options)
    } catch (error) {
      // Another maker's command may go by that number.
      if (error instanceof MalformedError) return false
      throw error
    }
  }

  async #readDiscovery(channel: CardChannel, options: TransmitOptions | undefined): Promise<void> {
    try {
      await this.#applet.readDiscovery(channel, options)
    } catch (error) {
      // Without it, or where it is nonsense, the PIN is the application's own.
      if (!(error instanceof StatusError) && !(error instanceof MalformedError)) throw error
    }
  }

  async login(user: LoginUser, pin: PinSource, options: TokenLoginOptions = {}): Promise<void> {
    if (user !== CKU.USER) throw new CryptokiError(CKR.USER_TYPE_INVALID)
    await this.#verified('user', pin, options, async () => {})
  }

  /** Tries first, then the person, then VERIFY and what it is for, with nothing between. */
  async #verified<T>(
    user: 'user' | 'context',
    source: PinSource,
    options: TokenLoginOptions,
    work: (channel: CardChannel) => Promise<T>,
  ): Promise<T> {
    const triesLeft = await this.triesLeft(CKU.USER, options)
    if (triesLeft === 0) throw new PinBlockedError()
    if (this.#hasPinPad) {
      try {
        return await this.#verifiedOnPad(user, source, triesLeft, options, work)
      } catch (error) {
        if (!(error instanceof PinPadRefusedError)) throw error
        // Nobody has typed, and the card has got nothing: the same login goes on in the page.
        this.#hasPinPad = false
      }
    }
    options.onAwaitPin?.()
    // The person may take a minute: nobody holds the card meanwhile.
    const answer = await requestPin(source, {
      user,
      label: this.#label,
      triesLeft,
      minBytes: MIN_PIN_BYTES,
      maxBytes: MAX_PIN_BYTES,
      signal: options.signal,
    })
    try {
      return await this.#inTransaction(options, async (channel) => {
        await this.#beforeVerify(channel, options)
        const { acceptLastTry } = answer
        await this.#afterVerify(
          this.#applet.verifyPin(channel, answer.pin, {
            ...transmitOptionsOf(options),
            ...(acceptLastTry === undefined ? {} : { acceptLastTry }),
          }),
        )
        return work(channel)
      })
    } finally {
      answer.pin.fill(0)
    }
  }

  /** The reader asks; the page is asked only whether the last try may be spent. */
  async #verifiedOnPad<T>(
    user: 'user' | 'context',
    source: PinSource,
    triesLeft: number | undefined,
    options: TokenLoginOptions,
    work: (channel: CardChannel) => Promise<T>,
  ): Promise<T> {
    let acceptLastTry: true | undefined
    if (triesLeft === 1) {
      options.onAwaitPin?.()
      const need = { user, label: this.#label, triesLeft, minBytes: 0, maxBytes: 0, signal: options.signal }
      const answer = await requestPin(source, { ...need, pinPad: true })
      answer.pin.fill(0)
      acceptLastTry = answer.acceptLastTry
    }
    return this.#inTransaction(options, async (channel) => {
      await this.#beforeVerify(channel, options)
      const { pinPad } = channel
      if (pinPad === undefined) throw new CryptokiError(CKR.DEVICE_ERROR, { detail: 'the PIN pad has gone' })
      await this.#afterVerify(
        this.#applet.verifyPinOnPad(pinPad, {
          ...transmitOptionsOf(options),
          ...(acceptLastTry === undefined ? {} : { acceptLastTry }),
        }),
      )
      return work(channel)
    })
  }

  /** The person took a minute: at a reader that would not notice, another card may lie there now. No PIN is for that one. */
  async #beforeVerify(channel: CardChannel, options: TokenLoginOptions): Promise<void> {
    // The same card may have been elsewhere meanwhile.
    if (!channel.vouchesForCard) this.#triesAsked = false
    await this.#learnTries(channel, options)
    if (channel.vouchesForCard) return
    const { fingerprint } = await identify(this.#applet, channel, transmitOptionsOf(options))
    if (fingerprint === undefined || fingerprint !== this.#identity.fingerprint)
      throw new CardGoneError('replaced')
  }

  /** A VERIFY whose answer says neither right nor wrong may have cost a try: the card is asked before the next one. */
  async #afterVerify(verify: Promise<void>): Promise<void> {
    try {
      await verify
      if (this.#applet.triesLeft === 1 && this.#tellsMetadata) this.#triesAsked = false
    } catch (error) {
      if (!(error instanceof PinError)) this.#triesAsked = false
      throw error
    } finally {
      this.#noteTries()
    }
  }

  async logout(options?: TransmitOptions): Promise<void> {
    await this.#inTransaction(options, async (channel) => {
      this.#triesAsked = false
      if (await this.#applet.logout(channel, options)) return
      // Cards before SP 800-73-4 cannot forget a PIN on request.
      await channel.reset('warm')
      this.#applet.forget()
    })
  }

  async sign(request: SignRequest, options: TokenLoginOptions = {}): Promise<Uint8Array> {
    const { object, contextPin, logIn } = request
    if (!(object instanceof PivTokenObject)) throw new CryptokiError(CKR.KEY_HANDLE_INVALID)
    const attributes = await object.load(options)
    if (attributes === undefined) throw new CryptokiError(CKR.KEY_HANDLE_INVALID)
    const signature = await prepareSignature(request, attributes, this.#shared.randomBytes)
    await logIn?.()
    const authenticate = (channel: CardChannel): Promise<Uint8Array> =>
      this.#applet.generalAuthenticate(
        channel,
        signature.algorithm,
        object.slot.key,
        { tag: 0x81, value: signature.challenge },
        transmitOptionsOf(options),
      )
    try {
      const answer =
        contextPin === undefined
          ? await this.#inTransaction(options, async (channel, selectedAnew) => {
              if (selectedAnew && object.slot.pin === 'once') await this.#checkStillVerified(channel, options)
              return authenticate(channel)
            })
          : await this.#verified('context', contextPin, options, authenticate)
      return signature.finish(answer)
    } catch (error) {
      if (error instanceof StatusError && error.sw === SW.SECURITY_STATUS_NOT_SATISFIED) {
        throw new CryptokiError(CKR.USER_NOT_LOGGED_IN, { cause: error })
      }
      throw error
    }
  }

  /** Another owner was at the card: what it knows of the PIN may be gone. */
  async #checkStillVerified(channel: CardChannel, options: TransmitOptions): Promise<void> {
    await this.#applet.pinStatus(channel, transmitOptionsOf(options))
    // Where the card does not say, the use of the key will.
    if (!this.#applet.mayBeVerified) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
  }

  #inTransaction<T>(
    options: TransmitOptions | undefined,
    work: (channel: CardChannel, selectedAnew: boolean) => Promise<T>,
  ): Promise<T> {
    return this.#connection.transaction(
      this.#applet,
      async (channel) => {
        const selectedAnew = await this.#applet.ensureSelected(channel, transmitOptionsOf(options))
        if (selectedAnew) this.#triesAsked = false
        return work(channel, selectedAnew)
      },
      transmitOptionsOf(options),
    )
  }
}

/** By what a card is known again. */
interface CardIdentity {
  /** Its CHUID as it stands, in hex, or that it has none or keeps it; undefined: it cannot be known again. */
  readonly fingerprint: string | undefined
  /** GUID of the CHUID, in hex; undefined: there is none that identifies a card. */
  readonly guid: string | undefined
}

/** One APDU. A CHUID that cannot be read, or lies, is no reason to refuse the card. */
async function identify(
  applet: PivApplet,
  channel: CardChannel,
  options?: TransmitOptions,
): Promise<CardIdentity> {
  let fingerprint: string | undefined
  let guid: Uint8Array | undefined
  try {
    const object = await applet.readObject(channel, PivObject.CHUID, options)
    fingerprint = object === undefined ? 'none' : toHex(object)
    if (object !== undefined) ({ guid } = decodeChuid(object))
  } catch (error) {
    // A card on which nothing is selected refuses otherwise, and is none that could be known again.
    if (error instanceof StatusError && error.sw === SW.SECURITY_STATUS_NOT_SATISFIED) fingerprint = 'kept'
    else if (!(error instanceof StatusError || error instanceof MalformedError)) throw error
  }
  return { fingerprint, guid: guid && toHex(guid) }
}

function commonName(der: Uint8Array): string | undefined {
  try {
    return decodeX509(der).subjectCommonName
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}

function triesFlags(triesLeft: number | undefined): number {
  if (triesLeft === undefined || triesLeft > FEW_TRIES) return 0
  if (triesLeft === 0) return CKF.USER_PIN_LOCKED
  return triesLeft === 1 ? CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY : CKF.USER_PIN_COUNT_LOW
}

function transmitOptionsOf(options: TokenLoginOptions | undefined): TransmitOptions {
  if (options === undefined) return {}
  const { onAwaitPin: _, ...rest } = options
  return rest
}
