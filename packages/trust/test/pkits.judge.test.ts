import { PathError, verifyPath } from '@webtoki/trust/path'
import { describe, expect, it } from 'vitest'
import pkits from './vectors/pkits.json' with { type: 'json' }

const revocation = 'revoked, or without a good CRL: verifyPath does not check revocation'

/** Tests whose result differs from that of PKITS, with the reason. */
const deviations: Readonly<Record<string, string>> = {
  '4.1.4': 'DSA, which WebCrypto does not support',
  '4.4.2': revocation,
  '4.4.4': revocation,
  '4.4.15': revocation,
  '4.4.20': revocation,
  '4.5.5': revocation,
  '4.14.31': revocation,
  '4.14.34': revocation,
  '4.15.9': revocation,
}
/** The expected reasons, for tests whose name states one. */
const reasons: Readonly<Record<string, string>> = {
  '4.2.5': 'issuer-expired',
  '4.2.7': 'expired',
  '4.3.1': 'untrusted',
  '4.3.2': 'untrusted',
  '4.6.1': 'not-a-ca',
  '4.6.10': 'path-too-long',
  '4.6.11': 'path-too-long',
  '4.7.1': 'not-a-ca',
  '4.8.3': 'policy',
  '4.8.14': 'policy',
  '4.10.1': 'policy',
  '4.11.11': 'policy',
  '4.13.13': 'name-constraints',
  '4.13.26': 'name-constraints',
  '4.13.35': 'name-constraints',
}

const certificates: Readonly<Record<string, string>> = pkits.certificates
const read = (name: string): Uint8Array => new Uint8Array(Buffer.from(certificates[name] ?? '', 'base64'))

interface Test {
  readonly certs: readonly string[]
  readonly initialPolicySet?: readonly string[] | undefined
  readonly initialExplicitPolicy?: boolean | undefined
  readonly initialPolicyMappingInhibit?: boolean | undefined
}

/** Returns 'valid' and the policies, or the reason of the error. */
async function webtokiVerdict(test: Test): Promise<readonly [outcome: string, policies?: readonly string[]]> {
  const [anchor, ...rest] = test.certs.map(read)
  const leaf = rest.pop()
  if (anchor === undefined || leaf === undefined) throw new Error('A test needs two certificates.')
  try {
    const { policies } = await verifyPath(leaf, {
      anchors: [anchor],
      intermediates: rest,
      at: new Date(pkits.at),
      policies: {
        acceptable: test.initialPolicySet,
        required: test.initialExplicitPolicy,
        inhibitMapping: test.initialPolicyMappingInhibit,
      },
    })
    return ['valid', policies]
  } catch (error) {
    if (!(error instanceof PathError)) throw error
    return [error.reason]
  }
}

describe('verifyPath with NIST’s PKITS', () => {
  it.each(pkits.tests.filter(({ test }) => !(test in deviations)))(
    '$test $name: valid is $valid',
    async (each) => {
      const [outcome, policies] = await webtokiVerdict(each)
      expect(outcome === 'valid').toBe(each.valid)
      expect(outcome).toBe(reasons[each.test] ?? outcome)
      if (each.valid) expect(policies).toEqual(each.userConstrainedPolicySet)
    },
  )

  it.each(
    pkits.tests
      .filter(({ test }) => test in deviations)
      .map((each) => ({ ...each, why: deviations[each.test] })),
  )('$test $name deviates: $why', async (each) => {
    // A deviation that no longer exists has to be removed from the list.
    const [outcome] = await webtokiVerdict(each)
    expect(outcome === 'valid').toBe(!each.valid)
  })
})
