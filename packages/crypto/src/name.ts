/** Decodes distinguished names and general names: RFC 5280, 4.1.2.4, 4.2.1.6 and 7.1. */
import { keyOf } from '@webtoki/apdu/bytes'
import { type DerElement, elementsOf, objectIdentifier, onlyElement, sequenceOf, Tag } from './der.ts'

/** A distinguished name in a form that can be compared. */
export interface Name {
  /** One string for each RelativeDistinguishedName. Equal RDNs (RFC 5280, 7.1) have equal strings. */
  readonly parts: readonly string[]
  /** One string for the whole name. Equal names have equal strings. */
  readonly key: string
  /** The attributes in the order of the name. */
  readonly attributes: readonly NameAttribute[]
}

/** One attribute of a name. */
export interface NameAttribute {
  /** Object identifier. */
  readonly type: string
  /** The text as written; undefined if the value is not a string or is invalid for its string type. */
  readonly text: string | undefined
  /**
   * Text for people and logs, passed through `escaped`. If the value is not text, its bytes, with non-ASCII ones as
   * `\C3`.
   */
  readonly shown: string
}

/** Object identifiers of common attributes of people and organizations (RFC 5280, appendix A.1). */
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

/** Decodes a Name in DER. Throws RangeError. */
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
    // Sorted, because a SET has no order. JSON, because a plain separator could be part of a value.
    return JSON.stringify(attributes.map((each) => JSON.stringify(each)).sort())
  })
  return { parts, key: JSON.stringify(parts), attributes: all }
}

/** Normalizes text for comparison: case, redundant spaces (RFC 5280, 7.1) and the string type are ignored. */
function folded(text: string): string {
  return text.normalize('NFKC').toLowerCase().trim().replace(/ +/g, ' ')
}

/** Returns `shown` of the last attribute of a type, which is the most specific one, or undefined if there is none. */
export function attributeOf({ attributes }: Name, type: string): string | undefined {
  return attributes.findLast((each) => each.type === type)?.shown
}

/**
 * Escapes untrusted text for display in the form of RFC 4514, 2.4: control characters, line separators and characters that
 * change the writing direction become `\00`, one escape per UTF-8 byte, and a backslash is doubled. Different texts stay
 * different.
 */
export function escaped(text: string): string {
  return text.replace(/[\\\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) =>
    character === '\\' ? '\\\\' : encodeURIComponent(character).replaceAll('%', '\\'),
  )
}

/**
 * Returns `shown` of an attribute for use in a whole name (RFC 4514, 2.4): a backslash precedes each character that would end
 * the value or change its form, so that one value with a comma cannot pass for two attributes.
 */
export function valueInName({ shown }: NameAttribute): string {
  return shown.replace(/^[ #]|[",+;<>]| $/g, String.raw`\$&`)
}

function escapedBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte < 0x80 ? escaped(String.fromCharCode(byte)) : `\\${byte.toString(16).toUpperCase()}`,
  ).join('')
}

/** Decodes a string. Returns undefined if it is not a string or its bytes are invalid for its type. */
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
      // In practice, certificates use Latin-1 in a TeletexString.
      return keyOf(value)
    case Tag.bmpString:
      return fromUnits(value, 2)
    case Tag.universalString:
      return fromUnits(value, 4)
    default:
      return undefined
  }
}

/** Decodes ASCII. Returns undefined if a byte is not ASCII. */
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
  // A lone surrogate is not a character.
  return /\p{Cs}/u.test(text) ? undefined : text
}

/** Tag numbers of the choices of GeneralName (RFC 5280, 4.2.1.6). */
export const NameType = {
  rfc822Name: 1,
  dNSName: 2,
  directoryName: 4,
  uniformResourceIdentifier: 6,
  iPAddress: 7,
} as const

/** One GeneralName. */
export interface GeneralName {
  /** Tag number: a `NameType` or another choice. */
  readonly type: number
  readonly value: Uint8Array
}

/** Decodes a GeneralName. Throws RangeError. */
export function generalName({ tag, value }: DerElement): GeneralName {
  const type = tag & 0x1f
  // Context-specific tags. The choices that contain other elements are constructed.
  const isConstructed = [0, 3, 4, 5].includes(type)
  if (type > 8 || tag !== (isConstructed ? 0xa0 : 0x80) + type) throw new RangeError('not a GeneralName')
  return { type, value: type === NameType.directoryName ? onlyElement(value, Tag.sequence).der : value }
}
