/** Names of hashes, as WebCrypto and FIPS 180-4 and 202 print them. */

/** The hashes that PKCS#11 v2.40 and 3.0 name and that are still in use. */
export type DigestName =
  | 'SHA-1'
  | 'SHA-224'
  | 'SHA-256'
  | 'SHA-384'
  | 'SHA-512'
  | 'SHA3-224'
  | 'SHA3-256'
  | 'SHA3-384'
  | 'SHA3-512'

/** Length of each digest, in bytes. */
export const digestBytes: Readonly<Record<DigestName, number>> = {
  'SHA-1': 20,
  'SHA-224': 28,
  'SHA-256': 32,
  'SHA-384': 48,
  'SHA-512': 64,
  'SHA3-224': 28,
  'SHA3-256': 32,
  'SHA3-384': 48,
  'SHA3-512': 64,
}
