/**
 * The signature algorithms: one row for each, with all of its names. RFC 8017; RFC 4055, 3 and 5; RFC 5758, 3; RFC 7518, 3.1;
 * RFC 8410, 3.
 */
import { encodeTlv } from '@webtoki/apdu'
import { viewOf } from '@webtoki/apdu/bytes'
import type { CurveName } from './curves.ts'
import { type DerElement, objectIdentifier, onlyElement, positiveInteger, sequenceOf, Tag } from './der.ts'
import { encodeAlgorithmIdentifier, encodeUnsigned } from './encode.ts'
import { type HashName, hashes, hashOfOid } from './hashes.ts'
import { KeyOid } from './public-key.ts'

/** What a signature is made with. EdDSA hashes by itself. */
export type SignatureScheme =
  | { readonly family: 'pkcs1' | 'ecdsa'; readonly hash: HashName }
  | { readonly family: 'pss'; readonly hash: HashName; readonly saltBytes: number }
  | { readonly family: 'eddsa'; readonly hash?: undefined }

/** A way to sign; `pkcs1` and `pss` are paddings of RSA. */
export type SignatureFamily = SignatureScheme['family']

interface Row {
  readonly family: SignatureFamily
  readonly hash?: HashName
  /** The signature algorithm in certificates and CMS. */
  readonly oid: string
  /** JOSE's name. */
  readonly jose?: string
  /** The one curve that JOSE's name is for (RFC 7518, 3.4); the identifier is for all of them. */
  readonly curve?: CurveName
}

const rows = [
  { family: 'pkcs1', hash: 'SHA-1', oid: '1.2.840.113549.1.1.5' },
  // OIW's identifier, older than PKCS #1's.
  { family: 'pkcs1', hash: 'SHA-1', oid: '1.3.14.3.2.29' },
  { family: 'pkcs1', hash: 'SHA-224', oid: '1.2.840.113549.1.1.14' },
  { family: 'pkcs1', hash: 'SHA-256', oid: '1.2.840.113549.1.1.11', jose: 'RS256' },
  { family: 'pkcs1', hash: 'SHA-384', oid: '1.2.840.113549.1.1.12', jose: 'RS384' },
  { family: 'pkcs1', hash: 'SHA-512', oid: '1.2.840.113549.1.1.13', jose: 'RS512' },
  { family: 'pss', hash: 'SHA-256', oid: '1.2.840.113549.1.1.10', jose: 'PS256' },
  { family: 'pss', hash: 'SHA-384', oid: '1.2.840.113549.1.1.10', jose: 'PS384' },
  { family: 'pss', hash: 'SHA-512', oid: '1.2.840.113549.1.1.10', jose: 'PS512' },
  { family: 'ecdsa', hash: 'SHA-1', oid: '1.2.840.10045.4.1' },
  { family: 'ecdsa', hash: 'SHA-224', oid: '1.2.840.10045.4.3.1' },
  { family: 'ecdsa', hash: 'SHA-256', oid: '1.2.840.10045.4.3.2', jose: 'ES256', curve: 'P-256' },
  { family: 'ecdsa', hash: 'SHA-384', oid: '1.2.840.10045.4.3.3', jose: 'ES384', curve: 'P-384' },
  { family: 'ecdsa', hash: 'SHA-512', oid: '1.2.840.10045.4.3.4', jose: 'ES512', curve: 'P-521' },
  // JOSE's EdDSA is left out until a signer makes it.
  { family: 'eddsa', oid: '1.3.101.112', curve: 'Ed25519' },
] as const
const all: readonly Row[] = rows

/** RSA over MD2 and MD5, which nobody computes here. */
const olderThanSha1: readonly string[] = ['1.2.840.113549.1.1.2', '1.2.840.113549.1.1.4']

const MGF1 = '1.2.840.113549.1.1.8'

/** JOSE names: the key, the padding and the hash in one word. */
export type SignatureAlgorithm = Extract<(typeof rows)[number], { readonly jose: string }>['jose']

/** The curve that a JOSE name is for; undefined if it is for none. */
export type CurveOfAlgorithm<A extends SignatureAlgorithm> =
  Extract<(typeof rows)[number], { readonly jose: A }> extends { readonly curve: infer C } ? C : undefined

/** All of them. */
export const signatureAlgorithms: readonly SignatureAlgorithm[] = /* @__PURE__ */ rows.flatMap((row) =>
  'jose' in row ? [row.jose] : [],
)

/** What a JOSE name stands for: the curve too, if it is for one. */
export type NamedScheme = SignatureScheme & {
  readonly hash: HashName
  readonly curve?: CurveName | undefined
}

/** What JOSE's name stands for. */
export function schemeOf(algorithm: SignatureAlgorithm): NamedScheme {
  const { family, hash, curve } = all.find(({ jose }) => jose === algorithm) as Row & { hash: HashName }
  return { ...schemeWith(family, hash), curve } as NamedScheme
}

function schemeWith(family: SignatureFamily, hash: HashName | undefined): SignatureScheme {
  if (family === 'eddsa' || hash === undefined) return { family: 'eddsa' }
  return family === 'pss' ? { family, hash, saltBytes: hashes[hash].bytes } : { family, hash }
}

/** What people read: `RSA-PSS with SHA-256`. */
export function nameOfScheme({ family, hash }: SignatureScheme): string {
  const name = { pkcs1: 'RSA', pss: 'RSA-PSS', ecdsa: 'ECDSA', eddsa: 'EdDSA' }[family]
  return hash === undefined ? name : `${name} with ${hash}`
}

/**
 * What an AlgorithmIdentifier in DER names: a scheme (perhaps over a hash that `isWeak`), 'weak' for MD2 and MD5, undefined for
 * what is not known here. In CMS, rsaEncryption leaves the hash to the digest algorithm (RFC 3370, 3.2): hand it in. Throws
 * RangeError.
 */
export function readSignatureScheme(
  der: Uint8Array,
  digest?: HashName,
): SignatureScheme | 'weak' | undefined {
  const [oid, parameters] = sequenceOf(viewOf(der))
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  const id = objectIdentifier(oid)
  if (olderThanSha1.includes(id)) return 'weak'
  if (id === KeyOid.rsaPss) return readPssParameters(parameters)
  const row =
    id === KeyOid.rsaEncryption && digest
      ? ({ family: 'pkcs1', hash: digest } as const)
      : all.find((each) => each.oid === id)
  return row && schemeWith(row.family, row.hash)
}

const PSS_DEFAULT_SALT = 20

/**
 * RSASSA-PSS-params, of a signature or of a key. What is not written is its default: SHA-1 for both hashes, a salt of 20
 * bytes (RFC 4055, 3.1). Throws RangeError.
 */
export function readPssParameters(parameters: DerElement | undefined): SignatureScheme | undefined {
  const written = parameters === undefined ? [] : sequenceOf(parameters.der)
  const fields = new Map(written.map(({ tag, value }) => [tag, value]))
  const [hashField, mask, salt, trailer] = [0xa0, 0xa1, 0xa2, 0xa3].map((tag) => fields.get(tag))
  const hash = hashField === undefined ? 'SHA-1' : readHash(hashField)
  if (hash === undefined) return undefined
  const [maskId, maskHash] = mask === undefined ? [] : sequenceOf(mask)
  const saltBytes = salt === undefined ? PSS_DEFAULT_SALT : smallInteger(onlyElement(salt, Tag.integer))
  // Platforms mask by the same hash and end in 0xBC, whatever the parameters say.
  const isMaskedAlike =
    mask === undefined
      ? hash === 'SHA-1'
      : maskId !== undefined &&
        maskHash !== undefined &&
        objectIdentifier(maskId) === MGF1 &&
        readHash(maskHash.der) === hash
  const fits =
    isMaskedAlike && (trailer === undefined || smallInteger(onlyElement(trailer, Tag.integer)) === 1)
  return fits ? { family: 'pss', hash, saltBytes } : undefined
}

/** The hash that an AlgorithmIdentifier in DER names; undefined if it is not known here. Throws RangeError. */
export function readHash(algorithm: Uint8Array): HashName | undefined {
  const [oid] = sequenceOf(viewOf(algorithm))
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  return hashOfOid(objectIdentifier(oid))
}

function smallInteger(element: DerElement): number {
  if (element.value.length === 1 && element.value[0] === 0) return 0
  const [byte, ...more] = positiveInteger(element)
  if (byte === undefined || more.length > 0) throw new RangeError('an INTEGER above 255')
  return byte
}

/** AlgorithmIdentifier in DER, as certificates and CMS have it. */
export function encodeSignatureScheme(scheme: SignatureScheme): Uint8Array {
  const { family, hash } = scheme
  const { oid } = all.find((row) => row.family === family && row.hash === hash) as Row
  switch (family) {
    case 'pkcs1':
      return encodeAlgorithmIdentifier(oid, encodeTlv(Tag.null))
    case 'pss':
      return encodeAlgorithmIdentifier(oid, pssParameters(scheme))
    default:
      return encodeAlgorithmIdentifier(oid)
  }
}

function pssParameters({ hash, saltBytes }: SignatureScheme & { readonly family: 'pss' }): Uint8Array {
  const hashId = encodeAlgorithmIdentifier(hashes[hash].oid)
  return encodeTlv(
    Tag.sequence,
    encodeTlv(0xa0, hashId),
    encodeTlv(0xa1, encodeAlgorithmIdentifier(MGF1, hashId)),
    encodeTlv(0xa2, encodeUnsigned(Uint8Array.of(saltBytes))),
  )
}

/** What WebCrypto is told, to import a key of a scheme and to use it. */
export interface WebCryptoParameters {
  readonly key: { readonly name: string; readonly hash?: HashName; readonly namedCurve?: CurveName }
  readonly signature: { readonly name: string; readonly hash?: HashName; readonly saltLength?: number }
}

/** WebCrypto's parameters of a scheme; `curve` is that of the key, if it has one. */
export function webCryptoParameters(
  scheme: SignatureScheme,
  curve: CurveName | undefined,
): WebCryptoParameters {
  switch (scheme.family) {
    case 'pkcs1': {
      const name = 'RSASSA-PKCS1-v1_5'
      return { key: { name, hash: scheme.hash }, signature: { name } }
    }
    case 'pss': {
      const name = 'RSA-PSS'
      return { key: { name, hash: scheme.hash }, signature: { name, saltLength: scheme.saltBytes } }
    }
    case 'ecdsa': {
      const name = 'ECDSA'
      return {
        key: curve === undefined ? { name } : { name, namedCurve: curve },
        signature: { name, hash: scheme.hash },
      }
    }
    case 'eddsa': {
      const name = curve ?? 'Ed25519'
      return { key: { name }, signature: { name } }
    }
  }
}
