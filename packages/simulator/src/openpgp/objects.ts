/** Tags and constant values of the data objects of a virtual OpenPGP card (OpenPGP card application 3.4, 4.4). */
import { join } from '../bytes.ts'
import { tlv } from '../iso7816/tlv.ts'
import { keyUses, knownAttributes } from './keys.ts'

/** Tags of the data objects. */
export const tags = {
  aid: 0x4f,
  name: 0x5b,
  login: 0x5e,
  language: 0x5f2d,
  sex: 0x5f35,
  url: 0x5f50,
  historicalBytes: 0x5f52,
  cardholder: 0x65,
  application: 0x6e,
  discretionary: 0x73,
  securitySupport: 0x7a,
  signatureCounter: 0x93,
  certificate: 0x7f21,
  extendedLength: 0x7f66,
  features: 0x7f74,
  extendedCapabilities: 0xc0,
  /**
   * The first of three tags: C1 signature, C2 decryption, C3 authentication. Fingerprints, times and touch policies
   * have the same order.
   */
  algorithmAttributes: 0xc1,
  pinStatus: 0xc4,
  fingerprints: 0xc5,
  caFingerprints: 0xc6,
  fingerprint: 0xc7,
  caFingerprint: 0xca,
  times: 0xcd,
  time: 0xce,
  resettingCode: 0xd3,
  touch: 0xd6,
  keyInformation: 0xde,
  kdf: 0xf9,
  algorithmInformation: 0xfa,
} as const

/** Maximum length of a PIN and of the resetting code. */
export const maxPinBytes = 127
/** Maximum length of a cardholder certificate. */
export const maxCertificateBytes = 0x0800
/** Maximum length of name, login data and similar objects. */
export const maxObjectBytes = 0x00ff
/** Maximum length of a GET CHALLENGE response. */
export const maxChallengeBytes = 0x00ff
/** The button bit in general feature management (7F74, 81) and in the user interaction flags (D6 to D8). */
export const button = 0x20

/** The full AID (4.2.1): RID and application, version 3.4, manufacturer, serial number, two reserved bytes. */
export function openPgpAid(manufacturer: number, serialNumber: number): Uint8Array {
  const serial = [24, 16, 8, 0].map((shift) => (serialNumber >>> shift) & 0xff)
  return join(
    [0xd2, 0x76, 0x00, 0x01, 0x24, 0x01],
    0x03,
    0x04,
    manufacturer >> 8,
    manufacturer & 0xff,
    serial,
    0,
    0,
  )
}

/**
 * The historical bytes (6.1): card services (selection by full and partial name, data objects by GET DATA), capabilities
 * (chaining 80, extended lengths 40), no life cycle management, 9000.
 */
export function historicalBytes(extendedLength: boolean): Uint8Array {
  return Uint8Array.of(0x00, 0x31, 0xc5, 0x73, 0xc0, 0x01, extendedLength ? 0xc0 : 0x80, 0x00, 0x90, 0x00)
}

/**
 * The extended capabilities C0 (4.4.3.7): GET CHALLENGE 40, changeable PW status 10, changeable algorithm attributes
 * 04, KDF 01, no secure messaging.
 */
export const extendedCapabilities: Uint8Array = /* @__PURE__ */ Uint8Array.of(
  0x40 | 0x10 | 0x04 | 0x01,
  0x00,
  maxChallengeBytes >> 8,
  maxChallengeBytes & 0xff,
  maxCertificateBytes >> 8,
  maxCertificateBytes & 0xff,
  maxObjectBytes >> 8,
  maxObjectBytes & 0xff,
  // No PIN block format 2, no MANAGE SECURITY ENVIRONMENT.
  0x00,
  0x00,
)

/** The content of 7F66 (4.1.3.1): maximum length of commands and responses, 2048 bytes each. */
export const extendedLengthInformation: Uint8Array = /* @__PURE__ */ join(
  /* @__PURE__ */ tlv(0x02, 0x08, 0x00),
  /* @__PURE__ */ tlv(0x02, 0x08, 0x00),
)

/** The content of FA (4.4.3.11): for each key, all algorithm attributes that it supports. */
export function algorithmInformation(): Uint8Array {
  return join(
    ...keyUses.flatMap((use, at) =>
      knownAttributes(use).map((attributes) => tlv(tags.algorithmAttributes + at, attributes)),
    ),
  )
}
