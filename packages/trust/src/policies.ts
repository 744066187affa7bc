/**
 * Certificate policies: RFC 5280, 6.1.1 (c) and (e) to (g), 6.1.3 (d) to (f), 6.1.4 (a), (b), (h) to (j), 6.1.5. The tree of
 * the standard can grow without bound (CVE-2023-0464). Nodes of one policy on one level have the same future, so a level is
 * a Map, in which a node knows from which policies of the anchor's domain it comes.
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

/** What the caller asks of policies: RFC 5280, 6.1.1 (c) and (e) to (g). */
export interface PolicyOptions {
  /** Object identifiers, one of which has to be left at the end if a policy is required; default: any (user-initial-policy-set). */
  readonly acceptable?: readonly string[] | undefined
  /** The path has to be valid for a policy (initial-explicit-policy). */
  readonly required?: boolean | undefined
  /** CAs may not declare policies to be equivalent (initial-policy-mapping-inhibit). */
  readonly inhibitMapping?: boolean | undefined
  /** anyPolicy stands for nothing (initial-any-policy-inhibit). */
  readonly inhibitAny?: boolean | undefined
}

/** Throws TrustArgumentError. */
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

/** A node of the tree; its valid_policy is its key in a level. */
interface Node {
  /** expected_policy_set. */
  readonly expected: ReadonlySet<string>
  /** As which policies of the anchor's domain it is valid: those of its ancestors below anyPolicy. */
  readonly roots: ReadonlySet<string>
}

/** The nodes of one depth. */
type Level = ReadonlyMap<string, Node>

/** Certificates that may still follow before a rule begins. */
interface Counters {
  explicit: number
  mapping: number
  anyPolicy: number
}

/**
 * The user-constrained-policy-set of a path: the policies of the anchor's domain for which it is valid, among the
 * acceptable ones; anyPolicy for all. Undefined if a policy is required and none is left. `certificates` run from the
 * anchor, which is not among them, to the leaf. Throws RangeError.
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
    const takesAny = counters.anyPolicy > 0 || (!isLast && isSelfIssued)
    level = nextLevel(level, policiesOf(each), takesAny)
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
    tighten(counters, each)
  }
  const policies = acceptableOf(level, options.acceptable)
  return counters.explicit > 0 || policies.length > 0 ? policies : undefined
}

function nodeOf(policy: string, roots: ReadonlySet<string> = new Set([policy])): Node {
  return { expected: new Set([policy]), roots }
}

/** 6.1.5 (g). */
function acceptableOf(level: Level, acceptable: readonly string[] = [ANY_POLICY]): readonly string[] {
  const found = new Set([...level.values()].flatMap(({ roots }) => [...roots]))
  if (acceptable.includes(ANY_POLICY)) return [...found]
  return [...new Set(acceptable)].filter((policy) => found.has(policy) || found.has(ANY_POLICY))
}

/** 6.1.3 (d) and (e). */
function nextLevel(level: Level, policies: ReadonlySet<string>, takesAny: boolean): Level {
  const next = new Map<string, Node>()
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
  if (policies.has(ANY_POLICY) && takesAny) {
    for (const [policy, roots] of rootsOf) if (!next.has(policy)) next.set(policy, nodeOf(policy, roots))
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
  for (const [issuerPolicy, expected] of mappings) {
    if (issuerPolicy === ANY_POLICY || expected.has(ANY_POLICY)) return undefined
    const node = level.get(issuerPolicy) ?? (level.has(ANY_POLICY) ? nodeOf(issuerPolicy) : undefined)
    if (!isAllowed) mapped.delete(issuerPolicy)
    else if (node !== undefined) mapped.set(issuerPolicy, { ...node, expected })
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
  return new Set(extension === undefined ? [] : readPolicies(extension.value).map(({ id }) => id))
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
