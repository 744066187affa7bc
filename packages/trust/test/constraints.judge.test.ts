import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PathError, type PolicyOptions, verifyPath } from '@webtoki/trust/path'
import { Extension } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { der, type Issued, issue, reissue, text } from './pki.ts'
import cases from './vectors/constraints.json' with { type: 'json' }
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Constraints are not judged: ${missing}.`)

let folder: string
let root: Issued
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-constraints-'))
  root = await issue({ name: 'root', isCa: true })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = new Date('2026-12-01T12:00:00Z')

function pem(name: string, certificates: readonly Uint8Array[]): string {
  const path = join(folder, name)
  const block = (bytes: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE-----\n`
  writeFileSync(path, certificates.map(block).join(''))
  return path
}

type Path = readonly [leaf: Uint8Array, between: readonly Uint8Array[], anchor: Uint8Array]

/** Whether OpenSSL accepts the path. */
function opensslAccepts([leaf, between, anchor]: Path, ...more: readonly string[]): boolean {
  const args = ['verify', '-attime', String(at.getTime() / 1000), ...more]
  args.push('-CAfile', pem('anchor.pem', [anchor]))
  if (between.length > 0) args.push('-untrusted', pem('between.pem', between))
  return spawnSync('openssl', [...args, pem('leaf.pem', [leaf])], { encoding: 'utf8' }).status === 0
}

async function webtokiVerdict(
  [leaf, intermediates, anchor]: Path,
  policies?: PolicyOptions,
): Promise<string> {
  try {
    await verifyPath(leaf, { anchors: [anchor], intermediates, at, policies })
    return 'trusted'
  } catch (error) {
    return error instanceof PathError ? error.reason : String(error)
  }
}

const extension = (extnID: string, value: Uint8Array, critical = false): Extension =>
  new Extension({ extnID, critical, extnValue: Uint8Array.from(value).buffer })

const attribute = (type: readonly number[], value: Uint8Array): Uint8Array =>
  der(0x31, der(0x30, [0x06, type.length, ...type], value))
const country = attribute([0x55, 4, 6], der(0x13, text('EE')))
const organization = (name: string, tag = 0x0c): Uint8Array => attribute([0x55, 4, 10], der(tag, text(name)))
const email = (address: string): Uint8Array =>
  attribute([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], der(0x16, text(address)))
const dn = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts)

/** GeneralNames. */
const directory = (...parts: readonly Uint8Array[]): Uint8Array => der(0xa4, dn(...parts))
const mailbox = (address: string): Uint8Array => der(0x81, text(address))
const host = (name: string): Uint8Array => der(0x82, text(name))
const uri = (location: string): Uint8Array => der(0x86, text(location))
const ip = (...bytes: readonly number[]): Uint8Array => der(0x87, bytes)
const upn = (name: string): Uint8Array =>
  der(0xa0, [0x06, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3], der(0xa0, der(0x0c, text(name))))

const permitted = (...bases: readonly Uint8Array[]): Uint8Array =>
  der(0xa0, ...bases.map((base) => der(0x30, base)))
const excluded = (...bases: readonly Uint8Array[]): Uint8Array =>
  der(0xa1, ...bases.map((base) => der(0x30, base)))

interface Leaf {
  readonly subject?: Uint8Array
  readonly names?: readonly Uint8Array[]
}

/** A path to a leaf under a CA with these name constraints. */
async function pathWith(constraints: readonly Uint8Array[], leaf: Leaf, critical = false): Promise<Path> {
  const ca = await issue({
    name: 'ca',
    issuer: root,
    isCa: true,
    extensions: [extension('2.5.29.30', der(0x30, ...constraints), critical)],
  })
  return [(await leafUnder(ca, leaf)).der, [ca.der], root.der]
}

async function leafUnder(ca: Issued, { subject, names }: Leaf): Promise<Issued> {
  const extensions = names === undefined ? [] : [extension('2.5.29.17', der(0x30, ...names))]
  const issued = await issue({ name: 'leaf', issuer: ca, extensions })
  return subject === undefined ? issued : reissue(issued, ca, { subject })
}

type Row = readonly [what: string, constraints: readonly Uint8Array[], leaf: Leaf, expected: boolean]
/** The default subject of a leaf is C=EE, CN=leaf. */
const rows: readonly Row[] = [
  ['the subject below a permitted name', [permitted(directory(country))], {}, true],
  ['the subject outside a permitted name', [permitted(directory(country, organization('A')))], {}, false],
  ['the subject below one of two', [permitted(directory(organization('B')), directory(country))], {}, true],
  ['the subject below an excluded name', [excluded(directory(country))], {}, false],
  [
    'the subject in other case, spaces and string type',
    [permitted(directory(country, organization('Some University')))],
    { subject: dn(country, organization(' SOME  university ', 0x13)) },
    true,
  ],
  [
    'the subject with two attributes in one RelativeDistinguishedName',
    [permitted(directory(country, organization('A')))],
    { subject: dn(der(0x31, country.subarray(2), organization('A').subarray(2))) },
    false,
  ],
  [
    'a directory name outside the permitted one',
    [permitted(directory(country))],
    { names: [directory(organization('A'))] },
    false,
  ],
  [
    'a directory name that is excluded',
    [excluded(directory(organization('A')))],
    { names: [directory(organization('A'), country)] },
    false,
  ],
  [
    'an empty subject under constraints of names',
    [permitted(directory(country))],
    { subject: dn(), names: [host('a.example')] },
    true,
  ],
  ['a mailbox at the host', [permitted(mailbox('a.example'))], { names: [mailbox('x@A.example')] }, true],
  [
    'a mailbox below the host',
    [permitted(mailbox('a.example'))],
    { names: [mailbox('x@b.a.example')] },
    false,
  ],
  [
    'a mailbox below the domain',
    [permitted(mailbox('.a.example'))],
    { names: [mailbox('x@b.a.example')] },
    true,
  ],
  ['a mailbox at the domain', [permitted(mailbox('.a.example'))], { names: [mailbox('x@a.example')] }, false],
  ['the mailbox itself', [permitted(mailbox('x@a.example'))], { names: [mailbox('x@a.EXAMPLE')] }, true],
  ['another mailbox', [permitted(mailbox('x@a.example'))], { names: [mailbox('y@a.example')] }, false],
  [
    'a mailbox at an excluded host',
    [excluded(mailbox('a.example'))],
    { names: [mailbox('x@a.example')] },
    false,
  ],
  ['a mailbox elsewhere', [excluded(mailbox('a.example'))], { names: [mailbox('x@b.example')] }, true],
  [
    'a mailbox in the subject at a permitted host',
    [permitted(mailbox('a.example'))],
    { subject: dn(country, email('x@a.example')) },
    true,
  ],
  [
    'a mailbox in the subject elsewhere',
    [permitted(mailbox('a.example'))],
    { subject: dn(country, email('x@b.example')) },
    false,
  ],
  [
    'a mailbox in the subject elsewhere, with a permitted mailbox in subjectAltName',
    [permitted(mailbox('a.example'))],
    { subject: dn(country, email('x@b.example')), names: [mailbox('x@a.example')] },
    false,
  ],
  ['a host itself', [permitted(host('a.example'))], { names: [host('A.example')] }, true],
  ['a host below', [permitted(host('a.example'))], { names: [host('b.a.example')] }, true],
  ['a host that only ends alike', [permitted(host('a.example'))], { names: [host('ba.example')] }, false],
  [
    'one good host and one other',
    [permitted(host('a.example'))],
    { names: [host('a.example'), host('b')] },
    false,
  ],
  ['an excluded host', [excluded(host('a.example'))], { names: [host('b.a.example')] }, false],
  [
    'an excluded host within a permitted one',
    [permitted(host('example')), excluded(host('a.example'))],
    { names: [host('a.example')] },
    false,
  ],
  ['a name of another type', [permitted(host('a.example'))], { names: [mailbox('x@b.example')] }, true],
  ['a URI at the host', [permitted(uri('a.example'))], { names: [uri('https://a.example:8443/x')] }, true],
  ['a URI below the host', [permitted(uri('a.example'))], { names: [uri('https://b.a.example/')] }, false],
  ['a URI below the domain', [permitted(uri('.a.example'))], { names: [uri('https://b.a.example')] }, true],
  ['a URI at an excluded host', [excluded(uri('a.example'))], { names: [uri('ldap://a.example/x')] }, false],
  ['a URI without a host', [excluded(uri('a.example'))], { names: [uri('urn:x')] }, false],
  ['an address in the range', [permitted(ip(10, 0, 0, 0, 255, 0, 0, 0))], { names: [ip(10, 1, 2, 3)] }, true],
  [
    'an address outside the range',
    [permitted(ip(10, 0, 0, 0, 255, 0, 0, 0))],
    { names: [ip(11, 1, 2, 3)] },
    false,
  ],
  [
    'an address of the other family',
    [permitted(ip(10, 0, 0, 0, 255, 0, 0, 0))],
    { names: [ip(...new Uint8Array(16))] },
    false,
  ],
  [
    'an address of IPv6 in an excluded range',
    [excluded(ip(0x20, 1, ...new Uint8Array(14), 0xff, 0xff, ...new Uint8Array(14)))],
    { names: [ip(0x20, 1, ...new Uint8Array(14))] },
    false,
  ],
]

/** Cases that OpenSSL handles in a different way or not reliably; Webtoki follows RFC 5280 or refuses. */
const rowsWithoutOpenssl: readonly Row[] = [
  [
    'otherName within permitted otherNames',
    [permitted(upn('x@a.example'))],
    { names: [upn('x@a.example')] },
    false,
  ],
  [
    'otherName outside an excluded one',
    [excluded(upn('x@a.example'))],
    { names: [upn('y@a.example')] },
    false,
  ],
  ['a wildcard over an excluded host', [excluded(host('a.example'))], { names: [host('*.example')] }, false],
  [
    'a wildcard below a permitted host',
    [permitted(host('a.example'))],
    { names: [host('*.a.example')] },
    true,
  ],
  ['a host with a dot at its end', [excluded(host('a.example'))], { names: [host('a.example.')] }, false],
  ['a host with a NUL', [excluded(host('a.example'))], { names: [host('a.example\0.b')] }, false],
  ['a mailbox without a host', [excluded(mailbox('a.example'))], { names: [mailbox('x')] }, false],
  ['a URI with a user', [permitted(uri('a.example'))], { names: [uri('https://b@a.example/x')] }, true],
  [
    'a URI with such a user',
    [excluded(uri('a.example'))],
    { names: [uri('https://b.test@a.example')] },
    false,
  ],
  ['a URI with an address', [excluded(uri('a.example'))], { names: [uri('https://10.0.0.1/')] }, false],
  [
    'an address of five bytes',
    [excluded(ip(10, 0, 0, 0, 255, 0, 0, 0))],
    { names: [ip(1, 2, 3, 4, 5)] },
    false,
  ],
  ['any host if all are excluded', [excluded(host(''))], { names: [host('a.example')] }, false],
]

describe.skipIf(missing !== undefined)('verifyPath under name constraints, compared with OpenSSL:', () => {
  it.each(rows)('%s', async (_what, constraints, leaf, expected) => {
    for (const critical of [false, true]) {
      const path = await pathWith(constraints, leaf, critical)
      expect(await webtokiVerdict(path)).toBe(expected ? 'trusted' : 'name-constraints')
      expect(opensslAccepts(path)).toBe(expected)
    }
  })

  it('constraints of every issuer apply to intermediates and leaf, but not to a self-issued CA', async () => {
    const own = (id: number): Extension => extension('2.5.29.14', der(4, [id]))
    const by = (id: number): Extension => extension('2.5.29.35', der(0x30, der(0x80, [id])))
    const only = (...parts: readonly Uint8Array[]): Extension =>
      extension('2.5.29.30', der(0x30, permitted(directory(...parts))))
    const top = await issue({ name: 'top', issuer: root, isCa: true, extensions: [only(country)] })
    const leafOf = async (ca: Issued): Promise<Uint8Array> => (await leafUnder(ca, {})).der
    const inside = await issue({ name: 'inside', issuer: top, isCa: true })
    const good: Path = [await leafOf(inside), [inside.der, top.der], root.der]
    expect([await webtokiVerdict(good), opensslAccepts(good)]).toEqual(['trusted', true])
    const narrower = await issue({
      name: 'narrower',
      issuer: top,
      isCa: true,
      extensions: [only(country, organization('A'))],
    })
    const narrow: Path = [await leafOf(narrower), [narrower.der, top.der], root.der]
    expect([await webtokiVerdict(narrow), opensslAccepts(narrow)]).toEqual(['name-constraints', false])
    // A CA whose own subject is outside the constraints of its issuer.
    const key = await issue({ name: 'outside', isCa: true })
    const changed = await reissue(
      await issue({ name: 'outside', issuer: top, isCa: true, keys: key.keys }),
      top,
      { subject: dn(organization('B')) },
    )
    const leaf = await issue({ name: 'leaf', issuer: key })
    expect(await webtokiVerdict([leaf.der, [changed.der, top.der], root.der])).toBe('untrusted')
    const self = await issue({
      name: 'self',
      issuer: root,
      isCa: true,
      extensions: [only(country, organization('A')), own(1)],
    })
    const renewed = await issue({ name: 'self', issuer: self, isCa: true, extensions: [own(2), by(1)] })
    const person = await reissue(
      await issue({ name: 'leaf', issuer: renewed, extensions: [by(2)] }),
      renewed,
      {
        subject: dn(country, organization('A')),
      },
    )
    const rolled: Path = [person.der, [renewed.der, self.der], root.der]
    expect([await webtokiVerdict(rolled), opensslAccepts(rolled)]).toEqual(['trusted', true])
  })

  it('a path through another CA is found if the path through the first violates constraints', async () => {
    const only = extension('2.5.29.30', der(0x30, permitted(directory(organization('A')))))
    const key = await issue({ name: 'ca', isCa: true })
    const narrow = await issue({ name: 'ca', issuer: root, isCa: true, keys: key.keys, extensions: [only] })
    const wide = await issue({ name: 'ca', issuer: root, isCa: true, keys: key.keys })
    const { der: leaf } = await issue({ name: 'leaf', issuer: key })
    expect(await webtokiVerdict([leaf, [narrow.der], root.der])).toBe('name-constraints')
    expect(await webtokiVerdict([leaf, [narrow.der, wide.der], root.der])).toBe('trusted')
  })

  it('the constraints of an anchor apply', async () => {
    const only = extension('2.5.29.30', der(0x30, permitted(directory(organization('A')))))
    const anchor = await issue({ name: 'anchor', isCa: true, extensions: [only] })
    const path: Path = [(await leafUnder(anchor, {})).der, [], anchor.der]
    expect([await webtokiVerdict(path), opensslAccepts(path)]).toEqual(['name-constraints', false])
  })
})

describe('verifyPath under name constraints that OpenSSL treats differently', () => {
  it.each(rowsWithoutOpenssl)('accepts or refuses %s', async (_what, constraints, leaf, expected) => {
    expect(await webtokiVerdict(await pathWith(constraints, leaf))).toBe(
      expected ? 'trusted' : 'name-constraints',
    )
  })

  it.each([
    ['no subtrees', []],
    ['an empty list', [permitted()]],
    ['a minimum', [der(0xa0, der(0x30, directory(country), [0x80, 1, 1]))]],
    ['a maximum', [der(0xa0, der(0x30, directory(country), [0x81, 1, 9]))]],
    ['excluded before permitted', [excluded(host('a')), permitted(host('b'))]],
    ['a mask with gaps', [permitted(ip(10, 0, 0, 0, 255, 0, 255, 0))]],
    ['an address without a mask', [permitted(ip(10, 0, 0, 0))]],
    ['a host that is not one', [permitted(host('*.example'))]],
    ['something that is not a name', [permitted(der(0x9f, []))]],
  ])('refuses a CA whose constraints have %s as malformed', async (_what, constraints) => {
    expect(await webtokiVerdict(await pathWith(constraints, {}))).toBe('malformed')
  })

  it('refuses a leaf whose subjectAltName cannot be parsed as malformed', async () => {
    expect(await webtokiVerdict(await pathWith([permitted(host('a'))], { names: [der(0x02, [1])] }))).toBe(
      'malformed',
    )
  })

  it('refuses a path that needs more than 100,000 name comparisons as too complex', async () => {
    const many = Array.from({ length: 400 }, (_, index) => host(`h${index}.example`))
    expect(
      await webtokiVerdict(await pathWith([excluded(...many)], { names: many.map(() => host('b.test')) })),
    ).toBe('too-complex')
  })
})

describe.skipIf(missing !== undefined)('certificate policies, compared with OpenSSL:', () => {
  const policy = (id: number): Uint8Array => der(0x06, [0x2a, id])
  const any = der(0x06, [0x55, 0x1d, 0x20, 0])
  const policies = (...ids: readonly Uint8Array[]): Extension =>
    extension('2.5.29.32', der(0x30, ...ids.map((id) => der(0x30, id))))
  const requires = (skip: number): Extension => extension('2.5.29.36', der(0x30, [0x80, 1, skip]), true)
  const noMapping = (skip: number): Extension =>
    extension('2.5.29.36', der(0x30, [0x80, 1, 0, 0x81, 1, skip]), true)
  const noAny = (skip: number): Extension => extension('2.5.29.54', der(0x02, [skip]), true)
  const maps = (from: Uint8Array, to: Uint8Array): Extension =>
    extension('2.5.29.33', der(0x30, der(0x30, from, to)), true)

  it.each<readonly [string, readonly Extension[], readonly Extension[], readonly Extension[], boolean]>([
    [
      'a required policy that all certificates have',
      [policies(policy(1)), requires(0)],
      [policies(policy(1))],
      [policies(policy(1))],
      true,
    ],
    [
      'a required policy that the leaf lacks',
      [policies(policy(1)), requires(0)],
      [policies(policy(1))],
      [],
      false,
    ],
    [
      'a required policy that differs',
      [policies(policy(1)), requires(0)],
      [policies(policy(1))],
      [policies(policy(2))],
      false,
    ],
    ['a policy required after two more', [requires(2)], [], [], false],
    ['a policy required after three more', [requires(3)], [], [], true],
    ['a policy required by the leaf itself', [], [], [requires(0)], false],
    ['any policy of the CAs', [policies(any), requires(0)], [policies(any)], [policies(policy(1))], true],
    [
      'any policy, inhibited',
      [policies(any), requires(0), noAny(0)],
      [policies(any)],
      [policies(policy(1))],
      false,
    ],
    [
      'any policy, inhibited below',
      [policies(any), requires(0), noAny(1)],
      [policies(any)],
      [policies(policy(1))],
      true,
    ],
    [
      'a mapped policy',
      [policies(policy(1)), requires(0), maps(policy(1), policy(2))],
      [policies(policy(2))],
      [policies(policy(2))],
      true,
    ],
    [
      'a mapped policy that the leaf has under its old identifier',
      [policies(policy(1)), requires(0), maps(policy(1), policy(2))],
      [policies(policy(1))],
      [policies(policy(1))],
      false,
    ],
    ['a mapping of any policy', [policies(policy(1)), maps(any, policy(2))], [], [], false],
    [
      'a mapping that is inhibited',
      [policies(policy(1)), noMapping(0)],
      [policies(policy(1)), maps(policy(1), policy(2))],
      [policies(policy(2))],
      false,
    ],
    [
      'a mapping that is inhibited below',
      [policies(policy(1)), noMapping(1)],
      [policies(policy(1)), maps(policy(1), policy(2))],
      [policies(policy(2))],
      true,
    ],
  ])('%s', async (_what, first, second, last, expected) => {
    const top = await issue({ name: 'top', issuer: root, isCa: true, extensions: first })
    const low = await issue({ name: 'low', issuer: top, isCa: true, extensions: second })
    const leaf = await issue({ name: 'leaf', issuer: low, extensions: last })
    const path: Path = [leaf.der, [low.der, top.der], root.der]
    expect(opensslAccepts(path, '-policy_check', '-policy', '2.5.29.32.0')).toBe(expected)
    expect(await webtokiVerdict(path)).toBe(expected ? 'trusted' : 'policy')
  })

  it.each<
    readonly [string, PolicyOptions, readonly string[], readonly Extension[], readonly Extension[], boolean]
  >([
    ['no policy is required, and the path has none', {}, [], [], [], true],
    ['a policy is required, and the path has none', { required: true }, ['-explicit_policy'], [], [], false],
    [
      'a policy is required, and the path has one',
      { required: true },
      ['-explicit_policy', '-policy', '2.5.29.32.0'],
      [policies(policy(1))],
      [policies(policy(1))],
      true,
    ],
    [
      'an acceptable policy is required, and the path has another',
      { required: true, acceptable: ['1.2.2'] },
      ['-explicit_policy', '-policy', '1.2.2'],
      [policies(policy(1))],
      [policies(policy(1))],
      false,
    ],
    [
      'an acceptable policy is required, and the path has it among others',
      { required: true, acceptable: ['1.2.2', '1.2.3'] },
      ['-explicit_policy', '-policy', '1.2.2', '-policy', '1.2.3'],
      [policies(policy(1), policy(2))],
      [policies(policy(2), policy(1))],
      true,
    ],
    [
      'an acceptable policy is required, and the path has anyPolicy',
      { required: true, acceptable: ['1.2.2'] },
      ['-explicit_policy', '-policy', '1.2.2'],
      [policies(any)],
      [policies(any)],
      true,
    ],
    [
      'an acceptable policy is required, and the path has anyPolicy, which is inhibited',
      { required: true, acceptable: ['1.2.2'], inhibitAny: true },
      ['-explicit_policy', '-policy', '1.2.2', '-inhibit_any'],
      [policies(any)],
      [policies(any)],
      false,
    ],
    [
      'an acceptable policy is required and is mapped to that of the leaf',
      { required: true, acceptable: ['1.2.1'] },
      ['-explicit_policy', '-policy', '1.2.1'],
      [policies(policy(1)), maps(policy(1), policy(2))],
      [policies(policy(2))],
      true,
    ],
    [
      'the policy of the leaf is required, to which the CA maps another',
      { required: true, acceptable: ['1.2.2'] },
      ['-explicit_policy', '-policy', '1.2.2'],
      [policies(policy(1)), maps(policy(1), policy(2))],
      [policies(policy(2))],
      false,
    ],
    [
      'a policy is required, and the path needs a mapping, which is inhibited',
      { required: true, inhibitMapping: true },
      ['-explicit_policy', '-inhibit_map', '-policy', '2.5.29.32.0'],
      [policies(policy(1)), maps(policy(1), policy(2))],
      [policies(policy(2))],
      false,
    ],
    [
      'an acceptable policy is named but not required, and the path has another',
      { acceptable: ['1.2.2'] },
      ['-policy', '1.2.2'],
      [policies(policy(1))],
      [policies(policy(1))],
      true,
    ],
  ])('required by the caller: %s', async (_what, options, args, ofCa, ofLeaf, expected) => {
    const ca = await issue({ name: 'ca', issuer: root, isCa: true, extensions: ofCa })
    const leaf = await issue({ name: 'leaf', issuer: ca, extensions: ofLeaf })
    const path: Path = [leaf.der, [ca.der], root.der]
    expect(await webtokiVerdict(path, options)).toBe(expected ? 'trusted' : 'policy')
    expect(opensslAccepts(path, '-policy_check', ...args)).toBe(expected)
  })

  it('policyConstraints that are empty or cannot be parsed are malformed', async () => {
    for (const value of [der(0x30), der(0x30, [0x82, 1, 0]), der(0x30, [0x80, 1, 0xff]), der(0x02, [1])]) {
      const ca = await issue({
        name: 'ca',
        issuer: root,
        isCa: true,
        extensions: [extension('2.5.29.36', value)],
      })
      const leaf = await issue({ name: 'leaf', issuer: ca })
      expect(await webtokiVerdict([leaf.der, [ca.der], root.der])).toBe('malformed')
    }
  })
})

describe.skipIf(missing !== undefined)('verifyPath with recorded certificates agrees with OpenSSL:', () => {
  const read = (name: keyof typeof cases.certificates): Uint8Array =>
    new Uint8Array(Buffer.from(cases.certificates[name], 'base64'))

  it.each([
    ['a leaf without constraints above it', ['leaf'], 'trusted'],
    ['a leaf of a ministry from a CA constrained to universities', ['nc-leaf', 'nc-ca'], 'name-constraints'],
    ['a leaf from a CA that requires an explicit policy', ['pc-leaf', 'pc-ca'], 'trusted'],
  ] as const)('%s', async (_what, [leaf, ca], expected) => {
    const path: Path = [read(leaf), ca === undefined ? [] : [read(ca)], read('root')]
    expect(await webtokiVerdict(path)).toBe(expected)
    expect(opensslAccepts(path)).toBe(expected === 'trusted')
  })
})
