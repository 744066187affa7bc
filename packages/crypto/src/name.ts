/** Names of people, issuers and hosts: RFC 5280, 4.1.2.4, 4.2.1.6 and 7.1. */
import { keyOf } from '@webtoki/apdu/bytes'
import { type DerElement, elementsOf, objectIdentifier, onlyElement, sequenceOf, Tag } from './der.ts'

/** A distinguished name, ready to be compared. */
export interface Name {
  /** One text for each RelativeDistinguishedName; equal ones are equal texts. */
  readonly parts: readonly string[]
  /** One text for the whole name. */
  readonly key: string
  /** In the order of the name. */
  readonly attributes: readonly NameAttribute[]
}

/** One attribute of a name. */
export interface NameAttribute {
  readonly type: string
  /** As it is written; undefined if it is not text, or its bytes are not of its string type. */
  readonly text: string | undefined
  /** For people and logs: `escaped`, or if it is not text, its bytes, those that are not printable ASCII as `\C3`. */
  readonly shown: string
}

/** Types of attributes by which certificates name people and organizations (RFC 5280, appendix A.1). */
export const AttributeType = {
  commonName: '2.5.4.3',
  surname: '2.5.4.4',
  serialNumber: '2.5.4.5',
  country: '2.5.4.6',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  givenName: '2.5.4.42',
  pseudonym: '2.5.4.65',
  emailAddress: '1.2.840.113549.1.9.1',
} as const

/** Reads a Name in DER. Throws RangeError. */
export function readName(der: Uint8Array): Name {
  const all: NameAttribute[] = []
  const parts = sequenceOf(der).map(({ tag, value }) => {
    if (tag !== Tag.set || value.length === 0) throw new RangeError('not a RelativeDistinguishedName')
    const attributes = elementsOf(value).map((each) => {
      const [oid, content, ...more] = sequenceOf(each.der)
      if (oid === undefined || content === undefined || more.length > 0)
        throw new RangeError('not an attribute of a name')
      const type = objectIdentifier(oid)
      const text = textOf(content)
      all.push({ type, text, shown: text === undefined ? escapedBytes(content.value) : escaped(text) })
      return [type, text === undefined ? keyOf(content.der) : folded(text), text !== undefined]
    })
    // A SET has no order. JSON keeps apart what a separator could run together.
    return JSON.stringify(attributes.map((each) => JSON.stringify(each)).sort())
  })
  return { parts, key: JSON.stringify(parts), attributes: all }
}

/** Case and spaces do not count (RFC 5280, 7.1), nor does which string type was chosen. */
function folded(text: string): string {
  return text.normalize('NFKC').toLowerCase().trim().replace(/ +/g, ' ')
}

/** The last attribute of a type, which is the most particular, as it is shown; undefined if there is none. */
export function attributeOf({ attributes }: Name, type: string): string | undefined {
  return attributes.findLast((each) => each.type === type)?.shown
}

/**
 * Text of others made safe to show, as RFC 4514, 2.4, writes it: control characters, line separators and the overrides of
 * the writing direction are `\00`, byte by byte in UTF-8, and a backslash is two. Different texts stay different.
 */
export function escaped(text: string): string {
  return text.replace(/[\\\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) =>
    character === '\\' ? '\\\\' : encodeURIComponent(character).replaceAll('%', '\\'),
  )
}

/**
 * An attribute's value as part of a whole name (RFC 4514, 2.4): what `shown` is, and a backslash before what would otherwise
 * end the value or be taken for another form of it. Between commas, it is then told apart from two attributes.
 */
export function valueInName({ shown }: NameAttribute): string {
  return shown.replace(/^[ #]|[",+;<>]| $/g, String.raw`\$&`)
}

function escapedBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte < 0x80 ? escaped(String.fromCharCode(byte)) : `\\${byte.toString(16).toUpperCase()}`,
  ).join('')
}

/** Undefined if it is not a string, or its bytes are not of its type. */
function textOf({ tag, value }: DerElement): string | undefined {
  switch (tag) {
    case Tag.utf8String:
      return fromUtf8(value)
    case Tag.numericString:
    case Tag.printableString:
    case Tag.ia5String:
    case Tag.visibleString:
      return asciiOf(value)
    case Tag.teletexString:
      // Latin-1 in every certificate that has one.
      return keyOf(value)
    case Tag.bmpString:
      return fromUnits(value, 2)
    case Tag.universalString:
      return fromUnits(value, 4)
    default:
      return undefined
  }
}

/** Undefined if a byte is not ASCII. */
export function asciiOf(bytes: Uint8Array): string | undefined {
  return bytes.every((byte) => byte < 0x80) ? keyOf(bytes) : undefined
}

function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function fromUnits(bytes: Uint8Array, unitBytes: 2 | 4): string | undefined {
  if (bytes.length % unitBytes !== 0) return undefined
  let text = ''
  for (let at = 0; at < bytes.length; at += unitBytes) {
    let unit = 0
    for (const byte of bytes.subarray(at, at + unitBytes)) unit = unit * 0x100 + byte
    if (unit > 0x10_ffff) return undefined
    text += unitBytes === 2 ? String.fromCharCode(unit) : String.fromCodePoint(unit)
  }
  // Half of a surrogate pair is not a character.
  return /\p{Cs}/u.test(text) ? undefined : text
}

/** The choices of GeneralName, by their tag numbers (RFC 5280, 4.2.1.6). */
export const NameType = {
  rfc822Name: 1,
  dNSName: 2,
  directoryName: 4,
  uniformResourceIdentifier: 6,
  iPAddress: 7,
} as const

/** One GeneralName. */
export interface GeneralName {
  /** The tag number: a `NameType`, or a kind that is not read here. */
  readonly type: number
  readonly value: Uint8Array
}

/** Throws RangeError. */
export function generalName({ tag, value }: DerElement): GeneralName {
  const type = tag & 0x1f
  // Context tags; constructed are those that hold further elements.
  const isConstructed = [0, 3, 4, 5].includes(type)
  if (type > 8 || tag !== (isConstructed ? 0xa0 : 0x80) + type) throw new RangeError('not a GeneralName')
  return { type, value: type === NameType.directoryName ? onlyElement(value, Tag.sequence).der : value }
}
