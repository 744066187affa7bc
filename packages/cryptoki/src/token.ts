/** The token port: what the PKCS#11 layer asks of a card's applet. Drivers (PIV, OpenPGP, PKCS#15) stand behind it. */
import type { CardConnection, TransmitOptions } from '@webtoki/apdu'
import type { Attributes } from './attributes.ts'
import type { CKU } from './constants.ts'
import type { Mechanism, MechanismInfo } from './mechanisms.ts'
import type { PinSource } from './pin.ts'

/** Finds its applet on a card. */
export interface TokenDriver {
  readonly name: string
  /** Resolves to undefined where the card has no such applet. Called once an insertion. */
  open(connection: CardConnection): Promise<Token | undefined>
}

/** CK_TOKEN_INFO in our words; null stands for CK_UNAVAILABLE_INFORMATION. */
export interface TokenInfo {
  readonly label: string
  readonly manufacturer: string
  readonly model: string
  readonly serialNumber: string
  /** `Token.flags`, and what is known about the PIN's tries: after a login, or of a card that had few when it was last here. */
  readonly flags: number
  readonly minPinBytes: number
  readonly maxPinBytes: number
}

/** An object of the token. Attributes that cost APDUs (a certificate's value) are read when first asked for. */
export interface TokenObject {
  /** Attributes known without touching the card; with `load` they are all there is. */
  readonly known: Attributes
  /** Reads all attributes, the known ones included; undefined: the card has no such object. Answers from memory after the first time. */
  load(options?: TransmitOptions): Promise<Attributes | undefined>
}

/** Who can log in to a token. */
export type LoginUser = typeof CKU.USER | typeof CKU.SO

/** One signature. */
export interface SignRequest {
  readonly object: TokenObject
  readonly mechanism: Mechanism
  /** The message, or its digest where `digested` is given (a streamed operation hashes on the host). */
  readonly data: Uint8Array
  /** Name of the hash that `data` already is, such as 'SHA-256'; absent: `data` goes in as the mechanism takes it. */
  readonly digested?: 'SHA-1' | 'SHA-224' | 'SHA-256' | 'SHA-384' | 'SHA-512'
  /** Where the PIN of an always-authenticate key comes from; asked without holding the card. */
  readonly contextPin?: PinSource
  /** Called once, when all that can be known without the card has been found good: nobody is asked for a PIN in vain. */
  readonly logIn?: () => Promise<void>
}

/** What a login tells while it runs. */
export interface TokenLoginOptions extends TransmitOptions {
  /** The person is asked now. */
  readonly onAwaitPin?: () => void
}

/** One encryption or decryption. */
export interface CipherRequest {
  readonly object: TokenObject
  readonly mechanism: Mechanism
}

/** An encryption or decryption under way: what goes in comes out changed, in pieces of the token's own choice. */
export interface TokenCipher {
  update(chunk: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  final(options?: TransmitOptions): Promise<Uint8Array>
}

/** A card’s applet as PKCS#11 sees it. */
export interface Token {
  /**
   * Capabilities that stay as they are while the token is inserted: CKF_* as one number. Only
   * CKF_PROTECTED_AUTHENTICATION_PATH is cleared if the reader turns out to have no PIN pad.
   */
  readonly flags: number
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  /** Whether the card may count as logged in by our doing: true from before a PIN is sent until `logout`, a reset or a wrong PIN. */
  readonly mayBeVerified: boolean
  /** May read what a label needs. */
  describe(options?: TransmitOptions): Promise<TokenInfo>
  /** The objects that the token may have, without touching the card; whether one exists, `load` tells. */
  objects(): readonly TokenObject[]
  /** Tries left of a PIN as far as the card tells them for free. */
  triesLeft(user: LoginUser, options?: TransmitOptions): Promise<number | undefined>
  /** Asks for the PIN without holding the card, then sends VERIFY exactly once. */
  login(user: LoginUser, pin: PinSource, options?: TokenLoginOptions): Promise<void>
  /** Takes the verified state back on the card. */
  logout(options?: TransmitOptions): Promise<void>
  /** Rejects with CKR_USER_NOT_LOGGED_IN, as CryptokiError, where the card no longer knows the login. */
  sign(request: SignRequest, options?: TokenLoginOptions): Promise<Uint8Array>
  /** Absent: the token does not encrypt. */
  encrypt?(request: CipherRequest, options?: TransmitOptions): Promise<TokenCipher>
  /** Absent: the token does not decrypt. */
  decrypt?(request: CipherRequest, options?: TransmitOptions): Promise<TokenCipher>
  /** Bytes from the card's own generator; absent: the token has none. */
  random?(bytes: number, options?: TransmitOptions): Promise<Uint8Array>
}
