/**
 * The one reader of certificates, RFC 5280, 4.1 and 4.2, in two manners over the same parts. To trust a certificate, all of
 * it has to be as the standard says (`readCertificate`). To show one, each field is read by itself, and what is odd in one
 * hides no other (`viewCertificate`).
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

/** A certificate read once. Nothing of it has been verified. */
export interface ReadCertificate {
  readonly der: Uint8Array
  /** The bytes as a key of a Map. */
  readonly key: string
  /** tbsCertificate in DER: what its issuer signed. */
  readonly signed: Uint8Array
  /** AlgorithmIdentifier in DER. */
  readonly signatureAlgorithm: Uint8Array
  readonly signature: Uint8Array
  /** The INTEGER's content; may be negative. */
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

/** Reads DER; keeps a copy of it. Throws CertificateError, also if one part alone is not as the standard says. */
export function readCertificate(bytes: ByteSource): ReadCertificate {
  try {
    const der = copyOf(bytes)
    checkDer(der)
    const signed = signedPartOf(der)
    const parts = partsOf(signed)
    // Platforms take an ECDSA signature in loose BER; then one certificate would have many texts.
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
      serialNumber: minimal(parts.serial.value),
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

/** The certificate in these bytes, to be shown; undefined unless they are one whose parts stand in their places. */
export function viewCertificate(bytes: ByteSource): CertificateView | undefined {
  return readable(() => new CertificateView(partsOf(signedPartOf(copyOf(bytes)))), undefined)
}

/** A certificate to be shown. What cannot be read is undefined; fields in DER are views of one copy of the bytes. */
export class CertificateView {
  readonly #parts: Parts
  /** Undefined if they cannot be read. */
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
  /** Undefined if there is no such extension: then it forbids nothing. Empty if it cannot be read: then it allows nothing. */
  get keyUsage(): readonly KeyUsage[] | undefined {
    return this.#extension(ExtensionId.keyUsage, readKeyUsage, [])
  }
  /** Object identifiers; undefined and empty as `keyUsage`. */
  get extendedKeyUsage(): readonly string[] | undefined {
    return this.#extension(ExtensionId.extendedKeyUsage, readExtendedKeyUsage, [])
  }
  /** Whether it says that it may issue certificates; undefined if that cannot be read. */
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

/** The fields of a TBSCertificate in their order, each as it is written. */
interface Parts {
  readonly serial: DerElement
  readonly algorithm: DerElement
  readonly issuer: DerElement
  readonly validity: DerElement
  readonly subject: DerElement
  readonly keyInfo: DerElement
  /** What may follow: unique identifiers and extensions. */
  readonly rest: readonly DerElement[]
}

/** tbsCertificate in DER. Throws RangeError. */
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

/** Throws RangeError. */
function timesOf({ validity }: Parts): readonly [notBefore: DerElement, notAfter: DerElement] {
  const [notBefore, notAfter, ...more] = sequenceOf(validity.der)
  if (notBefore === undefined || notAfter === undefined || more.length > 0)
    throw new RangeError('not a Validity')
  return [notBefore, notAfter]
}

/** An INTEGER's content, written the shortest way (X.690, 8.3.2); a negative number is one too. Throws RangeError. */
function minimal(value: Uint8Array): Uint8Array {
  const [first, second] = value
  const sign = second === undefined ? undefined : second >= 0x80 ? 0xff : 0
  if (first === undefined || first === sign) throw new RangeError('an INTEGER that is not the shortest')
  return value
}

/** What `read` returns, or `otherwise` if it throws. */
export function readable<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}
