/** What a virtual OpenPGP card can be made with, and what it is made with by default. */
import type { AppletCardOptions } from '../applet-card.ts'
import type { RandomSource } from '../bytes.ts'
import type { KdfHash } from './kdf.ts'
import type { OpenPgpAlgorithm, OpenPgpKeyUse } from './keys.ts'

/** Whether a key asks for a touch: never, each time, or each time and for good. */
export type TouchPolicy = 'off' | 'on' | 'fixed'

/** Who the card belongs to. */
export interface Cardholder {
  /** Surname, two fillers, given names: `Lovelace<<Ada`. */
  readonly name?: string
  /** ISO 639: `en`. */
  readonly language?: string
  readonly sex?: 'male' | 'female' | 'unknown'
  readonly login?: string
  /** Where the public key is. */
  readonly url?: string
}

/** Options of the OpenPGP applet. All have defaults: three P-256 keys, PIN 123456, admin PIN 12345678. */
export interface OpenPgpOptions {
  /** Manufacturer in the AID; default FF00, the range of numbers that nobody manages. */
  readonly manufacturer?: number
  /** Serial number in the AID, four bytes; default 4A000001. */
  readonly serialNumber?: number
  /** Algorithms of the keys; default P-256. */
  readonly algorithms?: Readonly<Partial<Record<OpenPgpKeyUse, OpenPgpAlgorithm>>>
  /** Keys that the card does not have; their algorithm attributes stay. */
  readonly absentKeys?: readonly OpenPgpKeyUse[]
  /** PW1 with 81 is good for one signature (PW status byte 0: 00). Default true. */
  readonly pinPerSignature?: boolean
  /** The terminal has to send PINs in derived form (DO F9), with this hash. Default: as they are. */
  readonly kdf?: KdfHash
  /** Salts in DO F9: one for each PIN (default), or one for all, in which case 85 and 86 are absent. */
  readonly kdfSalts?: 1 | 3
  readonly pin?: string
  readonly adminPin?: string
  /** Default: none, and its counter is 0. */
  readonly resettingCode?: string
  readonly pinTries?: number
  readonly adminPinTries?: number
  readonly resettingCodeTries?: number
  /** What a wrong PIN is told: the attempts left (default), or 6982, as Gnuk and the cards of ZeitControl have it. */
  readonly wrongPin?: '63Cx' | '6982'
  readonly cardholder?: Cardholder
  /** Cardholder certificates (7F21), DER. */
  readonly certificates?: Readonly<Partial<Record<OpenPgpKeyUse, Uint8Array>>>
  /** Touch policies (DO D6 to D8); absent: the card has no button, and no such objects. */
  readonly touch?: Readonly<Partial<Record<OpenPgpKeyUse, TouchPolicy>>>
  /** Asked when a key wants a touch; false: it did not come in time (6600). Default: it comes at once. */
  readonly onTouch?: (use: OpenPgpKeyUse) => boolean | Promise<boolean>
  /** What historical bytes and extended capabilities say of it; the card has the option of the same name. Default true. */
  readonly extendedLength?: boolean
  readonly random?: RandomSource
}

/** Options of `createOpenPgpCard`: the applet's and the card's. */
export interface OpenPgpCardOptions
  extends OpenPgpOptions,
    Omit<AppletCardOptions, 'applets' | 'defaultApplet' | 'extendedLength'> {
  /** The OpenPGP application is the one that is selected after a reset. Default false. */
  readonly isDefaultSelected?: boolean
}
