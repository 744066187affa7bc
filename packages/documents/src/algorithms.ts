/** Signature algorithms as CMS names them: RFC 5652, RFC 5754, RFC 4056. */
import {
  objectIdentifier,
  readSignatureScheme,
  sequenceOf,
  type SignatureAlgorithm,
  type SignatureScheme,
} from '@webtoki/crypto'
import { Integer, Null } from 'asn1js'
import { copyOf } from '@webtoki/apdu/bytes'
import { AlgorithmIdentifier, RSASSAPSSParams } from 'pkijs'
import { DocumentError } from './errors.ts'
import type { HashName } from './digest.ts'

/** Object identifiers of hashes. */
export const hashOids: Readonly<Record<HashName, string>> = {
  'SHA-256': '2.16.840.1.101.3.4.2.1',
  'SHA-384': '2.16.840.1.101.3.4.2.2',
  'SHA-512': '2.16.840.1.101.3.4.2.3',
}

const RSA_PSS = '1.2.840.113549.1.1.10'
const MGF1 = '1.2.840.113549.1.1.8'

const rsaOids: Readonly<Record<string, HashName>> = {
  '1.2.840.113549.1.1.11': 'SHA-256',
  '1.2.840.113549.1.1.12': 'SHA-384',
  '1.2.840.113549.1.1.13': 'SHA-512',
}
const ecdsaOids: Readonly<Record<string, HashName>> = {
  '1.2.840.10045.4.3.2': 'SHA-256',
  '1.2.840.10045.4.3.3': 'SHA-384',
  '1.2.840.10045.4.3.4': 'SHA-512',
}

/** The hash that an algorithm of JOSE names. */
export function hashOf(algorithm: SignatureAlgorithm): HashName {
  return `SHA-${algorithm.slice(2)}` as HashName
}

/** The digest's name in CMS. */
export function digestIdentifier(hash: HashName): AlgorithmIdentifier {
  return new AlgorithmIdentifier({ algorithmId: hashOids[hash] })
}

/** The signature algorithm's name in CMS. */
export function signatureIdentifier(algorithm: SignatureAlgorithm): AlgorithmIdentifier {
  const hash = hashOf(algorithm)
  const find = (oids: Readonly<Record<string, HashName>>): string =>
    Object.keys(oids).find((oid) => oids[oid] === hash) as string
  if (algorithm.startsWith('ES')) return new AlgorithmIdentifier({ algorithmId: find(ecdsaOids) })
  if (algorithm.startsWith('RS')) {
    return new AlgorithmIdentifier({ algorithmId: find(rsaOids), algorithmParams: new Null() })
  }
  const parameters = new RSASSAPSSParams({
    hashAlgorithm: digestIdentifier(hash),
    maskGenAlgorithm: new AlgorithmIdentifier({
      algorithmId: MGF1,
      algorithmParams: digestIdentifier(hash).toSchema(),
    }),
    saltLength: Number(hash.slice(4)) / 8,
  })
  return new AlgorithmIdentifier({ algorithmId: RSA_PSS, algorithmParams: parameters.toSchema() })
}

/** What a signature in a file was made with; both AlgorithmIdentifiers in DER. Throws DocumentError 'unsupported-algorithm'. */
export function foundAlgorithm(signature: Uint8Array, digest: Uint8Array): SignatureScheme {
  const hash = foundHash(digest)
  try {
    const scheme = readSignatureScheme(signature, hash)
    if (typeof scheme === 'object') return scheme
  } catch (cause) {
    throw new DocumentError('unsupported-algorithm', { cause })
  }
  throw new DocumentError('unsupported-algorithm')
}

/** The hash that an AlgorithmIdentifier in DER names. Throws DocumentError 'unsupported-algorithm'. */
export function foundHash(algorithm: Uint8Array): HashName {
  const id = identifierOf(algorithm)
  const names = Object.keys(hashOids) as HashName[]
  const found = names.find((name) => hashOids[name] === id)
  if (found === undefined) throw new DocumentError('unsupported-algorithm')
  return found
}

/** Throws RangeError. */
function identifierOf(algorithm: Uint8Array): string {
  const [oid] = sequenceOf(algorithm)
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  return objectIdentifier(oid)
}

/** An INTEGER of an unsigned number: a zero byte before a high bit, none that is not needed. */
export function unsignedInteger(magnitude: Uint8Array): Integer {
  let at = 0
  while (at < magnitude.length - 1 && magnitude[at] === 0) at++
  const bytes = copyOf(magnitude.subarray(at))
  return new Integer({ valueHex: (bytes[0] ?? 0) >= 0x80 ? Uint8Array.of(0, ...bytes) : bytes })
}
