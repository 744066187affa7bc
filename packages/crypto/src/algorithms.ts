/**
 * The registry of signature algorithms, with their names in JOSE, CMS and WebCrypto: RFC 8017; RFC 4055, 3 and 5; RFC 5758,
 * 3; RFC 7518, 3.1; RFC 8410, 3.
 */
import { encodeTlv } from '@webtoki/apdu'
import { viewOf } from '@webtoki/apdu/bytes'
import type { CurveName } from './curves.ts'
import { type DerElement, objectIdentifier, onlyElement, positiveInteger, sequenceOf, Tag } from './der.ts'
import { encodeAlgorithmIdentifier, encodeUnsigned } from './encode.ts'
import { type HashName, hashes, hashOfOid } from './hashes.ts'
import { KeyOid } from './public-key.ts'

/** A signature scheme with its parameters. EdDSA has no separate hash. */
export type SignatureScheme =
  | { readonly family: 'pkcs1' | 'ecdsa'; readonly hash: HashName }
  | { readonly family: 'pss'; readonly hash: HashName; readonly saltBytes: number }
  | { readonly family: 'eddsa'; readonly hash?: undefined }

/** Family of signature schemes. `pkcs1` and `pss` are RSA paddings. */
export type SignatureFamily = SignatureScheme['family']

interface Row {
  readonly family: SignatureFamily
  readonly hash?: HashName
  /** Object identifier in certificates and CMS. */
  readonly oid: string
  /** Name in JOSE. */
  readonly jose?: string
  /** The only curve that the JOSE name allows (RFC 7518, 3.4). The object identifier allows every curve. */
  readonly curve?: CurveName
}

const rows = [
  { family: 'pkcs1', hash: 'SHA-1', oid: '1.2.840.113549.1.1.5' },
  // The identifier of OIW, older than that of PKCS #1.
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
  // Without the JOSE name EdDSA, because no signer supports it yet.
  { family: 'eddsa', oid: '1.3.101.112', curve: 'Ed25519' },
] as const
const all: readonly Row[] = rows

/** RSA with MD2 and MD5, which are recognized but not supported. */
const weakOids: readonly string[] = ['1.2.840.113549.1.1.2', '1.2.840.113549.1.1.4']

const MGF1 = '1.2.840.113549.1.1.8'

/** JOSE name of an algorithm, which stands for key type, padding and hash. */
export type SignatureAlgorithm = Extract<(typeof rows)[number], { readonly jose: string }>['jose']

/** The only curve that a JOSE name allows, or undefined if it does not require one. */
export type CurveOfAlgorithm<A extends SignatureAlgorithm> =
  Extract<(typeof rows)[number], { readonly jose: A }> extends { readonly curve: infer C } ? C : undefined

/** All supported JOSE names. */
export const signatureAlgorithms: readonly SignatureAlgorithm[] = /* @__PURE__ */ rows.flatMap((row) =>
  'jose' in row ? [row.jose] : [],
)

/** The scheme of a JOSE name, with the curve if the name requires one. */
export type NamedScheme = SignatureScheme & {
  readonly hash: HashName
  readonly curve?: CurveName | undefined
}

/** Returns the scheme of a JOSE name. */
export function schemeOf(algorithm: SignatureAlgorithm): NamedScheme {
  const { family, hash, curve } = all.find(({ jose }) => jose === algorithm) as Row & { hash: HashName }
  return { ...schemeWith(family, hash), curve } as NamedScheme
}

function schemeWith(family: SignatureFamily, hash: HashName | undefined): SignatureScheme {
  if (family === 'eddsa' || hash === undefined) return { family: 'eddsa' }
  return family === 'pss' ? { family, hash, saltBytes: hashes[hash].bytes } : { family, hash }
}

/** Returns the name of a scheme for people, such as `RSA-PSS with SHA-256`. */
export function nameOfScheme({ family, hash }: SignatureScheme): string {
  const name = { pkcs1: 'RSA', pss: 'RSA-PSS', ecdsa: 'ECDSA', eddsa: 'EdDSA' }[family]
  return hash === undefined ? name : `${name} with ${hash}`
}

/**
 * Decodes an AlgorithmIdentifier in DER. Returns a scheme (whose hash may be weak), 'weak' for MD2 and MD5, or undefined if
 * the algorithm is not supported. `digest` is the digest algorithm of a CMS signature, which determines the hash if the
 * identifier is rsaEncryption (RFC 3370, 3.2). Throws RangeError.
 */
export function readSignatureScheme(
  der: Uint8Array,
  digest?: HashName,
): SignatureScheme | 'weak' | undefined {
  const [oid, parameters] = sequenceOf(viewOf(der))
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  const id = objectIdentifier(oid)
  if (weakOids.includes(id)) return 'weak'
  if (id === KeyOid.rsaPss) return readPssParameters(parameters)
  const row =
    id === KeyOid.rsaEncryption && digest
      ? ({ family: 'pkcs1', hash: digest } as const)
      : all.find((each) => each.oid === id)
  return row && schemeWith(row.family, row.hash)
}

const PSS_DEFAULT_SALT_BYTES = 20

/**
 * Decodes RSASSA-PSS-params of a signature or a key. Absent fields have their defaults: SHA-1 for both hashes and a salt of
 * 20 bytes (RFC 4055, 3.1). Returns undefined for parameters that platforms do not support. Throws RangeError.
 */
export function readPssParameters(parameters: DerElement | undefined): SignatureScheme | undefined {
  const written = parameters === undefined ? [] : sequenceOf(parameters.der)
  const fields = new Map(written.map(({ tag, value }) => [tag, value]))
  const [hashField, mask, salt, trailer] = [0xa0, 0xa1, 0xa2, 0xa3].map((tag) => fields.get(tag))
  const hash = hashField === undefined ? 'SHA-1' : readHash(hashField)
  if (hash === undefined) return undefined
  const [maskId, maskHash] = mask === undefined ? [] : sequenceOf(mask)
  const saltBytes = salt === undefined ? PSS_DEFAULT_SALT_BYTES : smallInteger(onlyElement(salt, Tag.integer))
  // Platforms always use the same hash in MGF1 and the trailer 0xBC, whatever the parameters state.
  const hasSameMaskHash =
    mask === undefined
      ? hash === 'SHA-1'
      : maskId !== undefined &&
        maskHash !== undefined &&
        objectIdentifier(maskId) === MGF1 &&
        readHash(maskHash.der) === hash
  const fits =
    hasSameMaskHash && (trailer === undefined || smallInteger(onlyElement(trailer, Tag.integer)) === 1)
  return fits ? { family: 'pss', hash, saltBytes } : undefined
}

/** Returns the hash of an AlgorithmIdentifier in DER, or undefined if it is not supported. Throws RangeError. */
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

/** Encodes the AlgorithmIdentifier of a scheme in DER, for certificates and CMS. */
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

/** Parameters for importing a key into WebCrypto and for using it. */
export interface WebCryptoParameters {
  readonly key: { readonly name: string; readonly hash?: HashName; readonly namedCurve?: CurveName }
  readonly signature: { readonly name: string; readonly hash?: HashName; readonly saltLength?: number }
}

/** Returns the WebCrypto parameters of a scheme. `curve` is the curve of the key, if it has one. */
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
