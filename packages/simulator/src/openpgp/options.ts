/** Options of virtual OpenPGP cards (OpenPGP card application 3.4). */
import type { AppletCardOptions } from '../applet-card.ts'
import type { RandomSource } from '../bytes.ts'
import type { KdfHash } from './kdf.ts'
import type { OpenPgpAlgorithm, OpenPgpKeyUse } from './keys.ts'

/** Whether a key requires a touch: never, for each use, or for each use with a policy that cannot be changed. */
export type TouchPolicy = 'off' | 'on' | 'fixed'

/** The cardholder data. */
export interface Cardholder {
  /** Surname, two fillers and given names, such as `Lovelace<<Ada`. */
  readonly name?: string
  /** ISO 639 code, such as `en`. */
  readonly language?: string
  readonly sex?: 'male' | 'female' | 'unknown'
  readonly login?: string
  /** URL of the public key. */
  readonly url?: string
}

/** Options of the OpenPGP applet. By default it has three P-256 keys, PIN 123456 and admin PIN 12345678. */
export interface OpenPgpOptions {
  /** Manufacturer in the AID. Default FF00, from the range for unmanaged serial numbers. */
  readonly manufacturer?: number
  /** Serial number in the AID, four bytes. Default 4A000001. */
  readonly serialNumber?: number
  /** Algorithms of the keys. Default P-256. */
  readonly algorithms?: Readonly<Partial<Record<OpenPgpKeyUse, OpenPgpAlgorithm>>>
  /** Uses without a key. Their algorithm attributes exist. */
  readonly absentKeys?: readonly OpenPgpKeyUse[]
  /** True if the verification of PW1 with 81 is valid for one signature only (PW status byte 0: 00). Default true. */
  readonly pinPerSignature?: boolean
  /** The hash with which the terminal must derive PINs (DO F9). Default: the terminal sends PINs as they are. */
  readonly kdf?: KdfHash
  /** Number of salts in DO F9: one for each PIN (default), or one for all PINs, without 85 and 86. */
  readonly kdfSalts?: 1 | 3
  /** PW1. Default 123456. */
  readonly pin?: string
  /** PW3. Default 12345678. */
  readonly adminPin?: string
  /** Default: none, with a retry counter of 0. */
  readonly resettingCode?: string
  /** Attempts for PW1. Default 3. */
  readonly pinTries?: number
  /** Attempts for PW3. Default 3. */
  readonly adminPinTries?: number
  /** Attempts for the resetting code. Default 3. */
  readonly resettingCodeTries?: number
  /** The status word for a wrong PIN: the attempts left (default), or 6982 as with Gnuk and ZeitControl cards. */
  readonly wrongPin?: '63Cx' | '6982'
  readonly cardholder?: Cardholder
  /** Cardholder certificates (7F21), DER. */
  readonly certificates?: Readonly<Partial<Record<OpenPgpKeyUse, Uint8Array>>>
  /** Touch policies (DO D6 to D8). Default: the card has no button and none of these objects. */
  readonly touch?: Readonly<Partial<Record<OpenPgpKeyUse, TouchPolicy>>>
  /**
   * Called when a key requires a touch. Returns false if it does not come in time; the card then returns 6600. Default:
   * true at once.
   */
  readonly onTouch?: (use: OpenPgpKeyUse) => boolean | Promise<boolean>
  /** True if the historical bytes state extended lengths. The card has an option of the same name. Default true. */
  readonly extendedLength?: boolean
  /** Default: the platform's randomness. */
  readonly random?: RandomSource
}

/** Options of `createOpenPgpCard`: those of the applet and those of the card. */
export interface OpenPgpCardOptions
  extends OpenPgpOptions,
    Omit<AppletCardOptions, 'applets' | 'defaultApplet' | 'extendedLength'> {
  /** True if the OpenPGP application is selected after a reset. Default false. */
  readonly isDefaultSelected?: boolean
}
