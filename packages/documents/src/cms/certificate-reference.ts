/** The signed attributes that identify the signer's certificate: RFC 2634, 5.4 (by SHA-1) and RFC 5035, 3 and 4. */
import {
  type CertificateView,
  type HashName,
  type ReadCertificate,
  readHash,
  readName,
  sequenceOf,
  Tag,
  viewCertificate,
  encodeTlv,
} from '@webtoki/crypto'
import { equalBytes } from '@webtoki/apdu/bytes'
import { hashNow } from '@webtoki/crypto/hash-now'
import { sequence } from './der-writer.ts'

/** A reference to a certificate in such an attribute. */
export interface CertificateReference {
  /** Undefined if the hash is unknown. */
  readonly hash: HashName | undefined
  readonly digest: Uint8Array
  /** IssuerSerial in DER; undefined if the reference has only the hash. */
  readonly issuerSerial: Uint8Array | undefined
}

/** Encodes SigningCertificateV2 with one certificate. The hash SHA-256 is the default and is omitted. */
export function signingCertificateV2(certificate: ReadCertificate): Uint8Array {
  const names = sequence(encodeTlv(0xa4, issuerOf(certificate)))
  const issuerSerial = sequence(names, encodeTlv(Tag.integer, certificate.serialNumber))
  const reference = sequence(encodeTlv(Tag.octetString, hashNow('SHA-256', certificate.der)), issuerSerial)
  return sequence(sequence(reference))
}

/** Returns the Name of the issuer in DER. */
export function issuerOf({ der }: ReadCertificate): Uint8Array {
  return (viewCertificate(der) as CertificateView).issuerDer
}

/**
 * Parses the first reference, which is that of the signer: the hash if it is not the default, the digest, issuer and
 * serial number. Throws RangeError.
 */
export function readReference(attribute: Uint8Array, byDefault: 'SHA-1' | 'SHA-256'): CertificateReference {
  const [certificates] = sequenceOf(attribute)
  const [first] = certificates === undefined ? [] : sequenceOf(certificates.der)
  const values = first === undefined ? [] : [...sequenceOf(first.der)]
  const algorithm = byDefault === 'SHA-256' && values[0]?.tag === Tag.sequence ? values.shift() : undefined
  const [digest, issuerSerial, ...more] = values
  if (digest?.tag !== Tag.octetString || more.length > 0) throw new RangeError('not an ESSCertID')
  return {
    hash: algorithm === undefined ? byDefault : readHash(algorithm.der),
    digest: digest.value,
    issuerSerial: issuerSerial?.der,
  }
}

/**
 * Returns whether the digest, and issuer and serial number if present, match the certificate. All have to match,
 * because verifiers differ in which of them they use. Returns undefined if the hash is unknown.
 */
export function isReferenceTo(
  { hash: name, digest, issuerSerial }: CertificateReference,
  { der, issuer, serialNumber }: ReadCertificate,
): boolean | undefined {
  if (name === undefined) return undefined
  if (!equalBytes(hashNow(name, der), digest)) return false
  if (issuerSerial === undefined) return true
  try {
    const [names, serial] = sequenceOf(issuerSerial)
    const [directoryName, ...more] = names === undefined ? [] : sequenceOf(names.der)
    return (
      serial !== undefined &&
      directoryName?.tag === 0xa4 &&
      more.length === 0 &&
      readName(directoryName.value).key === issuer.key &&
      equalBytes(serial.value, serialNumber)
    )
  } catch {
    return false
  }
}
