/** What signing and login need of an X.509 certificate, RFC 5280 clause 4.1: its names, its key, and what the key is for. */
import { decodeTlv, findTlv, MalformedError, readTlvHeader, toHex } from '@webtoki/apdu'

/** An RSA key, RFC 8017 appendix A.1.1. */
export interface RsaCertificateKey {
  readonly type: 'rsa'
  /** Big-endian, without a leading zero byte. */
  readonly modulus: Uint8Array
  /** Big-endian, without a leading zero byte. */
  readonly exponent: Uint8Array
  /** Length of the modulus. */
  readonly bits: number
}

/** A key on one of the curves that cards have, RFC 5480 clause 2. */
export interface EcCertificateKey {
  readonly type: 'ec'
  readonly curve: 'P-256' | 'P-384' | 'P-521'
  /** The curve's object identifier in DER: CKA_EC_PARAMS. */
  readonly parameters: Uint8Array
  /** Uncompressed: 04, x, y. */
  readonly point: Uint8Array
}

/** A public key that this library can use. */
export type CertificateKey = RsaCertificateKey | EcCertificateKey

/** Names of the bits of KeyUsage, RFC 5280 clause 4.2.1.3. */
export type KeyUsage = (typeof keyUsageNames)[number]

/** A certificate, taken apart as far as needed. Nothing here has been verified. Byte fields are views of the certificate. */
export interface CertificateFields {
  /** Name in DER. */
  readonly subject: Uint8Array
  /** Name in DER. */
  readonly issuer: Uint8Array
  /** INTEGER in DER, as CKA_SERIAL_NUMBER wants it. */
  readonly serialNumber: Uint8Array
  /** The last, most particular common name of the subject; undefined where it has none. */
  readonly subjectCommonName: string | undefined
  /** All common names of the subject in their order. */
  readonly subjectCommonNames: readonly string[]
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKeyInfo: Uint8Array
  /** Undefined if the key is of another kind, on another curve or compressed, or anybody could sign under it. */
  readonly key: CertificateKey | undefined
  readonly notBefore: Date
  readonly notAfter: Date
  /** Undefined where the certificate has no such extension: then it forbids nothing. */
  readonly keyUsage: readonly KeyUsage[] | undefined
  /** Object identifiers such as '1.3.6.1.5.5.7.3.2'; undefined where the certificate has no such extension. */
  readonly extendedKeyUsage: readonly string[] | undefined
  /** BasicConstraints say that it may issue certificates, RFC 5280 clause 4.2.1.9. */
  readonly isAuthority: boolean
}

const keyUsageNames = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

/** Tags of ASN.1, X.680 clause 8.4, as their first byte is written in DER. */
const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
} as const

/** Object identifiers as the hex of their content bytes. */
const Oid = {
  commonName: '550403',
  keyUsage: '551d0f',
  basicConstraints: '551d13',
  extendedKeyUsage: '551d25',
  rsaEncryption: '2a864886f70d010101',
  ecPublicKey: '2a8648ce3d0201',
} as const

const curves: ReadonlyMap<
  string,
  { readonly curve: EcCertificateKey['curve']; readonly fieldBytes: number }
> = /* @__PURE__ */ new Map([
  ['2a8648ce3d030107', { curve: 'P-256', fieldBytes: 32 }],
  ['2b81040022', { curve: 'P-384', fieldBytes: 48 }],
  ['2b81040023', { curve: 'P-521', fieldBytes: 66 }],
] as const)

/** Reads a certificate in DER that fills `der` to the last byte. Throws MalformedError. */
export function decodeX509(der: Uint8Array): CertificateFields {
  const certificate = decodeTlv(der)
  if (certificate.tag !== Tag.sequence) throw malformed('not a SEQUENCE')
  const outer = new Elements(certificate.value, 'Certificate')
  const body = new Elements(outer.take(Tag.sequence).value, 'TBSCertificate')
  outer.take(Tag.sequence)
  outer.take(Tag.bitString)
  outer.end()

  body.takeIf(Tag.version)
  const serialNumber = body.take(Tag.integer).der
  body.take(Tag.sequence)
  const issuer = body.take(Tag.sequence).der
  const validity = new Elements(body.take(Tag.sequence).value, 'Validity')
  const notBefore = readTime(validity.next())
  const notAfter = readTime(validity.next())
  validity.end()
  const subject = body.take(Tag.sequence)
  const publicKeyInfo = body.take(Tag.sequence)
  const subjectCommonNames = readCommonNames(subject.value)
  return {
    subject: subject.der,
    issuer,
    serialNumber,
    subjectCommonName: subjectCommonNames.at(-1),
    subjectCommonNames,
    publicKeyInfo: publicKeyInfo.der,
    key: readKey(publicKeyInfo.value),
    notBefore,
    notAfter,
    ...readUsages(findTlv(body.rest(), Tag.extensions)),
  }
}

interface Element {
  readonly tag: number
  readonly value: Uint8Array
  /** The whole element, header included. */
  readonly der: Uint8Array
}

/** The elements of a SEQUENCE or SET, taken one by one. */
class Elements {
  readonly #bytes: Uint8Array
  readonly #of: string
  #at = 0

  constructor(bytes: Uint8Array, of: string) {
    this.#bytes = bytes
    this.#of = of
  }

  get left(): boolean {
    return this.#at < this.#bytes.length
  }

  next(): Element {
    const header = readTlvHeader(this.#bytes, this.#at)
    if (header === undefined) throw malformed(`${this.#of} ends too early`)
    const start = this.#at + header.headerBytes
    const end = start + header.valueBytes
    if (end > this.#bytes.length) throw malformed(`an element runs over the end of ${this.#of}`)
    const der = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return { tag: header.tag, value: der.subarray(header.headerBytes), der }
  }

  take(tag: number): Element {
    const element = this.next()
    if (element.tag !== tag)
      throw malformed(`tag ${hex(element.tag)} in ${this.#of} where ${hex(tag)} belongs`)
    return element
  }

  takeIf(tag: number): Element | undefined {
    return this.#bytes[this.#at] === tag ? this.take(tag) : undefined
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at)
  }

  end(): void {
    if (this.left) throw malformed(`surplus bytes in ${this.#of}`)
  }
}

function readCommonNames(name: Uint8Array): string[] {
  const names: string[] = []
  const relatives = new Elements(name, 'Name')
  while (relatives.left) {
    const attributes = new Elements(relatives.take(Tag.set).value, 'RelativeDistinguishedName')
    while (attributes.left) {
      const attribute = new Elements(attributes.take(Tag.sequence).value, 'AttributeTypeAndValue')
      const type = toHex(attribute.take(Tag.oid).value)
      const value = attribute.next()
      attribute.end()
      if (type === Oid.commonName) names.push(readString(value))
    }
  }
  return names
}

/** For display: a byte that is no UTF-8 becomes U+FFFD and is no reason to hide the certificate. */
function readString({ tag, value }: Element): string {
  switch (tag) {
    case Tag.utf8String:
      return new (textDecoder())('utf-8').decode(value)
    case Tag.bmpString:
      return readUnits(value, 2)
    case Tag.universalString:
      return readUnits(value, 4)
    default:
      // PrintableString, IA5String and the like are ASCII; TeletexString is Latin-1 in every certificate that has one.
      return Array.from(value, (byte) => String.fromCharCode(byte)).join('')
  }
}

function readUnits(value: Uint8Array, unitBytes: 2 | 4): string {
  if (value.length % unitBytes !== 0)
    throw malformed(`a string of ${value.length} bytes in units of ${unitBytes}`)
  let text = ''
  for (let at = 0; at < value.length; at += unitBytes) {
    const unit = value.subarray(at, at + unitBytes).reduce((sum, byte) => sum * 0x100 + byte, 0)
    // A BMPString with surrogates is UTF-16 in practice: its units are put side by side.
    text +=
      unitBytes === 2 ? String.fromCharCode(unit) : String.fromCodePoint(unit > 0x10_ffff ? 0xfffd : unit)
  }
  return text
}

/** Every platform has it; the language's own types, which are all that this room compiles with, do not name it. */
function textDecoder(): new (encoding: 'utf-8') => { decode(bytes: Uint8Array): string } {
  return (globalThis as unknown as { TextDecoder: ReturnType<typeof textDecoder> }).TextDecoder
}

/** RFC 5280, 4.1.2.5: both forms in UTC, with seconds. */
function readTime({ tag, value }: Element): Date {
  const text = String.fromCharCode(...value.subarray(0, 20))
  const digits = tag === Tag.utcTime ? 12 : tag === Tag.generalizedTime ? 14 : 0
  if (digits === 0 || value.length !== digits + 1 || !/^\d+Z$/.test(text)) {
    throw malformed(`a time of ${value.length} bytes with tag ${hex(tag)}`)
  }
  const yearDigits = digits - 10
  const short = Number(text.slice(0, yearDigits))
  const year = yearDigits === 4 ? short : short < 50 ? 2000 + short : 1900 + short
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = (
    text.slice(yearDigits).match(/\d\d/g) ?? []
  ).map(Number)
  const time = new Date(0)
  time.setUTCFullYear(year, month - 1, day)
  time.setUTCHours(hour, minute, second)
  // The 31st of February would silently be a day in March.
  const isReal = time.getUTCMonth() === month - 1 && time.getUTCDate() === day && time.getUTCHours() === hour
  if (!isReal || minute > 59 || second > 59) throw malformed('a time that is no date')
  return time
}

function readKey(publicKeyInfo: Uint8Array): CertificateKey | undefined {
  const info = new Elements(publicKeyInfo, 'SubjectPublicKeyInfo')
  const algorithm = new Elements(info.take(Tag.sequence).value, 'AlgorithmIdentifier')
  const bits = readBits(info.take(Tag.bitString).value)
  info.end()
  const type = toHex(algorithm.take(Tag.oid).value)
  if (type === Oid.rsaEncryption) return readRsaKey(bits)
  if (type !== Oid.ecPublicKey) return undefined
  const parameters = algorithm.next()
  const curve = parameters.tag === Tag.oid ? curves.get(toHex(parameters.value)) : undefined
  if (curve === undefined || bits[0] === 0x02 || bits[0] === 0x03) return undefined
  if (bits[0] !== 0x04 || bits.length !== 1 + 2 * curve.fieldBytes) {
    throw malformed(`a point of ${bits.length} bytes on ${curve.curve}`)
  }
  return { type: 'ec', curve: curve.curve, parameters: parameters.der, point: bits }
}

function readRsaKey(bits: Uint8Array): RsaCertificateKey | undefined {
  const { tag, value } = decodeTlv(bits)
  if (tag !== Tag.sequence) throw malformed('an RSAPublicKey that is no SEQUENCE')
  const numbers = new Elements(value, 'RSAPublicKey')
  const modulus = readPositive(numbers.take(Tag.integer).value)
  const exponent = readPositive(numbers.take(Tag.integer).value)
  numbers.end()
  if (!areRsaNumbers(modulus, exponent)) return undefined
  return { type: 'rsa', modulus, exponent, bits: 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24 }
}

/** FIPS 186-5 allows public exponents below 2^256. */
const MAX_EXPONENT_BYTES = 32

/**
 * Whether these can be an RSA key's, both big-endian without zeros before them: under an exponent of 1 every message is
 * its own signature, and an even exponent or modulus is not RSA. A longer exponent only makes verifiers slow.
 */
export function areRsaNumbers(modulus: Uint8Array, exponent: Uint8Array): boolean {
  const isOdd = (magnitude: Uint8Array): boolean => ((magnitude.at(-1) ?? 0) & 1) === 1
  const isOne = exponent.length === 1 && exponent[0] === 1
  return isOdd(modulus) && isOdd(exponent) && !isOne && exponent.length <= MAX_EXPONENT_BYTES
}

function readPositive(integer: Uint8Array): Uint8Array {
  const magnitude = integer[0] === 0 ? integer.subarray(1) : integer
  if (magnitude.length === 0 || magnitude[0] === 0 || (integer[0] ?? 0) >= 0x80) {
    throw malformed('an RSA number that is not a positive INTEGER in DER')
  }
  return magnitude
}

/** A BIT STRING of whole bytes. */
function readBits(value: Uint8Array): Uint8Array {
  if (value[0] !== 0) throw malformed('a public key that is not of whole bytes')
  return value.subarray(1)
}

function readUsages(
  extensions: Uint8Array | undefined,
): Pick<CertificateFields, 'keyUsage' | 'extendedKeyUsage' | 'isAuthority'> {
  const found = new Map<string, Uint8Array>()
  if (extensions !== undefined) {
    const { tag, value } = decodeTlv(extensions)
    if (tag !== Tag.sequence) throw malformed('Extensions that are no SEQUENCE')
    const list = new Elements(value, 'Extensions')
    while (list.left) {
      const extension = new Elements(list.take(Tag.sequence).value, 'Extension')
      const id = toHex(extension.take(Tag.oid).value)
      extension.takeIf(Tag.boolean)
      const content = extension.take(Tag.octetString).value
      extension.end()
      // RFC 5280, 4.2: not more than one instance; two readers might each believe another one.
      if (found.has(id)) throw malformed('an extension that comes twice')
      found.set(id, content)
    }
  }
  const keyUsage = found.get(Oid.keyUsage)
  const extendedKeyUsage = found.get(Oid.extendedKeyUsage)
  const basicConstraints = found.get(Oid.basicConstraints)
  return {
    keyUsage: keyUsage && readKeyUsage(keyUsage),
    extendedKeyUsage: extendedKeyUsage && readPurposes(extendedKeyUsage),
    isAuthority: basicConstraints !== undefined && readAuthority(basicConstraints),
  }
}

function readKeyUsage(der: Uint8Array): KeyUsage[] {
  const { tag, value } = decodeTlv(der)
  const [unused, ...bytes] = value
  if (tag !== Tag.bitString || unused === undefined || unused > 7)
    throw malformed('a KeyUsage that is no BIT STRING')
  return keyUsageNames.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

function readAuthority(der: Uint8Array): boolean {
  const { tag, value } = decodeTlv(der)
  if (tag !== Tag.sequence) throw malformed('BasicConstraints that are not a SEQUENCE')
  const authority = new Elements(value, 'BasicConstraints').takeIf(Tag.boolean)
  return authority?.value.some((byte) => byte !== 0) === true
}

function readPurposes(der: Uint8Array): string[] {
  const { tag, value } = decodeTlv(der)
  if (tag !== Tag.sequence) throw malformed('an ExtKeyUsage that is no SEQUENCE')
  const list = new Elements(value, 'ExtKeyUsage')
  const purposes: string[] = []
  while (list.left) purposes.push(readOid(list.take(Tag.oid).value))
  return purposes
}

/** Twice a UUID, the largest that is in use (ITU-T X.667). */
const MAX_ARC_BITS = 256n

/** X.690, 8.19. Arcs may be of any size (2.25 has UUIDs below it), so they are counted in bigint. */
function readOid(content: Uint8Array): string {
  if (content.length === 0 || (content.at(-1) ?? 0) >= 0x80)
    throw malformed('an object identifier that is cut short')
  const arcs: bigint[] = []
  let arc = 0n
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    // Of any size, but not of the certificate's: each byte more costs as much as all before it.
    if (arc >> MAX_ARC_BITS > 0n) throw malformed('an object identifier with an endless number')
    if (byte >= 0x80) continue
    arcs.push(arc)
    arc = 0n
  }
  const [head = 0n, ...others] = arcs
  const root = head < 40n ? 0n : head < 80n ? 1n : 2n
  return [root, head - root * 40n, ...others].join('.')
}

function hex(tag: number): string {
  return tag.toString(16).toUpperCase().padStart(2, '0')
}

function malformed(detail: string): MalformedError {
  return new MalformedError('certificate', detail)
}
