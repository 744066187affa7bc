/**
 * Certificate policies: RFC 5280, 6.1.1 (c) and (e) to (g), 6.1.3 (d) to (f), 6.1.4 (a), (b), (h) to (j), 6.1.5. The
 * policy tree of the standard can grow exponentially (CVE-2023-0464). Nodes of one policy at one depth have the same
 * subtrees, so each depth is a Map with one node for each policy. A node records the policies of the anchor's domain
 * that it descends from.
 */
import {
  type DerElement,
  elementsOf,
  ExtensionId,
  objectIdentifier,
  type ReadCertificate,
  readCount,
  readPolicies,
  sequenceOf,
  Tag,
} from '@webtoki/crypto'

import { requireOptions } from './arguments.ts'
import { TrustArgumentError } from './errors.ts'

const ANY_POLICY = '2.5.29.32.0'

/** The caller's inputs to policy processing: RFC 5280, 6.1.1 (c) and (e) to (g). */
export interface PolicyOptions {
  /** Object identifiers of the policies that the caller accepts; default: any policy (user-initial-policy-set). */
  readonly acceptable?: readonly string[] | undefined
  /** True if the path has to be valid for one of the acceptable policies (initial-explicit-policy). */
  readonly required?: boolean | undefined
  /** True if policy mappings of CAs are not allowed (initial-policy-mapping-inhibit). */
  readonly inhibitMapping?: boolean | undefined
  /** True if anyPolicy in a certificate matches no policy (initial-any-policy-inhibit). */
  readonly inhibitAny?: boolean | undefined
}

/** Throws TrustArgumentError, which names the option. */
export function requirePolicyOptions(argument: string, options: PolicyOptions): void {
  requireOptions(argument, options)
  const { acceptable, ...switches } = options
  const isList = Array.isArray(acceptable) && acceptable.every((each) => typeof each === 'string')
  if (acceptable !== undefined && !isList)
    throw new TrustArgumentError(`${argument}.acceptable`, 'a list of object identifiers')
  for (const [name, value] of Object.entries(switches))
    if (value !== undefined && typeof value !== 'boolean')
      throw new TrustArgumentError(`${argument}.${name}`, 'true or false')
}

/** The extensions that `validPolicies` processes. */
export const policyExtensions: readonly string[] = [
  ExtensionId.certificatePolicies,
  ExtensionId.policyMappings,
  ExtensionId.policyConstraints,
  ExtensionId.inhibitAnyPolicy,
]

/** A node of the policy tree. Its valid_policy is its key in the level. */
interface PolicyNode {
  /** expected_policy_set. */
  readonly expected: ReadonlySet<string>
  /** The policies of the anchor's domain that it descends from: its topmost ancestors below anyPolicy. */
  readonly roots: ReadonlySet<string>
}

/** The nodes at one depth of the tree. */
type Level = ReadonlyMap<string, PolicyNode>

/**
 * How many certificates may follow before each rule takes effect (explicit_policy, policy_mapping, inhibit_anyPolicy).
 */
interface Counters {
  explicit: number
  mapping: number
  anyPolicy: number
}

/**
 * Returns the user-constrained-policy-set of a path: the acceptable policies of the anchor's domain for which it is
 * valid; anyPolicy means all. Returns undefined if a policy is required and none is left. `certificates` begins with
 * the certificate that the anchor issued and ends with the leaf. Throws RangeError if an extension cannot be parsed.
 */
export function validPolicies(
  certificates: readonly ReadCertificate[],
  options: PolicyOptions,
): readonly string[] | undefined {
  const counters: Counters = {
    explicit: options.required === true ? 0 : Infinity,
    mapping: options.inhibitMapping === true ? 0 : Infinity,
    anyPolicy: options.inhibitAny === true ? 0 : Infinity,
  }
  let level: Level = new Map([[ANY_POLICY, nodeOf(ANY_POLICY)]])
  for (const [index, each] of certificates.entries()) {
    const isLast = index === certificates.length - 1
    const isSelfIssued = each.subject.key === each.issuer.key
    const allowsAnyPolicy = counters.anyPolicy > 0 || (!isLast && isSelfIssued)
    level = nextLevel(level, policiesOf(each), allowsAnyPolicy)
    if (counters.explicit === 0 && level.size === 0) return undefined
    if (isLast) {
      if (counters.explicit > 0) counters.explicit--
      if (constraintsOf(each).explicit === 0) counters.explicit = 0
      continue
    }
    const mapped = mapLevel(level, mappingsOf(each), counters.mapping > 0)
    if (mapped === undefined) return undefined
    level = mapped
    if (!isSelfIssued) {
      for (const name of ['explicit', 'mapping', 'anyPolicy'] as const)
        if (counters[name] > 0) counters[name]--
    }
    applyConstraints(counters, each)
  }
  const policies = acceptableOf(level, options.acceptable)
  return counters.explicit > 0 || policies.length > 0 ? policies : undefined
}

function nodeOf(policy: string, roots: ReadonlySet<string> = new Set([policy])): PolicyNode {
  return { expected: new Set([policy]), roots }
}

/** RFC 5280, 6.1.5 (g). */
function acceptableOf(level: Level, acceptable: readonly string[] = [ANY_POLICY]): readonly string[] {
  const found = new Set([...level.values()].flatMap(({ roots }) => [...roots]))
  if (acceptable.includes(ANY_POLICY)) return [...found]
  return [...new Set(acceptable)].filter((policy) => found.has(policy) || found.has(ANY_POLICY))
}

/** RFC 5280, 6.1.3 (d) and (e). */
function nextLevel(level: Level, policies: ReadonlySet<string>, allowsAnyPolicy: boolean): Level {
  const next = new Map<string, PolicyNode>()
  const rootsOf = new Map<string, Set<string>>()
  for (const { expected, roots } of level.values()) {
    for (const policy of expected) {
      const known = rootsOf.get(policy) ?? new Set()
      for (const root of roots) known.add(root)
      rootsOf.set(policy, known)
    }
  }
  for (const policy of policies) {
    const roots = rootsOf.get(policy) ?? (level.has(ANY_POLICY) ? new Set([policy]) : undefined)
    if (policy !== ANY_POLICY && roots !== undefined) next.set(policy, nodeOf(policy, roots))
  }
  if (policies.has(ANY_POLICY) && allowsAnyPolicy) {
    for (const [policy, roots] of rootsOf) if (!next.has(policy)) next.set(policy, nodeOf(policy, roots))
  }
  return next
}

/** RFC 5280, 6.1.4 (a) and (b). Returns undefined if a mapping is from or to anyPolicy. */
function mapLevel(
  level: Level,
  mappings: ReadonlyMap<string, ReadonlySet<string>>,
  isAllowed: boolean,
): Level | undefined {
  const mapped = new Map(level)
  for (const [issuerPolicy, expected] of mappings) {
    if (issuerPolicy === ANY_POLICY || expected.has(ANY_POLICY)) return undefined
    const node = level.get(issuerPolicy) ?? (level.has(ANY_POLICY) ? nodeOf(issuerPolicy) : undefined)
    if (!isAllowed) mapped.delete(issuerPolicy)
    else if (node !== undefined) mapped.set(issuerPolicy, { ...node, expected })
  }
  return mapped
}

/** RFC 5280, 6.1.4 (i) and (j). */
function applyConstraints(counters: Counters, certificate: ReadCertificate): void {
  const { explicit, mapping } = constraintsOf(certificate)
  counters.explicit = Math.min(counters.explicit, explicit)
  counters.mapping = Math.min(counters.mapping, mapping)
  const inhibit = certificate.extensions.get(ExtensionId.inhibitAnyPolicy)
  if (inhibit === undefined) return
  const [skip, ...more] = elementsOf(inhibit.value)
  if (skip === undefined || more.length > 0) throw new RangeError('not InhibitAnyPolicy')
  counters.anyPolicy = Math.min(counters.anyPolicy, readCount(skip, Tag.integer))
}

/** Parses PolicyConstraints: requireExplicitPolicy [0] and inhibitPolicyMapping [1]. Absent fields are Infinity. */
function constraintsOf({ extensions }: ReadCertificate): {
  readonly explicit: number
  readonly mapping: number
} {
  const extension = extensions.get(ExtensionId.policyConstraints)
  if (extension === undefined) return { explicit: Infinity, mapping: Infinity }
  const fields = [...sequenceOf(extension.value)]
  if (fields.length === 0) throw new RangeError('PolicyConstraints without fields')
  const takeField = (tag: number): number =>
    fields[0]?.tag === tag ? readCount(fields.shift() as DerElement, tag) : Infinity
  const found = { explicit: takeField(0x80), mapping: takeField(0x81) }
  if (fields.length > 0) throw new RangeError('not PolicyConstraints')
  return found
}

function policiesOf({ extensions }: ReadCertificate): ReadonlySet<string> {
  const extension = extensions.get(ExtensionId.certificatePolicies)
  return new Set(extension === undefined ? [] : readPolicies(extension.value).map(({ id }) => id))
}

function mappingsOf({ extensions }: ReadCertificate): ReadonlyMap<string, ReadonlySet<string>> {
  const extension = extensions.get(ExtensionId.policyMappings)
  const found = new Map<string, Set<string>>()
  if (extension === undefined) return found
  for (const { der } of sequenceOf(extension.value)) {
    const [from, to, ...more] = sequenceOf(der).map(objectIdentifier)
    if (from === undefined || to === undefined || more.length > 0)
      throw new RangeError('not a policy mapping')
    found.set(from, (found.get(from) ?? new Set()).add(to))
  }
  if (found.size === 0) throw new RangeError('PolicyMappings without a mapping')
  return found
}
