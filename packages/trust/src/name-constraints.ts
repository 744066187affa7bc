/** Name constraints: RFC 5280, 4.2.1.10 and 6.1.3 (b) and (c), whether or not the extension is marked critical. */
import {
  asciiOf,
  type DerElement,
  elementsOf,
  generalName,
  type GeneralName,
  type Name,
  NameType,
  readName,
  sequenceOf,
} from '@webtoki/crypto'

/** PKCS#9's, in subjects. */
const EMAIL_ADDRESS = '1.2.840.113549.1.9.1'

/** A name, read once; what cannot be read is absent. */
interface ConstrainedName {
  readonly type: number
  readonly parts?: readonly string[] | undefined
  /** In lower case, without the `*.` of a wildcard. */
  readonly host?: string | undefined
  readonly isWildcard?: boolean
  /** What stands before the host of a mailbox. */
  readonly local?: string
  readonly address?: Uint8Array
}

/** A certificate's names, as constraints see them. */
export type ConstrainedNames = readonly ConstrainedName[]

/** Whether a name of its type lies in the subtree; undefined if that cannot be told. */
type Subtree = (name: ConstrainedName) => boolean | undefined

interface Subtrees {
  readonly permitted: readonly Subtree[]
  readonly excluded: readonly Subtree[]
}

/** What one issuer's certificate says of the names below it, by type of name. */
export type NameConstraints = ReadonlyMap<number, Subtrees>

/** Reads the extension's value. Throws RangeError, also for a `minimum` or `maximum`, which RFC 5280 rules out. */
export function readNameConstraints(der: Uint8Array): NameConstraints {
  const found = new Map<number, { permitted: Subtree[]; excluded: Subtree[] }>()
  let before = 0
  for (const { tag, value } of sequenceOf(der)) {
    // permittedSubtrees [0], then excludedSubtrees [1], each at most once and with something in it.
    if ((tag !== 0xa0 && tag !== 0xa1) || tag <= before || value.length === 0)
      throw new RangeError('not NameConstraints')
    before = tag
    for (const each of elementsOf(value)) {
      const { type, value: base } = generalName(baseOf(each))
      const subtrees = found.get(type) ?? { permitted: [], excluded: [] }
      found.set(type, subtrees)
      subtrees[tag === 0xa0 ? 'permitted' : 'excluded'].push(subtreeOf(type, base))
    }
  }
  if (found.size === 0) throw new RangeError('NameConstraints that constrain nothing')
  return found
}

function baseOf(subtree: DerElement): DerElement {
  const [base, ...distances] = sequenceOf(subtree.der)
  // A minimum of 0 is the default, which DER leaves out and some issuers write.
  const isDefault = distances.every(({ tag, value }) => tag === 0x80 && value.length === 1 && value[0] === 0)
  if (base === undefined || distances.length > 1 || !isDefault)
    throw new RangeError('a subtree with a minimum or a maximum')
  return base
}

/**
 * The subject if it is not empty, its mailboxes, and all names of subjectAltName. RFC 5280 asks for the subject's
 * mailboxes only if there is no subjectAltName; they always count here, as for OpenSSL: mail programs read both. Throws
 * RangeError.
 */
export function constrainedNames(subject: Name, alternatives: Uint8Array | undefined): ConstrainedNames {
  return [
    ...(subject.parts.length > 0 ? [{ type: NameType.directoryName, parts: subject.parts }] : []),
    ...subject.attributes.filter(({ type }) => type === EMAIL_ADDRESS).map(({ text }) => mailboxName(text)),
    ...(alternatives === undefined ? [] : sequenceOf(alternatives).map(generalName).map(nameOf)),
  ]
}

function nameOf({ type, value }: GeneralName): ConstrainedName {
  switch (type) {
    case NameType.directoryName:
      return { type, parts: readName(value).parts }
    case NameType.rfc822Name:
      return mailboxName(asciiOf(value))
    case NameType.dNSName: {
      const text = asciiOf(value) ?? ''
      const isWildcard = text.startsWith('*.')
      return { type, isWildcard, host: hostOf(isWildcard ? text.slice(2) : text) }
    }
    case NameType.uniformResourceIdentifier: {
      const [, authority = ''] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#\\]*)/i.exec(asciiOf(value) ?? '') ?? []
      const host = hostOf(authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, ''))
      // RFC 5280: a URI with an address instead of a host name is refused wherever URIs are constrained.
      return { type, host: host === undefined || /^[\d.]+$/.test(host) ? undefined : host }
    }
    case NameType.iPAddress:
      return value.length === 4 || value.length === 16 ? { type, address: value } : { type }
    default:
      return { type }
  }
}

function mailboxName(text = ''): ConstrainedName {
  const type = NameType.rfc822Name
  const at = text.lastIndexOf('@')
  return at < 1 ? { type } : { type, local: text.slice(0, at), host: hostOf(text.slice(at + 1)) }
}

/** Letters, digits, hyphens (and underscores, which are common) between single dots; in lower case. */
function hostOf(text: string): string | undefined {
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(text) ? text.toLowerCase() : undefined
}

/**
 * Whether every name lies within the permitted subtrees of its type, if there are any, and outside the excluded ones. What
 * cannot be told is a no: a name that cannot be read, and a type that is not read here (otherName, say). `count` is
 * called for each comparison, to limit them.
 */
export function areWithin(names: ConstrainedNames, constraints: NameConstraints, count: () => void): boolean {
  return names.every((name) => {
    const { permitted = [], excluded = [] } = constraints.get(name.type) ?? {}
    const is = (wanted: boolean) => (subtree: Subtree) => {
      count()
      return subtree(name) === wanted
    }
    return (permitted.length === 0 || permitted.some(is(true))) && excluded.every(is(false))
  })
}

/** Throws RangeError if the base cannot be read: its issuer meant something that we do not know. */
function subtreeOf(type: number, base: Uint8Array): Subtree {
  switch (type) {
    case NameType.directoryName: {
      const { parts } = readName(base)
      return (name) => name.parts && parts.every((part, at) => part === name.parts?.[at])
    }
    case NameType.iPAddress:
      return addressSubtree(base)
    case NameType.rfc822Name:
      return mailboxSubtree(textOf(base))
    case NameType.dNSName:
      return dnsSubtree(textOf(base))
    case NameType.uniformResourceIdentifier:
      return hostSubtree(textOf(base))
    default:
      return () => undefined
  }
}

function textOf(base: Uint8Array): string {
  const text = asciiOf(base)
  if (text === undefined) throw new RangeError('a constraint that is not ASCII')
  return text
}

function requiredHost(text: string): string {
  const host = hostOf(text)
  if (host === undefined) throw new RangeError('a constraint that is not a host name')
  return host
}

/** Of mailboxes and URIs: one host, or with a dot before it, all hosts below a domain. */
function hostSubtree(base: string): Subtree {
  // The standard does not say what an empty one means.
  if (base === '') return () => undefined
  const isDomain = base.startsWith('.')
  const wanted = requiredHost(isDomain ? base.slice(1) : base)
  return ({ host }) =>
    host === undefined ? undefined : isDomain ? host.endsWith(`.${wanted}`) : host === wanted
}

/** A host or domain as above, or one mailbox. */
function mailboxSubtree(base: string): Subtree {
  const at = base.lastIndexOf('@')
  if (at < 0) return hostSubtree(base)
  const wanted = requiredHost(base.slice(at + 1))
  return ({ host, local }) =>
    host === undefined ? undefined : host === wanted && local === base.slice(0, at)
}

/** A host and all below it; with a dot before it, as OpenSSL reads it, only those below; empty, all of them. */
function dnsSubtree(base: string): Subtree {
  if (base === '') return ({ host }) => (host === undefined ? undefined : true)
  const isDomain = base.startsWith('.')
  const wanted = requiredHost(isDomain ? base.slice(1) : base)
  return ({ host, isWildcard }) => {
    if (host === undefined) return undefined
    if (host.endsWith(`.${wanted}`) || (host === wanted && (isWildcard || !isDomain))) return true
    // The wildcard stands for names within the subtree and for others.
    return isWildcard && wanted.endsWith(`.${host}`) ? undefined : false
  }
}

/** Address and mask, of four or sixteen bytes each. */
function addressSubtree(base: Uint8Array): Subtree {
  const bytes = base.length / 2
  const mask = base.subarray(bytes)
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if ((bytes !== 4 && bytes !== 16) || !/^1*0*$/.test(bits))
    throw new RangeError('a constraint that is not a range of addresses')
  return ({ address }) => {
    if (address?.length !== bytes) return address && false
    return address.every((byte, at) => ((byte ^ (base[at] ?? 0)) & (mask[at] ?? 0)) === 0)
  }
}
