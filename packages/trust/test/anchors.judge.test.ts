/** Which parts of an anchor are checked, critical extensions, and certificates that cannot be parsed. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PathError, verifyPath } from '@webtoki/trust/path'
import { Extension } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { der, type Issued, issue, text } from './pki.ts'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Anchors are not compared with OpenSSL: ${missing}.`)

let folder: string
let root: Issued
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-anchors-'))
  root = await issue({ name: 'root', isCa: true })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = new Date('2026-12-01T12:00:00Z')

/** Whether OpenSSL accepts the path; the anchor need not be a root. */
function opensslAccepts(leaf: Uint8Array, intermediates: readonly Uint8Array[], anchor: Uint8Array): boolean {
  const pem = (name: string, certificates: readonly Uint8Array[]): string => {
    const block = (bytes: Uint8Array): string =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE-----\n`
    writeFileSync(join(folder, name), certificates.map(block).join(''))
    return join(folder, name)
  }
  const args = ['verify', '-attime', String(at.getTime() / 1000), '-partial_chain', '-policy_check']
  args.push('-CAfile', pem('anchor.pem', [anchor]))
  if (intermediates.length > 0) args.push('-untrusted', pem('between.pem', intermediates))
  return spawnSync('openssl', [...args, pem('leaf.pem', [leaf])], { encoding: 'utf8' }).status === 0
}

async function webtokiVerdict(
  leaf: Uint8Array,
  intermediates: readonly Uint8Array[],
  ...anchors: readonly Uint8Array[]
): Promise<string> {
  try {
    await verifyPath(leaf, { anchors, intermediates, at })
    return 'trusted'
  } catch (error) {
    return error instanceof PathError ? error.reason : String(error)
  }
}

const critical = (extnID: string, value: Uint8Array): Extension =>
  new Extension({ extnID, critical: true, extnValue: Uint8Array.from(value).buffer })
const country = (code: string): Uint8Array =>
  der(0x30, der(0x31, der(0x30, [0x06, 3, 0x55, 4, 6], der(0x13, text(code)))))
const permitted = (code: string): Extension =>
  critical('2.5.29.30', der(0x30, der(0xa0, der(0x30, der(0xa4, country(code))))))
const requiresPolicy = critical('2.5.29.36', der(0x30, [0x80, 1, 0]))
const noAnyPolicy = critical('2.5.29.54', der(0x02, [0]))
const policyWith = (...qualifier: readonly Uint8Array[]): Extension =>
  critical('2.5.29.32', der(0x30, der(0x30, [0x06, 2, 0x2a, 1], der(0x30, der(0x30, ...qualifier)))))
const crlAt = critical(
  '2.5.29.31',
  der(0x30, der(0x30, der(0xa0, der(0xa0, der(0x86, text('http://ca.example/crl')))))),
)

describe.skipIf(missing !== undefined)('a trust anchor, compared with OpenSSL,', () => {
  it.each<readonly [string, readonly Extension[], string]>([
    ['with critical name constraints that permit the leaf is trusted', [permitted('EE')], 'trusted'],
    [
      'with critical name constraints that exclude the leaf refuses the path',
      [permitted('FI')],
      'name-constraints',
    ],
    ['that requires an explicit policy is trusted without one', [requiresPolicy], 'trusted'],
    [
      'that inhibits anyPolicy and requires a policy is trusted without one',
      [noAnyPolicy, requiresPolicy],
      'trusted',
    ],
  ])('%s', async (_what, extensions, expected) => {
    for (const isRoot of [true, false]) {
      const issuer = isRoot ? {} : { issuer: root }
      const anchor = await issue({ name: 'anchor', isCa: true, extensions, ...issuer })
      const leaf = await issue({ name: 'leaf', issuer: anchor })
      expect(await webtokiVerdict(leaf.der, [], anchor.der)).toBe(expected)
      expect(opensslAccepts(leaf.der, [], anchor.der)).toBe(expected === 'trusted')
    }
  })

  it('that requires a policy enforces it as an intermediate but not as an anchor', async () => {
    const ca = await issue({ name: 'ca', issuer: root, isCa: true, extensions: [requiresPolicy] })
    const leaf = await issue({ name: 'leaf', issuer: ca })
    expect([
      await webtokiVerdict(leaf.der, [ca.der], root.der),
      opensslAccepts(leaf.der, [ca.der], root.der),
    ]).toEqual(['policy', false])
    expect([await webtokiVerdict(leaf.der, [], ca.der), opensslAccepts(leaf.der, [], ca.der)]).toEqual([
      'trusted',
      true,
    ])
  })

  it('of X.509 version 1 is trusted, and one of version 3 that is not a CA is not', async () => {
    const run = (...args: readonly string[]): void => {
      const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' })
      if (status !== 0) throw new Error(stderr)
    }
    const old = await issue({ name: 'old', isCa: true })
    writeFileSync(
      join(folder, 'key.pem'),
      `-----BEGIN PRIVATE KEY-----\n${Buffer.from(
        await crypto.subtle.exportKey('pkcs8', old.keys.privateKey as CryptoKey),
      ).toString('base64')}\n-----END PRIVATE KEY-----\n`,
    )
    run('req', '-new', '-key', 'key.pem', '-subj', '/C=EE/CN=old', '-utf8', '-out', 'old.csr')
    // Without extensions OpenSSL makes version 1.
    run(
      'x509',
      '-req',
      '-in',
      'old.csr',
      '-signkey',
      'key.pem',
      '-days',
      '9',
      '-outform',
      'DER',
      '-out',
      'old',
    )
    const anchor = new Uint8Array(readFileSync(join(folder, 'old')))
    const leaf = await issue({ name: 'leaf', issuer: old })
    const now = { anchors: [anchor], at: new Date() }
    expect((await verifyPath(leaf.der, now)).path).toHaveLength(2)
    run('x509', '-inform', 'DER', '-in', 'old', '-out', 'old.pem')
    writeFileSync(join(folder, 'leaf'), leaf.der)
    run('x509', '-inform', 'DER', '-in', 'leaf', '-out', 'leaf.pem')
    run('verify', '-CAfile', 'old.pem', 'leaf.pem')
    const person = await issue({ name: 'person' })
    const other = await issue({ name: 'other', issuer: person })
    expect([
      await webtokiVerdict(other.der, [], person.der),
      opensslAccepts(other.der, [], person.der),
    ]).toEqual(['not-a-ca', false])
  })

  it('trusts a path whose certificates have a critical cRLDistributionPoints, with revocation not checked', async () => {
    const ca = await issue({ name: 'ca', issuer: root, isCa: true, extensions: [crlAt] })
    const leaf = await issue({ name: 'leaf', issuer: ca, extensions: [crlAt] })
    expect([
      await webtokiVerdict(leaf.der, [ca.der], root.der),
      opensslAccepts(leaf.der, [ca.der], root.der),
    ]).toEqual(['trusted', true])
    const { notChecked } = await verifyPath(leaf.der, {
      anchors: [root.der],
      intermediates: [ca.der],
      at,
    })
    expect(notChecked).toEqual(['revocation'])
  })
})

describe('a critical extension', () => {
  it('that is unknown refuses a leaf and an intermediate, but not an anchor (RFC 5280, 6.1.1 (d))', async () => {
    const odd = await issue({ name: 'odd', issuer: root, isCa: true, unknownCritical: true })
    const leaf = await issue({ name: 'leaf', issuer: odd })
    expect(await webtokiVerdict(leaf.der, [odd.der], root.der)).toBe('unknown-critical-extension')
    expect(await webtokiVerdict(leaf.der, [], odd.der)).toBe('trusted')
    const oddLeaf = await issue({ name: 'leaf', issuer: root, unknownCritical: true })
    expect(await webtokiVerdict(oddLeaf.der, [], root.der)).toBe('unknown-critical-extension')
  })

  it.each<readonly [string, readonly Uint8Array[], string]>([
    [
      'a CPS pointer',
      [der(0x06, [0x2b, 6, 1, 5, 5, 7, 2, 1]), der(0x16, text('http://ca.example'))],
      'trusted',
    ],
    [
      'a user notice',
      [der(0x06, [0x2b, 6, 1, 5, 5, 7, 2, 2]), der(0x30, der(0x0c, text('hello')))],
      'trusted',
    ],
    ['an unknown qualifier', [der(0x06, [0x2a, 9]), der(0x05)], 'unknown-critical-extension'],
    ['a qualifier with a third field', [der(0x06, [0x2a, 9]), der(0x05), der(0x05)], 'malformed'],
  ])('certificatePolicies with %s as qualifier: %s', async (_what, qualifier, expected) => {
    const leaf = await issue({ name: 'leaf', issuer: root, extensions: [policyWith(...qualifier)] })
    expect(await webtokiVerdict(leaf.der, [], root.der)).toBe(expected)
  })
})

describe('a certificate that cannot be parsed', () => {
  const damaged = Uint8Array.of(0x30, 3, 2, 1, 1)

  it('among the anchors is reported in the result and does not affect the other anchors', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root })
    const { path, unusableAnchors } = await verifyPath(leaf.der, { anchors: [damaged, root.der], at })
    expect(path).toHaveLength(2)
    expect(unusableAnchors).toMatchObject([{ index: 0, error: { code: 'trust/malformed' } }])
    const { unusableAnchors: none } = await verifyPath(leaf.der, { anchors: [root.der], at })
    expect(none).toEqual([])
  })

  it('among the anchors is reported in the error if no path is found', async () => {
    const leaf = await issue({ name: 'leaf', issuer: await issue({ name: 'unrelated', isCa: true }) })
    await expect(verifyPath(leaf.der, { anchors: [root.der, damaged], at })).rejects.toMatchObject({
      reason: 'untrusted',
      unusableAnchors: [{ index: 1 }],
    })
  })

  it('among the intermediates is reported in the result, and in the error if no path is found', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root })
    const intermediates = [root.der, damaged]
    const unusableIntermediates = [{ index: 1, error: { code: 'trust/malformed' } }]
    const found = await verifyPath(leaf.der, { anchors: [root.der], intermediates, at })
    expect(found).toMatchObject({ unusableAnchors: [], unusableIntermediates })
    const unrelated = await issue({ name: 'unrelated', isCa: true })
    await expect(verifyPath(leaf.der, { anchors: [unrelated.der], intermediates, at })).rejects.toMatchObject(
      {
        reason: 'untrusted',
        unusableIntermediates,
      },
    )
  })

  it('among the intermediates does not affect the others', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root })
    expect(await webtokiVerdict(leaf.der, [damaged], root.der)).toBe('trusted')
  })

  it('only in its certificatePolicies is malformed, even if no policy is required', async () => {
    for (const value of [der(0x30), der(0x30, der(0x30, [0x06, 2, 0x2a, 1], der(0x30), [0x05, 0]))]) {
      const extensions = [new Extension({ extnID: '2.5.29.32', extnValue: Uint8Array.from(value).buffer })]
      const leaf = await issue({ name: 'leaf', issuer: root, extensions })
      expect(await webtokiVerdict(leaf.der, [], root.der)).toBe('malformed')
    }
  })
})
