/** The signed attributes that name the signer's certificate: RFC 2634, 5.4 (by SHA-1) and RFC 5035, 3 and 4. */
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

/** What an attribute says of the certificate. */
export interface CertificateReference {
  /** Undefined if the hash is not known here. */
  readonly hash: HashName | undefined
  readonly digest: Uint8Array
  /** IssuerSerial in DER; undefined if the attribute leaves issuer and serial number to the hash. */
  readonly issuerSerial: Uint8Array | undefined
}

/** SigningCertificateV2 of this one certificate. SHA-256 is the default hash and is not written. */
export function signingCertificateV2(certificate: ReadCertificate): Uint8Array {
  const names = sequence(encodeTlv(0xa4, issuerOf(certificate)))
  const issuerSerial = sequence(names, encodeTlv(Tag.integer, certificate.serialNumber))
  const reference = sequence(encodeTlv(Tag.octetString, hashNow('SHA-256', certificate.der)), issuerSerial)
  return sequence(sequence(reference))
}

/** The issuer's Name in DER. */
export function issuerOf({ der }: ReadCertificate): Uint8Array {
  return (viewCertificate(der) as CertificateView).issuerDer
}

/**
 * The first reference, which is the signer's: a hash if it is not the default, the digest, issuer and serial number.
 * Throws RangeError.
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
 * Whether all that the attribute says is true of the certificate: of two answers, verifiers would take either. Undefined
 * if its hash is not known here.
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
