/**
 * Decodes certificates, RFC 5280, 4.1 and 4.2, in two ways. `readCertificate` is for trust decisions and requires that the
 * whole certificate conforms to the standard. `viewCertificate` is for display and reads each field by itself, so that a
 * malformed field does not hide the others.
 */
import { type ByteSource, copyOf, keyOf } from '@webtoki/apdu/bytes'
import {
  checkDer,
  type DerElement,
  ecdsaNumbers,
  objectIdentifier,
  sequenceOf,
  signatureOfCertificate,
  Tag,
} from './der.ts'
import { CertificateError } from './errors.ts'
import {
  ExtensionId,
  type Extensions,
  extensionsOf,
  type KeyUsage,
  readBasicConstraints,
  readExtendedKeyUsage,
  readKeyUsage,
} from './extensions.ts'
import { type Name, readName } from './name.ts'
import { readTime } from './time.ts'

/** A decoded certificate. Its signature has not been verified. */
export interface ReadCertificate {
  readonly der: Uint8Array
  /** The bytes as a string that can be the key of a Map. */
  readonly key: string
  /** tbsCertificate in DER: the part that the issuer signed. */
  readonly signed: Uint8Array
  /** AlgorithmIdentifier in DER. */
  readonly signatureAlgorithm: Uint8Array
  readonly signature: Uint8Array
  /** Content of the INTEGER; may be negative. */
  readonly serialNumber: Uint8Array
  readonly issuer: Name
  readonly subject: Name
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKeyInfo: Uint8Array
  readonly extensions: Extensions
}

const ECDSA = '1.2.840.10045.4.'

/** Decodes a copy of a certificate in DER. Throws CertificateError if any part violates the standard. */
export function readCertificate(bytes: ByteSource): ReadCertificate {
  try {
    const der = copyOf(bytes)
    checkDer(der)
    const signed = signedPartOf(der)
    const parts = partsOf(signed)
    // Some platforms accept ECDSA signatures in BER. One certificate would then have many valid encodings.
    const signature = signatureOfCertificate(der)
    const [algorithm] = sequenceOf(parts.algorithm.der)
    if (algorithm !== undefined && objectIdentifier(algorithm).startsWith(ECDSA)) ecdsaNumbers(signature)
    const [notBefore, notAfter] = timesOf(parts)
    return {
      der,
      key: keyOf(der),
      signed,
      signatureAlgorithm: parts.algorithm.der,
      signature,
      serialNumber: minimalInteger(parts.serial.value),
      issuer: readName(parts.issuer.der),
      subject: readName(parts.subject.der),
      notBefore: readTime(notBefore.der),
      notAfter: readTime(notAfter.der),
      publicKeyInfo: parts.keyInfo.der,
      extensions: extensionsOf(parts.rest),
    }
  } catch (cause) {
    throw new CertificateError({ cause })
  }
}

/** Decodes a certificate for display. Returns undefined if the bytes do not have the structure of a certificate. */
export function viewCertificate(bytes: ByteSource): CertificateView | undefined {
  return readable(() => new CertificateView(partsOf(signedPartOf(copyOf(bytes)))), undefined)
}

/**
 * A certificate for display. Fields that cannot be decoded are undefined. Fields in DER are views of one copy of the
 * bytes.
 */
export class CertificateView {
  readonly #parts: Parts
  /** Undefined if they cannot be decoded. */
  readonly extensions: Extensions | undefined

  /** @internal */
  constructor(parts: Parts) {
    this.#parts = parts
    this.extensions = readable(() => extensionsOf(parts.rest), undefined)
  }

  /** Name in DER. */
  get subjectDer(): Uint8Array {
    return this.#parts.subject.der
  }
  /** Name in DER. */
  get issuerDer(): Uint8Array {
    return this.#parts.issuer.der
  }
  /** INTEGER in DER. */
  get serialNumberDer(): Uint8Array {
    return this.#parts.serial.der
  }
  /** SubjectPublicKeyInfo in DER. */
  get publicKeyInfo(): Uint8Array {
    return this.#parts.keyInfo.der
  }
  get subject(): Name | undefined {
    return readable(() => readName(this.subjectDer), undefined)
  }
  get issuer(): Name | undefined {
    return readable(() => readName(this.issuerDer), undefined)
  }
  get notBefore(): Date | undefined {
    return readable(() => readTime(timesOf(this.#parts)[0].der), undefined)
  }
  get notAfter(): Date | undefined {
    return readable(() => readTime(timesOf(this.#parts)[1].der), undefined)
  }
  /** Undefined if the extension is absent, so every use is allowed. Empty if it cannot be decoded, so no use is allowed. */
  get keyUsage(): readonly KeyUsage[] | undefined {
    return this.#extension(ExtensionId.keyUsage, readKeyUsage, [])
  }
  /** Object identifiers. Undefined or empty as `keyUsage`. */
  get extendedKeyUsage(): readonly string[] | undefined {
    return this.#extension(ExtensionId.extendedKeyUsage, readExtendedKeyUsage, [])
  }
  /** True if BasicConstraints states that it is a CA. Undefined if that cannot be decoded. */
  get isAuthority(): boolean | undefined {
    const isCa = (der: Uint8Array): boolean | undefined => readBasicConstraints(der).isCa
    return this.#extension(ExtensionId.basicConstraints, isCa, undefined, false)
  }

  #extension<T>(id: string, read: (der: Uint8Array) => T, unread: T, absent?: T): T | undefined {
    const { extensions } = this
    if (extensions === undefined) return unread
    const value = extensions.get(id)?.value
    return value === undefined ? absent : readable(() => read(value), unread)
  }
}

/** The fields of a TBSCertificate in order, not decoded yet. */
interface Parts {
  readonly serial: DerElement
  readonly algorithm: DerElement
  readonly issuer: DerElement
  readonly validity: DerElement
  readonly subject: DerElement
  readonly keyInfo: DerElement
  /** The optional fields: unique identifiers and extensions. */
  readonly rest: readonly DerElement[]
}

/** Returns tbsCertificate in DER. Throws RangeError. */
function signedPartOf(certificate: Uint8Array): Uint8Array {
  const [signed] = sequenceOf(certificate)
  if (signed === undefined) throw new RangeError('an empty certificate')
  return signed.der
}

function partsOf(signed: Uint8Array): Parts {
  const all = sequenceOf(signed)
  // The version, [0], is absent in certificates of version 1.
  const [serial, ...fields] = all[0]?.tag === 0xa0 ? all.slice(1) : all
  const [algorithm, issuer, validity, subject, keyInfo, ...rest] = fields
  if (serial?.tag !== Tag.integer || algorithm === undefined || issuer === undefined)
    throw new RangeError('not a TBSCertificate')
  if (validity === undefined || subject === undefined || keyInfo === undefined)
    throw new RangeError('not a TBSCertificate')
  return { serial, algorithm, issuer, validity, subject, keyInfo, rest }
}

/** Returns the times of the Validity. Throws RangeError. */
function timesOf({ validity }: Parts): readonly [notBefore: DerElement, notAfter: DerElement] {
  const [notBefore, notAfter, ...more] = sequenceOf(validity.der)
  if (notBefore === undefined || notAfter === undefined || more.length > 0)
    throw new RangeError('not a Validity')
  return [notBefore, notAfter]
}

/** Returns the content of an INTEGER, which may be negative. Throws RangeError if it is not minimal (X.690, 8.3.2). */
function minimalInteger(value: Uint8Array): Uint8Array {
  const [first, second] = value
  const sign = second === undefined ? undefined : second >= 0x80 ? 0xff : 0
  if (first === undefined || first === sign) throw new RangeError('an INTEGER that is not minimal')
  return value
}

/** Returns the result of `read`, or `otherwise` if it throws. */
export function readable<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}
