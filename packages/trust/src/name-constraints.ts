/** Name constraints: RFC 5280, 4.2.1.10 and 6.1.3 (b) and (c). They apply even if the extension is not critical. */
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

/** The PKCS#9 attribute emailAddress in a subject. */
const EMAIL_ADDRESS = '1.2.840.113549.1.9.1'

/** A parsed name; members that cannot be parsed are absent. */
interface ConstrainedName {
  readonly type: number
  readonly parts?: readonly string[] | undefined
  /** Lower case, without the `*.` of a wildcard. */
  readonly host?: string | undefined
  readonly isWildcard?: boolean
  /** The local part of a mailbox, before the `@`. */
  readonly local?: string
  readonly address?: Uint8Array
}

/** The names of a certificate that name constraints apply to. */
export type ConstrainedNames = readonly ConstrainedName[]

/** Returns whether a name of the subtree's type is within the subtree, and undefined if that cannot be decided. */
type Subtree = (name: ConstrainedName) => boolean | undefined

interface Subtrees {
  readonly permitted: readonly Subtree[]
  readonly excluded: readonly Subtree[]
}

/** The name constraints of one issuer, by type of name. */
export type NameConstraints = ReadonlyMap<number, Subtrees>

/**
 * Parses the value of the extension. Throws RangeError, also for a `minimum` or `maximum`, which RFC 5280 does not
 * allow.
 */
export function readNameConstraints(der: Uint8Array): NameConstraints {
  const found = new Map<number, { permitted: Subtree[]; excluded: Subtree[] }>()
  let previousTag = 0
  for (const { tag, value } of sequenceOf(der)) {
    // permittedSubtrees [0], then excludedSubtrees [1], each at most once and not empty.
    if ((tag !== 0xa0 && tag !== 0xa1) || tag <= previousTag || value.length === 0)
      throw new RangeError('not NameConstraints')
    previousTag = tag
    for (const each of elementsOf(value)) {
      const { type, value: base } = generalName(baseOf(each))
      const subtrees = found.get(type) ?? { permitted: [], excluded: [] }
      found.set(type, subtrees)
      subtrees[tag === 0xa0 ? 'permitted' : 'excluded'].push(subtreeOf(type, base))
    }
  }
  if (found.size === 0) throw new RangeError('NameConstraints without subtrees')
  return found
}

function baseOf(subtree: DerElement): DerElement {
  const [base, ...distances] = sequenceOf(subtree.der)
  // A minimum of 0 is the default. DER omits it, but some issuers encode it.
  const isDefault = distances.every(({ tag, value }) => tag === 0x80 && value.length === 1 && value[0] === 0)
  if (base === undefined || distances.length > 1 || !isDefault)
    throw new RangeError('a subtree with a minimum or a maximum')
  return base
}

/**
 * Returns the subject if it is not empty, the mailboxes in the subject, and all names of subjectAltName. RFC 5280
 * constrains mailboxes in the subject only if there is no subjectAltName. They are always constrained here, as in
 * OpenSSL, because mail programs read both. Throws RangeError.
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
      // RFC 5280, 4.2.1.10: if URIs are constrained, a URI with an IP address instead of a host name is refused.
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
  const atIndex = text.lastIndexOf('@')
  return atIndex < 1
    ? { type }
    : { type, local: text.slice(0, atIndex), host: hostOf(text.slice(atIndex + 1)) }
}

/**
 * Returns the host in lower case; undefined if it has other characters than letters, digits, hyphens, underscores and
 * single dots.
 */
function hostOf(text: string): string | undefined {
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(text) ? text.toLowerCase() : undefined
}

/**
 * Returns true if every name is within a permitted subtree of its type, if there are any, and outside all excluded
 * ones. Returns false if that cannot be decided: for a name that cannot be parsed, and for an unsupported type of name
 * such as otherName. `count` is called before each comparison and throws if there are too many.
 */
export function areWithin(names: ConstrainedNames, constraints: NameConstraints, count: () => void): boolean {
  return names.every((name) => {
    const { permitted = [], excluded = [] } = constraints.get(name.type) ?? {}
    const matches = (expected: boolean) => (subtree: Subtree) => {
      count()
      return subtree(name) === expected
    }
    return (permitted.length === 0 || permitted.some(matches(true))) && excluded.every(matches(false))
  })
}

/** Throws RangeError if the base cannot be parsed: ignoring it would lift a constraint that the issuer set. */
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

/** A constraint of mailboxes or URIs: one host, or with a leading dot, all hosts of a domain. */
function hostSubtree(base: string): Subtree {
  // RFC 5280 does not define the meaning of an empty base.
  if (base === '') return () => undefined
  const isDomain = base.startsWith('.')
  const baseHost = requiredHost(isDomain ? base.slice(1) : base)
  return ({ host }) =>
    host === undefined ? undefined : isDomain ? host.endsWith(`.${baseHost}`) : host === baseHost
}

/** A constraint of mailboxes: a host or domain as in `hostSubtree`, or one mailbox. */
function mailboxSubtree(base: string): Subtree {
  const atIndex = base.lastIndexOf('@')
  if (atIndex < 0) return hostSubtree(base)
  const baseHost = requiredHost(base.slice(atIndex + 1))
  return ({ host, local }) =>
    host === undefined ? undefined : host === baseHost && local === base.slice(0, atIndex)
}

/**
 * A constraint of DNS names: a host and its subdomains. With a leading dot, which OpenSSL accepts, only the subdomains.
 * An empty base matches every name.
 */
function dnsSubtree(base: string): Subtree {
  if (base === '') return ({ host }) => (host === undefined ? undefined : true)
  const isDomain = base.startsWith('.')
  const baseHost = requiredHost(isDomain ? base.slice(1) : base)
  return ({ host, isWildcard }) => {
    if (host === undefined) return undefined
    if (host.endsWith(`.${baseHost}`) || (host === baseHost && (isWildcard || !isDomain))) return true
    // The wildcard covers names inside the subtree and names outside it.
    return isWildcard && baseHost.endsWith(`.${host}`) ? undefined : false
  }
}

/** A constraint of IP addresses: address and mask, four or sixteen bytes each. */
function addressSubtree(base: Uint8Array): Subtree {
  const bytes = base.length / 2
  const mask = base.subarray(bytes)
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if ((bytes !== 4 && bytes !== 16) || !/^1*0*$/.test(bits))
    throw new RangeError('a constraint that is not an address range')
  return ({ address }) => {
    if (address?.length !== bytes) return address && false
    return address.every((byte, at) => ((byte ^ (base[at] ?? 0)) & (mask[at] ?? 0)) === 0)
  }
}
