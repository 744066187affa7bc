/** The token port: what the PKCS#11 layer asks of a card's applet. Drivers (PIV, OpenPGP, PKCS#15) stand behind it. */
import type { CardConnection, TransmitOptions } from '@webtoki/apdu'
import type { Attributes } from './attributes.ts'
import type { CKU } from './constants.ts'
import type { Mechanism, MechanismInfo } from './mechanisms.ts'
import type { PinSource } from './pin.ts'

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
  /** CKF_* flags that the driver knows, as one number. */
  readonly flags: number
  readonly minPinBytes: number
  readonly maxPinBytes: number
}

/** An object of the token. Attributes that cost APDUs (a certificate's value) are read when first asked for. */
export interface TokenObject {
  /** Attributes known without touching the card. */
  readonly known: Attributes
  /** Reads the rest; answers from memory after the first time. */
  load(options?: TransmitOptions): Promise<Attributes>
}

export type LoginUser = typeof CKU.USER | typeof CKU.SO

export interface SignRequest {
  readonly object: TokenObject
  readonly mechanism: Mechanism
  /** The message, or its digest where `digested` is given (a streamed operation hashes on the host). */
  readonly data: Uint8Array
  /** Name of the hash that `data` already is, such as 'SHA-256'; absent: `data` goes in as the mechanism takes it. */
  readonly digested?: 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512'
  /** The context-specific PIN of an always-authenticate key, asked for before the lock is taken; overwritten after use. */
  readonly contextPin?: Uint8Array
  readonly acceptLastTry?: true
}

export interface Token {
  readonly info: TokenInfo
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  /** The token's objects, without reading more of the card than their existence costs. */
  objects(options?: TransmitOptions): Promise<readonly TokenObject[]>
  /** Tries left of a PIN as far as the card tells them for free. */
  triesLeft(user: LoginUser, options?: TransmitOptions): Promise<number | undefined>
  /** Asks for the PIN, then sends VERIFY exactly once. */
  login(user: LoginUser, pin: PinSource, options?: TransmitOptions): Promise<void>
  /** Takes the verified state back on the card. */
  logout(options?: TransmitOptions): Promise<void>
  sign(request: SignRequest, options?: TransmitOptions): Promise<Uint8Array>
  /** Bytes from the card's own generator; absent: the token has none. */
  random?(bytes: number, options?: TransmitOptions): Promise<Uint8Array>
}
