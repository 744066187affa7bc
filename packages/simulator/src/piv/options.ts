/** Options and default values of virtual PIV cards (NIST SP 800-73-4). */
import { fromBase64, fromHex, type RandomSource, toBase64 } from '../bytes.ts'
import type { AppletCardOptions } from '../applet-card.ts'
import * as demo from './demo-keys.ts'
import { type PivKey, pivEcKey, pivRsaKey } from './keys.ts'
import type { ManagementKey } from './management-key.ts'
import type { PivSlot } from './objects.ts'

/** The PIN and touch policy of a key. SP 800-73-4 does not have one for each key; Yubico's cards do. */
export interface KeyPolicy {
  /** When the key requires the PIN. Default: the rule of the slot in SP 800-73-4 part 1, table 4. */
  readonly pin?: 'never' | 'once' | 'always'
  /** With 'always', each use of the key waits for `PivOptions.touch`. Default 'never'. */
  readonly touch?: 'never' | 'always'
}

/** Options of the PIV applet. By default it has four keys, PIN 123456 and PUK 12345678. */
export interface PivOptions {
  /** Algorithm of the key in 9A. Default RSA-2048. */
  readonly nineA?: 'rsa2048' | 'p256'
  /** True to store all certificates gzip-compressed, or the slots whose certificates are compressed. */
  readonly gzipCertificate?: boolean | readonly PivSlot[]
  /**
   * Private keys (PKCS#8, DER) that replace demo keys: RSA with 1024, 2048, 3072 or 4096 bits, P-256 or P-384. A slot
   * with such a key has no demo certificate.
   */
  readonly keys?: Readonly<Partial<Record<PivSlot, Uint8Array>>>
  /**
   * Certificates (DER) that replace demo certificates. The keys stay; `publicKeyOf` returns the public key for such a
   * certificate.
   */
  readonly certificates?: Readonly<Partial<Record<PivSlot, Uint8Array>>>
  /** Slots without a certificate object (GET DATA returns 6A82). Their keys work. */
  readonly absentCertificates?: readonly PivSlot[]
  /** Slots whose certificate object cannot be read (GET DATA returns 6982). */
  readonly unreadableCertificates?: readonly PivSlot[]
  /** Slots without a key. They have no certificate either until one is written. */
  readonly absentKeys?: readonly PivSlot[]
  /** False if the card has no discovery object, as older cards. Default true. */
  readonly discovery?: boolean
  /** PIN usage policy in the discovery object. Default 0x4000: only the application PIN. */
  readonly pinUsagePolicy?: number
  /** GUID in the CHUID, 16 bytes. */
  readonly guid?: Uint8Array
  /** Default 123456. */
  readonly pin?: string
  /** Default 12345678. */
  readonly puk?: string
  /** Attempts for the PIN. Default 3. */
  readonly pinTries?: number
  /** Attempts for the PUK. Default 3. */
  readonly pukTries?: number
  /** Management key. Default: the well-known 3DES key, `defaultManagementKey`. */
  readonly managementKey?: ManagementKey
  /** The status word for the wrong PIN that uses the last attempt. Default 6983. */
  readonly lastWrongPin?: '6983' | '63C0'
  /**
   * Adds Yubico's extensions: INS FF (set management key), FE (import key), FB (reset), F7 (get metadata), policies at
   * key generation and import, retired key slots, and RSA with 3072 and 4096 bits. Default false: SP 800-73-4 only.
   */
  readonly vendorExtensions?: boolean
  /** Policies of keys that differ from the rule of their slot. With `vendorExtensions`, GET METADATA returns them. */
  readonly policies?: Readonly<Partial<Record<PivSlot, KeyPolicy>>>
  /**
   * Simulates the user's touch: resolves to true if it comes in time, otherwise the card returns 6982. Default: no
   * wait.
   */
  readonly touch?: () => Promise<boolean>
  /** Default: the platform's randomness. */
  readonly random?: RandomSource
}

/** Options of `createPivCard`: those of the applet and those of the card. */
export interface PivCardOptions extends PivOptions, Omit<AppletCardOptions, 'applets' | 'defaultApplet'> {
  /** True if the PIV application is selected after a reset (SP 800-73-4 part 2, 2.3.1). Default false. */
  readonly isDefaultSelected?: boolean
}

/** The default management key: 3DES with the bytes 01…08 three times. */
export const defaultManagementKey: ManagementKey = {
  algorithm: 0x03,
  key: /* @__PURE__ */ fromHex('0102030405060708'.repeat(3)),
}

/** The GUID of the default card, a version 4 UUID. */
export const defaultGuid: Uint8Array = /* @__PURE__ */ fromHex('6b1f0c9a 4d2e 4f7b a351 0e8d7c5b2a49')

/**
 * The demo CA that issued the certificates of virtual cards. Its private key is public, so its certificates prove
 * nothing.
 */
export const demoCa: { readonly certificate: Uint8Array; readonly pem: string } = /* @__PURE__ */ authority()

function authority(): { readonly certificate: Uint8Array; readonly pem: string } {
  const certificate = fromBase64(demo.demoCaBase64)
  const lines = toBase64(certificate).match(/.{1,64}/g) ?? []
  return { certificate, pem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n` }
}

type DemoKey =
  | { readonly algorithm: 'rsa2048'; readonly p: string; readonly q: string; readonly certificate: string }
  | { readonly algorithm: 'p256' | 'p384'; readonly scalar: string; readonly certificate: string }

/** Returns the key and the certificate of a slot in a new card. */
export function demoIdentity(
  slot: PivSlot,
  nineA: 'rsa2048' | 'p256',
): { readonly key: PivKey; readonly certificate: Uint8Array } {
  const all: Readonly<Record<PivSlot, DemoKey>> = {
    '9A': nineA === 'p256' ? demo.authenticationP256 : demo.authenticationRsa,
    '9C': demo.signature,
    '9D': demo.keyManagement,
    '9E': demo.cardAuthentication,
  }
  const entry = all[slot]
  const key =
    entry.algorithm === 'rsa2048'
      ? pivRsaKey(0x07, fromHex(entry.p), fromHex(entry.q))
      : pivEcKey(entry.algorithm === 'p256' ? 0x11 : 0x14, fromHex(entry.scalar))
  if (key === undefined) throw new Error(`The demo key of slot ${slot} is damaged.`)
  return { key, certificate: fromBase64(entry.certificate) }
}
