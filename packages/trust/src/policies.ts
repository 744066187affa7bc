/**
 * Certificate policies: RFC 5280, 6.1.3 (d) to (f), 6.1.4 (a), (b), (h) to (j), 6.1.5 (a), (b), (g), with any policy
 * acceptable to the user. Whether any policy is left hangs on the lowest level of the tree only, and nodes of one policy
 * on one level have the same future: the level is a Map, which cannot grow as the tree does (CVE-2023-0464).
 */
import {
  type DerElement,
  elementsOf,
  ExtensionId,
  objectIdentifier,
  type ReadCertificate,
  readCount,
  sequenceOf,
  Tag,
} from '@webtoki/crypto'

const ANY_POLICY = '2.5.29.32.0'

/** The extensions that `policiesHold` processes. */
export const policyExtensions: readonly string[] = [
  ExtensionId.certificatePolicies,
  ExtensionId.policyMappings,
  ExtensionId.policyConstraints,
  ExtensionId.inhibitAnyPolicy,
]

/** valid_policy → expected_policy_set of the nodes of one level. */
type Level = ReadonlyMap<string, ReadonlySet<string>>

/** Certificates that may still follow before a rule begins. */
interface Counters {
  explicit: number
  mapping: number
  anyPolicy: number
}

/** `path`: leaf first, anchor last. The anchor's constraints count, its policies do not. Throws RangeError. */
export function policiesHold(path: readonly ReadCertificate[]): boolean {
  // Nothing else ever asks for a policy; certificates whose policies cannot be read are then as good as before.
  const asks = path.some(
    ({ extensions }) =>
      extensions.has(ExtensionId.policyConstraints) || extensions.has(ExtensionId.policyMappings),
  )
  if (!asks) return true
  const [anchor, ...certificates] = path.toReversed()
  const counters: Counters = { explicit: Infinity, mapping: Infinity, anyPolicy: Infinity }
  // RFC 5280 takes an anchor's name and key alone; RFC 5937 its constraints too, which is stricter.
  if (anchor !== undefined) tighten(counters, anchor)
  let level: Level = new Map([[ANY_POLICY, new Set([ANY_POLICY])]])
  for (const [index, each] of certificates.entries()) {
    const isLast = index === certificates.length - 1
    const isSelfIssued = each.subject.key === each.issuer.key
    const takesAny = counters.anyPolicy > 0 || (!isLast && isSelfIssued)
    level = nextLevel(level, policiesOf(each), takesAny)
    if (counters.explicit === 0 && level.size === 0) return false
    if (isLast) {
      if (counters.explicit > 0) counters.explicit--
      const { explicit } = constraintsOf(each)
      if (explicit === 0) counters.explicit = 0
      continue
    }
    const mapped = mapLevel(level, mappingsOf(each), counters.mapping > 0)
    if (mapped === undefined) return false
    level = mapped
    if (!isSelfIssued) {
      for (const name of ['explicit', 'mapping', 'anyPolicy'] as const)
        if (counters[name] > 0) counters[name]--
    }
    tighten(counters, each)
  }
  return counters.explicit > 0 || level.size > 0
}

/** 6.1.3 (d) and (e). */
function nextLevel(level: Level, policies: ReadonlySet<string>, takesAny: boolean): Level {
  const next = new Map<string, ReadonlySet<string>>()
  const expected = new Set([...level.values()].flatMap((each) => [...each]))
  for (const policy of policies) {
    if (policy !== ANY_POLICY && (expected.has(policy) || level.has(ANY_POLICY)))
      next.set(policy, new Set([policy]))
  }
  if (policies.has(ANY_POLICY) && takesAny) {
    for (const policy of expected) if (!next.has(policy)) next.set(policy, new Set([policy]))
  }
  return next
}

/** 6.1.4 (a) and (b); undefined if a mapping is of anyPolicy or to it. */
function mapLevel(
  level: Level,
  mappings: ReadonlyMap<string, ReadonlySet<string>>,
  isAllowed: boolean,
): Level | undefined {
  const mapped = new Map(level)
  for (const [issuerPolicy, subjectPolicies] of mappings) {
    if (issuerPolicy === ANY_POLICY || subjectPolicies.has(ANY_POLICY)) return undefined
    if (!isAllowed) mapped.delete(issuerPolicy)
    else if (level.has(issuerPolicy) || level.has(ANY_POLICY)) mapped.set(issuerPolicy, subjectPolicies)
  }
  return mapped
}

/** 6.1.4 (i) and (j). */
function tighten(counters: Counters, certificate: ReadCertificate): void {
  const { explicit, mapping } = constraintsOf(certificate)
  counters.explicit = Math.min(counters.explicit, explicit)
  counters.mapping = Math.min(counters.mapping, mapping)
  const inhibit = certificate.extensions.get(ExtensionId.inhibitAnyPolicy)
  if (inhibit === undefined) return
  const [skip, ...more] = elementsOf(inhibit.value)
  if (skip === undefined || more.length > 0) throw new RangeError('not InhibitAnyPolicy')
  counters.anyPolicy = Math.min(counters.anyPolicy, readCount(skip, Tag.integer))
}

/** requireExplicitPolicy [0] and inhibitPolicyMapping [1]. */
function constraintsOf({ extensions }: ReadCertificate): {
  readonly explicit: number
  readonly mapping: number
} {
  const extension = extensions.get(ExtensionId.policyConstraints)
  if (extension === undefined) return { explicit: Infinity, mapping: Infinity }
  const fields = [...sequenceOf(extension.value)]
  if (fields.length === 0) throw new RangeError('PolicyConstraints that constrain nothing')
  const take = (tag: number): number =>
    fields[0]?.tag === tag ? readCount(fields.shift() as DerElement, tag) : Infinity
  const found = { explicit: take(0x80), mapping: take(0x81) }
  if (fields.length > 0) throw new RangeError('not PolicyConstraints')
  return found
}

function policiesOf({ extensions }: ReadCertificate): ReadonlySet<string> {
  const extension = extensions.get(ExtensionId.certificatePolicies)
  const found = new Set<string>()
  if (extension === undefined) return found
  for (const { der } of sequenceOf(extension.value)) {
    const [policy] = sequenceOf(der)
    if (policy === undefined) throw new RangeError('not a PolicyInformation')
    const id = objectIdentifier(policy)
    // RFC 5280, 4.2.1.4: no policy twice.
    if (found.has(id)) throw new RangeError('a policy twice')
    found.add(id)
  }
  if (found.size === 0) throw new RangeError('no policies')
  return found
}

function mappingsOf({ extensions }: ReadCertificate): ReadonlyMap<string, ReadonlySet<string>> {
  const extension = extensions.get(ExtensionId.policyMappings)
  const found = new Map<string, Set<string>>()
  if (extension === undefined) return found
  for (const { der } of sequenceOf(extension.value)) {
    const [from, to, ...more] = sequenceOf(der).map(objectIdentifier)
    if (from === undefined || to === undefined || more.length > 0) throw new RangeError('not a mapping')
    found.set(from, (found.get(from) ?? new Set()).add(to))
  }
  if (found.size === 0) throw new RangeError('no mappings')
  return found
}
