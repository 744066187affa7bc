/** A certificate, read once: RFC 5280, 4.1 and 4.2. */
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
import { type Extensions, extensionsOf, readBoolean } from './extensions.ts'
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

/** Reads DER; keeps a copy of it. Throws CertificateError. */
export function readCertificate(bytes: ByteSource): ReadCertificate {
  try {
    const der = copyOf(bytes)
    checkDer(der)
    const [body] = sequenceOf(der) as readonly [DerElement]
    const fields = fieldsOf(body.der)
    // Platforms take an ECDSA signature in loose BER; then one certificate would have many texts.
    const signature = signatureOfCertificate(der)
    const [algorithm] = sequenceOf(fields.signatureAlgorithm)
    if (algorithm !== undefined && objectIdentifier(algorithm).startsWith(ECDSA)) ecdsaNumbers(signature)
    return {
      der,
      key: keyOf(der),
      signed: body.der,
      signature,
      ...fields,
    }
  } catch (cause) {
    throw new CertificateError({ cause })
  }
}

type Fields = Omit<ReadCertificate, 'der' | 'key' | 'signed' | 'signature'>

function fieldsOf(signed: Uint8Array): Fields {
  const all = sequenceOf(signed)
  // The version, [0], is absent in certificates of version 1.
  const [serial, algorithm, issuer, validity, subject, keyInfo, ...rest] =
    all[0]?.tag === 0xa0 ? all.slice(1) : all
  if (serial?.tag !== Tag.integer || algorithm === undefined || issuer === undefined)
    throw new RangeError('not a TBSCertificate')
  if (validity === undefined || subject === undefined || keyInfo === undefined)
    throw new RangeError('not a TBSCertificate')
  const [notBefore, notAfter, ...more] = sequenceOf(validity.der).map(({ der }) => readTime(der))
  if (notBefore === undefined || notAfter === undefined || more.length > 0)
    throw new RangeError('not a Validity')
  return {
    serialNumber: serial.value,
    signatureAlgorithm: algorithm.der,
    issuer: readName(issuer.der),
    subject: readName(subject.der),
    notBefore,
    notAfter,
    publicKeyInfo: keyInfo.der,
    extensions: extensionsOf(inOrder(rest)),
  }
}

/** issuerUniqueID [1] and subjectUniqueID [2], which nobody looks at, and extensions [3]: each once, in this order. Throws RangeError. */
function inOrder(fields: readonly DerElement[]): readonly DerElement[] {
  let before = 0
  for (const { tag } of fields) {
    const place = [0x81, 0x82, 0xa3].indexOf(tag) + 1
    if (place <= before) throw new RangeError('not a TBSCertificate')
    before = place
  }
  return fields
}

/** BasicConstraints (RFC 5280, 4.2.1.9). Throws RangeError. */
export function readBasicConstraints(der: Uint8Array): {
  readonly isCa: boolean
  readonly pathLength: number
} {
  const parts = [...sequenceOf(der)]
  const isCa = parts[0]?.tag === Tag.boolean && readBoolean(parts.shift() as DerElement)
  const [length, ...more] = parts
  if (more.length > 0) throw new RangeError('not BasicConstraints')
  return { isCa, pathLength: length === undefined ? Infinity : readCount(length, Tag.integer) }
}

/** A number from 0 on, under a tag of its own. One that is larger than any path is any such number. Throws RangeError. */
export function readCount({ tag, value }: DerElement, wanted: number): number {
  const [first, second] = value
  if (tag !== wanted || first === undefined || first >= 0x80) throw new RangeError('not a count')
  if (first === 0 && second !== undefined && second < 0x80)
    throw new RangeError('a count with zeros before it')
  return value.length > 4 ? 0x7fff_ffff : value.reduce((sum, byte) => sum * 0x100 + byte, 0)
}
