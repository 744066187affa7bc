/** What a virtual PIV card can be made with, and what it is made with by default. */
import { fromBase64, fromHex, type RandomSource, toBase64 } from '../bytes.ts'
import type { AppletCardOptions } from '../applet-card.ts'
import * as demo from './demo-keys.ts'
import { type PivKey, pivEcKey, pivRsaKey } from './keys.ts'
import type { ManagementKey } from './management-key.ts'
import type { PivSlot } from './objects.ts'

/** What a key asks before each use; beyond SP 800-73, as Yubico's cards have it for each key. */
export interface KeyPolicy {
  /** Default: what SP 800-73-4 part 1, table 4 means the slot for. */
  readonly pin?: 'never' | 'once' | 'always'
  /** 'always': each use waits for `PivOptions.touch`. Default 'never'. */
  readonly touch?: 'never' | 'always'
}

/** Options of the PIV applet. All have defaults: four keys, PIN 123456, PUK 12345678. */
export interface PivOptions {
  /** Key of 9A: RSA-2048 (default) or P-256. */
  readonly nineA?: 'rsa2048' | 'p256'
  /** Certificates kept gzip-compressed: all, or those of the named slots. */
  readonly gzipCertificate?: boolean | readonly PivSlot[]
  /** Private keys (PKCS#8, DER) in place of the demo's: RSA of 1024, 2048, 3072 or 4096 bits, P-256, P-384. The demo's certificates are not theirs. */
  readonly keys?: Readonly<Partial<Record<PivSlot, Uint8Array>>>
  /** Certificates (DER) in place of the demo's. The keys stay: `publicKeyOf` gives what such a certificate is for. */
  readonly certificates?: Readonly<Partial<Record<PivSlot, Uint8Array>>>
  /** Slots whose certificate object is missing (GET DATA answers 6A82); their keys work. */
  readonly absentCertificates?: readonly PivSlot[]
  /** Slots whose certificate object cannot be read (GET DATA answers 6982). */
  readonly unreadableCertificates?: readonly PivSlot[]
  /** Slots without a key; their certificates are missing too unless put there later. */
  readonly absentKeys?: readonly PivSlot[]
  /** False: no discovery object, as on older cards. */
  readonly discovery?: boolean
  /** PIN usage policy in the discovery object; default 0x4000: the application PIN, and no other. */
  readonly pinUsagePolicy?: number
  /** GUID of the CHUID, 16 bytes. */
  readonly guid?: Uint8Array
  readonly pin?: string
  readonly puk?: string
  readonly pinTries?: number
  readonly pukTries?: number
  /** Management key; default the well-known 3DES key. */
  readonly managementKey?: ManagementKey
  /** What the wrong PIN that spends the last try is told; default 6983. */
  readonly lastWrongPin?: '6983' | '63C0'
  /** INS FF (set management key), FE (import key), FB (reset), F7 (metadata), policies at key generation and import, and RSA 3072/4096. Default false: plain SP 800-73. */
  readonly vendorExtensions?: boolean
  /** What keys ask that differs from their slot's rule. GET METADATA tells it, with `vendorExtensions`. */
  readonly policies?: Readonly<Partial<Record<PivSlot, KeyPolicy>>>
  /** The person: resolves to whether the card was touched in time (else 6982). Default: at once. */
  readonly touch?: () => Promise<boolean>
  readonly random?: RandomSource
}

/** Options of `createPivCard`: the applet's and the card's. */
export interface PivCardOptions extends PivOptions, Omit<AppletCardOptions, 'applets' | 'defaultApplet'> {
  /** The PIV application is the one that is selected after a reset (SP 800-73-4 part 2, 2.3.1). Default false. */
  readonly isDefaultSelected?: boolean
}

/** The management key that virtual cards start with: 3DES 01…08 three times. */
export const defaultManagementKey: ManagementKey = {
  algorithm: 0x03,
  key: /* @__PURE__ */ fromHex('0102030405060708'.repeat(3)),
}

/** GUID of the default card: a version 4 UUID. */
export const defaultGuid: Uint8Array = /* @__PURE__ */ fromHex('6b1f0c9a 4d2e 4f7b a351 0e8d7c5b2a49')

/** The demo CA that issued the certificates of virtual cards. Its key is published: it proves nothing. */
export const demoCa: { readonly certificate: Uint8Array; readonly pem: string } = /* @__PURE__ */ authority()

function authority(): { readonly certificate: Uint8Array; readonly pem: string } {
  const certificate = fromBase64(demo.demoCaBase64)
  const lines = toBase64(certificate).match(/.{1,64}/g) ?? []
  return { certificate, pem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n` }
}

type DemoKey =
  | { readonly algorithm: 'rsa2048'; readonly p: string; readonly q: string; readonly certificate: string }
  | { readonly algorithm: 'p256' | 'p384'; readonly scalar: string; readonly certificate: string }

/** Key and certificate that a factory-new card has in a slot. */
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
