/** The token port: the interface of a card application to the PKCS#11 layer. Drivers such as PIV and OpenPGP implement it. */
import type { CardConnection, PinReference, TransmitOptions } from '@webtoki/apdu'
import type { Attributes } from './attributes.ts'
import type { CKU } from './constants.ts'
import type { KeyAccess, UsableKey } from './key-use.ts'
import type { MechanismInfo } from './mechanisms.ts'

/** Detects a card application and opens its tokens. */
export interface TokenDriver {
  readonly name: string
  /**
   * Returns one token for each user PIN of the application, and none if the card lacks it. Called once for each card
   * connection, in the reverse order of the drivers, so that the application of the first driver stays selected.
   */
  open(connection: CardConnection): Promise<readonly Token[]>
}

/** CK_TOKEN_INFO. null stands for CK_UNAVAILABLE_INFORMATION. */
export interface TokenInfo {
  readonly label: string
  readonly manufacturer: string
  readonly model: string
  readonly serialNumber: string
  /** CKF_*: the capabilities of the token and the state of its PIN, as far as it is known. */
  readonly flags: number
  readonly minPinBytes: number
  readonly maxPinBytes: number
  /** The number of sessions that all applications have open with the token. */
  readonly sessions: number
  /** The number of those sessions that are read/write. */
  readonly readWriteSessions: number
  /** Always Infinity. */
  readonly maxSessions: number
  /** Always Infinity. */
  readonly maxReadWriteSessions: number
  /** Always null: card applications do not report it. */
  readonly hardwareVersion: null
  /** Always null: card applications do not report it. */
  readonly firmwareVersion: null
  /** Always null: cards do not report it. */
  readonly publicMemory: null
  /** Always null: cards do not report it. */
  readonly privateMemory: null
}

/** The fields of `TokenInfo` that a driver provides. The others are derived from the PIN and the sessions. */
export type TokenDescription = Pick<TokenInfo, 'label' | 'manufacturer' | 'model' | 'serialNumber'>

/** An object of the token. Attributes that require APDUs, such as a certificate's value, are read on first use. */
export interface TokenObject extends Partial<UsableKey> {
  /** The access conditions of a key on the card. */
  readonly access?: KeyAccess
  /** Present if the object is a session object. */
  readonly software?: SoftwareObject
  /** The attributes that are known without reading from the card. */
  readonly known: Attributes
  /**
   * Returns all attributes, including the known ones, or undefined if the card has no such object. Reads from the card only
   * the first time.
   */
  load(options?: TransmitOptions): Promise<Attributes | undefined>
}

/** An object in the page's memory. */
export interface SoftwareObject {
  /** The current attributes. CKA_VALUE of a key is present as long as it may be read. */
  readonly attributes: Attributes
  /** The approximate size of its attributes in bytes, for C_GetObjectSize. */
  readonly size: number
  /**
   * Returns a copy of the value of a secret key or data object, even if CKA_VALUE may not be read. The caller overwrites the
   * copy after use.
   */
  value(): Uint8Array | undefined
  /** C_SetAttributeValue. Throws CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID. */
  change(template: Attributes): void
  /** Overwrites the value. */
  destroy(): void
}

/** The users that can log in to a token. */
export type LoginUser = typeof CKU.USER | typeof CKU.SO

/** Options of a login. */
export interface TokenLoginOptions extends TransmitOptions {
  /** Called when the person is asked for the PIN. */
  readonly onAwaitPin?: () => void
}

/** A card application with one user PIN. A token does not count attempts or send VERIFY; its `PinReference` does. */
export interface Token {
  /** The name of the token, such as 'PIV'. */
  readonly name: string
  /** The label as far as it is known, for PIN requests. */
  readonly label: string
  /** CKF_WRITE_PROTECTED and other flags that cannot be derived from the mechanisms, the PIN or the reader. */
  readonly flags: number
  /** The mechanisms of keys on the token. The library adds those that run in software. */
  readonly mechanisms: ReadonlyMap<number, MechanismInfo>
  readonly pins: { readonly user: PinReference; readonly so?: PinReference }
  /**
   * Describes the token. If `mayRead` is false it must not access the card, because selecting the application could end the
   * login of another token of the card.
   */
  describe(options: TransmitOptions & { readonly mayRead: boolean }): Promise<TokenDescription>
  /** Returns the objects that the token may have, without access to the card. `load` reports whether one exists. */
  objects(): readonly TokenObject[]
  /** Returns bytes from the card's generator. If absent, the platform's generator is used. */
  random?(bytes: number, options?: TransmitOptions): Promise<Uint8Array>
}
