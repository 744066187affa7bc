/** The token port: what the PKCS#11 layer asks of an application on a card. Drivers (PIV, OpenPGP, PKCS#15) implement it. */
import type { CardConnection, PinReference, TransmitOptions } from '@webtoki/apdu'
import type { Attributes } from './attributes.ts'
import type { CKU } from './constants.ts'
import type { KeyAccess, UsableKey } from './key-use.ts'
import type { MechanismInfo } from './mechanisms.ts'

/** Finds its application on a card. */
export interface TokenDriver {
  readonly name: string
  /**
   * One token for each user PIN of the application; none if the card does not have it. Called once an insertion. Of
   * several drivers the first is asked last, so that its application is selected when it is used.
   */
  open(connection: CardConnection): Promise<readonly Token[]>
}

/** CK_TOKEN_INFO in our words; null stands for CK_UNAVAILABLE_INFORMATION. */
export interface TokenInfo {
  readonly label: string
  readonly manufacturer: string
  readonly model: string
  readonly serialNumber: string
  /** CKF_* as one number: what the token can do, and what is known about the attempts left for its PIN. */
  readonly flags: number
  readonly minPinBytes: number
  readonly maxPinBytes: number
  /** Sessions of all applications that are open with the token now; any number may be. */
  readonly sessions: number
  /** Those of them that are read/write. */
  readonly readWriteSessions: number
  /** Infinity. */
  readonly maxSessions: number
  /** Infinity. */
  readonly maxReadWriteSessions: number
  /** null: the applications do not tell. */
  readonly hardwareVersion: null
  /** null: the applications do not tell. */
  readonly firmwareVersion: null
  /** null: cards do not tell. */
  readonly publicMemory: null
  /** null: cards do not tell. */
  readonly privateMemory: null
}

/** What a driver tells of its token; the rest of `TokenInfo` follows from its PIN and its mechanisms. */
export type TokenDescription = Pick<TokenInfo, 'label' | 'manufacturer' | 'model' | 'serialNumber'>

/** An object of the token. Attributes that cost APDUs (a certificate's value) are read when first asked for. */
export interface TokenObject extends Partial<UsableKey> {
  /** A key on the card: what it asks of its user. */
  readonly access?: KeyAccess
  /** A session object. */
  readonly software?: SoftwareObject
  /** Attributes known without touching the card; with `load` they are all there is. */
  readonly known: Attributes
  /** Reads all attributes, the known ones included; undefined: the card has no such object. Answers from memory after the first time. */
  load(options?: TransmitOptions): Promise<Attributes | undefined>
}

/** An object in this page's memory. */
export interface SoftwareObject {
  /** As they are now; CKA_VALUE of a key is there while it may be read. */
  readonly attributes: Attributes
  /** Bytes that the values of its attributes take. */
  readonly size: number
  /** The value of a secret key or data object, whether it may be read or not: a copy, which the caller overwrites. */
  value(): Uint8Array | undefined
  /** C_SetAttributeValue. Throws CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID. */
  change(template: Attributes): void
  /** Its value is overwritten. */
  destroy(): void
}

/** Who can log in to a token. */
export type LoginUser = typeof CKU.USER | typeof CKU.SO

/** What a login tells while it runs. */
export interface TokenLoginOptions extends TransmitOptions {
  /** The person is asked now. */
  readonly onAwaitPin?: () => void
}

/** One application on a card, with one user PIN, as PKCS#11 sees it. It counts no attempts and sends no VERIFY itself. */
export interface Token {
  /** Such as 'PIV'; names the slot if a card has several tokens. */
  readonly name: string
  /** For the request of a PIN: the token's label as far as it is known. */
  readonly label: string
  /** CKF_WRITE_PROTECTED and others that do not follow from the mechanisms, the PIN or the reader. */
  readonly flags: number
  /** What keys on the token can do on their own account. Digests, verification and session keys are added to it. */
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  readonly pins: { readonly user: PinReference; readonly so?: PinReference }
  /** Reads what a label needs, if it may: to select the application could end the login of another token of the card. */
  describe(options: TransmitOptions & { readonly mayRead: boolean }): Promise<TokenDescription>
  /** The objects that the token may have, without touching the card; whether one exists, `load` tells. */
  objects(): readonly TokenObject[]
  /** Bytes from the card's own generator; absent: the platform's is used. */
  random?(bytes: number, options?: TransmitOptions): Promise<Uint8Array>
}
