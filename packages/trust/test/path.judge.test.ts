import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PathError, verifyPath } from '@webtoki/trust/path'
import fc from 'fast-check'
import { Extension, RSASSAPSSParams } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Issued, issue } from './pki.ts'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Paths are not judged: ${missing}.`)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-path-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = new Date('2026-11-24T12:00:00Z')

function pem(name: string, ...ders: readonly Uint8Array[]): string {
  const path = join(folder, name)
  const blocks = ders.map((der) => {
    const lines =
      Buffer.from(der)
        .toString('base64')
        .match(/.{1,64}/g) ?? []
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
  })
  writeFileSync(path, blocks.join(''))
  return path
}

/** Whether OpenSSL accepts the path. */
function opensslAccepts(leaf: Issued, anchor: Issued, intermediates: readonly Issued[]): boolean {
  const args = ['verify', '-attime', String(at.getTime() / 1000), '-CAfile', pem('ca.pem', anchor.der)]
  if (intermediates.length > 0)
    args.push('-untrusted', pem('between.pem', ...intermediates.map(({ der }) => der)))
  return spawnSync('openssl', [...args, pem('leaf.pem', leaf.der)], { encoding: 'utf8' }).status === 0
}

async function webtokiVerdict(
  leaf: Issued,
  anchor: Issued,
  intermediates: readonly Issued[],
): Promise<string> {
  try {
    const { path } = await verifyPath(leaf.der, {
      anchors: [anchor.der],
      intermediates: intermediates.map(({ der }) => der),
      at,
    })
    return `trusted by ${path.length}`
  } catch (error) {
    if (!(error instanceof PathError)) throw error
    return error.reason
  }
}

describe.skipIf(missing !== undefined)('a certificate path, compared with OpenSSL,', () => {
  it.each([
    [
      'issued by the root',
      'trusted by 2',
      async (root: Issued) => [await issue({ name: 'leaf', issuer: root }), root, []],
    ],
    [
      'issued below two CAs',
      'trusted by 4',
      async (root: Issued) => {
        const first = await issue({ name: 'first', issuer: root, isCa: true, pathLength: 1 })
        const second = await issue({ name: 'second', issuer: first, isCa: true, algorithm: 'RS256' })
        return [await issue({ name: 'leaf', issuer: second }), root, [second, first]]
      },
    ],
    [
      'issued by a CA below one with path length 0',
      'path-too-long',
      async (root: Issued) => {
        const first = await issue({ name: 'first', issuer: root, isCa: true, pathLength: 0 })
        const second = await issue({ name: 'second', issuer: first, isCa: true })
        return [await issue({ name: 'leaf', issuer: second }), root, [first, second]]
      },
    ],
    [
      'issued by a certificate that is not a CA',
      'not-a-ca',
      async (root: Issued) => {
        const notCa = await issue({ name: 'not a CA', issuer: root })
        return [await issue({ name: 'leaf', issuer: notCa }), root, [notCa]]
      },
    ],
    [
      'issued by a certificate with cA FALSE and keyCertSign',
      'not-a-ca',
      async (root: Issued) => {
        const none = new Extension({
          extnID: '2.5.29.19',
          critical: true,
          extnValue: Uint8Array.of(0x30, 0).buffer,
        })
        const notCa = await issue({ name: 'not a CA', issuer: root, keyUsage: 0x06, extensions: [none] })
        return [await issue({ name: 'leaf', issuer: notCa }), root, [notCa]]
      },
    ],
    [
      'before its notBefore',
      'not-yet-valid',
      async (root: Issued) => {
        const notBefore = new Date('2026-12-01T00:00:00Z')
        return [await issue({ name: 'leaf', issuer: root, notBefore }), root, []]
      },
    ],
    [
      'issued by a CA before its notBefore',
      'issuer-not-yet-valid',
      async (root: Issued) => {
        const notBefore = new Date('2026-12-01T00:00:00Z')
        const early = await issue({ name: 'early', issuer: root, isCa: true, notBefore })
        return [await issue({ name: 'leaf', issuer: early }), root, [early]]
      },
    ],
    [
      'in the first second of its validity',
      'trusted by 2',
      async (root: Issued) => [await issue({ name: 'leaf', issuer: root, notBefore: at }), root, []],
    ],
    [
      'issued by a CA without keyCertSign',
      'not-a-ca',
      async (root: Issued) => {
        const weak = await issue({ name: 'weak', issuer: root, isCa: true, keyUsage: 0x80 })
        return [await issue({ name: 'leaf', issuer: weak }), root, [weak]]
      },
    ],
    [
      'issued by a CA with cRLSign only',
      'not-a-ca',
      async (root: Issued) => {
        const lists = await issue({ name: 'lists', issuer: root, isCa: true, keyUsage: 0x02 })
        return [await issue({ name: 'leaf', issuer: lists }), root, [lists]]
      },
    ],
    [
      'issued by a CA without a key usage',
      'trusted by 3',
      async (root: Issued) => {
        const any = await issue({ name: 'any', issuer: root, isCa: true, keyUsage: null })
        return [await issue({ name: 'leaf', issuer: any }), root, [any]]
      },
    ],
    [
      'issued by a CA whose key usage cannot be parsed',
      'not-a-ca',
      async (root: Issued) => {
        const usage = new Extension({ extnID: '2.5.29.15', extnValue: Uint8Array.of(2, 1, 1).buffer })
        const odd = await issue({
          name: 'odd',
          issuer: root,
          isCa: true,
          keyUsage: null,
          extensions: [usage],
        })
        return [await issue({ name: 'leaf', issuer: odd }), root, [odd]]
      },
    ],
    [
      'with an unknown signature algorithm',
      'unsupported-algorithm',
      async (root: Issued) => {
        const { certificate, keys } = await issue({ name: 'leaf', issuer: root })
        for (const named of [certificate.signature, certificate.signatureAlgorithm])
          named.algorithmId = '1.2.3.4'
        return [{ der: new Uint8Array(certificate.toSchema(true).toBER()), certificate, keys }, root, []]
      },
    ],
    [
      'issued by an expired CA',
      'issuer-expired',
      async (root: Issued) => {
        const old = await issue({
          name: 'old',
          issuer: root,
          isCa: true,
          notAfter: new Date('2026-10-01T00:00:00Z'),
        })
        return [await issue({ name: 'leaf', issuer: old }), root, [old]]
      },
    ],
    [
      'issued by an impostor with the name of the root',
      'bad-signature',
      async (root: Issued) => {
        const impostor = await issue({ name: 'root', isCa: true })
        return [await issue({ name: 'leaf', issuer: impostor }), root, []]
      },
    ],
    ['without an issuer', 'untrusted', async (root: Issued) => [await issue({ name: 'alone' }), root, []]],
    [
      'with an unknown critical extension',
      'unknown-critical-extension',
      async (root: Issued) => [await issue({ name: 'odd', issuer: root, unknownCritical: true }), root, []],
    ],
    [
      'with two key usage extensions',
      'malformed',
      async (root: Issued) => {
        const usage = new Extension({ extnID: '2.5.29.15', extnValue: Uint8Array.of(3, 2, 6, 0x40).buffer })
        return [await issue({ name: 'two', issuer: root, extensions: [usage] }), root, []]
      },
    ],
    [
      'issued by a certificate with two basicConstraints',
      'untrusted',
      async (root: Issued) => {
        const none = new Extension({
          extnID: '2.5.29.19',
          critical: true,
          extnValue: Uint8Array.of(0x30, 0).buffer,
        })
        const both = await issue({ name: 'both', issuer: root, isCa: true, extensions: [none] })
        return [await issue({ name: 'leaf', issuer: both }), root, [both]]
      },
    ],
  ] as const)('%s: %s', async (_what, expected, make) => {
    const root = await issue({ name: 'root', isCa: true })
    const [leaf, anchor, intermediates] = (await make(root)) as [Issued, Issued, Issued[]]
    expect(await webtokiVerdict(leaf, anchor, intermediates)).toBe(expected)
    expect(opensslAccepts(leaf, anchor, intermediates)).toBe(expected.startsWith('trusted'))
  })

  it('with any byte of the leaf changed is refused with PathError', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const leaf = await issue({ name: 'leaf', issuer: root })
    await fc.assert(
      fc.asyncProperty(
        fc.nat(leaf.der.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (position, mask) => {
          const changed = leaf.der.slice()
          changed[position] = (changed[position] ?? 0) ^ mask
          const outcome: unknown = await verifyPath(changed, { anchors: [root.der], at }).catch(
            (error: unknown) => error,
          )
          expect(outcome).toBeInstanceOf(PathError)
        },
      ),
      { numRuns: 300 },
    )
  }, 60_000)

  it('with any bit changed outside the signed part, or a non-minimal r, is refused with PathError', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const { der, certificate } = await issue({ name: 'leaf', issuer: root })
    const tail = 4 + new Uint8Array(certificate.tbsView).length
    const refused: unknown[] = []
    for (let position = 0; position < der.length; position++) {
      // Every bit of the outer header and of everything after the signed part.
      if (position >= 4 && position < tail) continue
      for (let bit = 0; bit < 8; bit++) {
        const changed = der.slice()
        changed[position] = (changed[position] ?? 0) ^ (1 << bit)
        refused.push(await verifyPath(changed, { anchors: [root.der], at }).catch((error: unknown) => error))
      }
    }
    expect(refused.filter((outcome) => !(outcome instanceof PathError))).toEqual([])
    // A leading zero added to r, with all enclosing lengths adapted.
    const bits = tail + 12
    const sequence = bits + 3
    expect([der[bits], der[bits + 2], der[sequence], der[sequence + 2]]).toEqual([0x03, 0, 0x30, 0x02])
    const longer = Uint8Array.of(...der.slice(0, sequence + 4), 0, ...der.slice(sequence + 4))
    for (const length of [3, bits + 1, sequence + 1, sequence + 3]) longer[length] = (longer[length] ?? 0) + 1
    await expect(verifyPath(longer, { anchors: [root.der], at })).rejects.toMatchObject({
      reason: 'malformed',
    })
  }, 60_000)

  it('among twelve CAs of one name and one key is refused after at most 13 signature checks', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const first = await issue({ name: 'twin', isCa: true })
    const twins: Issued[] = [first]
    while (twins.length < 12) twins.push(await issue({ name: 'twin', isCa: true, keys: first.keys }))
    const leaf = await issue({ name: 'leaf', issuer: first })
    const verify = vi.spyOn(crypto.subtle, 'verify')
    expect(await webtokiVerdict(leaf, root, twins)).toBe('untrusted')
    // The leaf and the twelve CAs, each verified once with the one key.
    expect(verify.mock.calls.length).toBeLessThanOrEqual(13)
    const known = await issue({ name: 'twin', issuer: root, isCa: true, keys: first.keys })
    expect(await webtokiVerdict(leaf, root, [...twins, known])).toBe('trusted by 3')
    verify.mockRestore()
  }, 5000)

  it('among 200 CAs of one name and different keys is refused as too complex', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const namesakes: Issued[] = []
    while (namesakes.length < 201) namesakes.push(await issue({ name: 'namesake', isCa: true }))
    const leaf = await issue({ name: 'leaf', issuer: namesakes[0] as Issued })
    expect(await webtokiVerdict(leaf, root, namesakes)).toBe('too-complex')
    expect(await webtokiVerdict(leaf, root, namesakes.slice(0, 200))).toBe('too-complex')
  })

  it('with SHA-1 is refused as weak-hash, and with a short RSA key as weak-key', async () => {
    const root = await issue({ name: 'root', isCa: true })
    expect(await webtokiVerdict(await issue({ name: 'old', issuer: root, hash: 'SHA-1' }), root, [])).toBe(
      'weak-hash',
    )
    const pss = await issue({ name: 'pss', isCa: true, algorithm: 'PS256' })
    expect(await webtokiVerdict(await issue({ name: 'new', issuer: pss }), pss, [])).toBe('trusted by 2')
    // RSA-PSS without parameters means SHA-1 (RFC 4055, 3.1), but the signature was made with SHA-256.
    const { certificate, keys } = await issue({ name: 'old', issuer: pss })
    for (const named of [certificate.signature, certificate.signatureAlgorithm])
      named.algorithmParams = new RSASSAPSSParams().toSchema()
    const unnamed = { der: new Uint8Array(certificate.toSchema(true).toBER()), certificate, keys }
    expect(await webtokiVerdict(unnamed, pss, [])).toBe('bad-signature')
    const short = await issue({ name: 'short', issuer: root, algorithm: 'RS256', rsaBits: 1024 })
    expect(await webtokiVerdict(short, root, [])).toBe('weak-key')
    const between = await issue({
      name: 'between',
      issuer: root,
      isCa: true,
      algorithm: 'RS256',
      rsaBits: 2047,
    })
    expect(await webtokiVerdict(await issue({ name: 'leaf', issuer: between }), root, [between])).toBe(
      'weak-key',
    )
  })

  it('signed on an unsupported curve is refused as unsupported-algorithm, INDETERMINATE', async () => {
    const run = (...args: readonly string[]): void => {
      const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' })
      if (status !== 0) throw new Error(stderr)
    }
    const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)))
    const key = (name: string, curve: string): readonly string[] => [
      '-newkey',
      'ec',
      '-pkeyopt',
      `ec_paramgen_curve:${curve}`,
      '-nodes',
      '-keyout',
      `${name}.key`,
    ]
    // secp224r1, which neither WebCrypto nor Webtoki supports.
    run('req', '-x509', ...key('odd', 'secp224r1'), '-subj', '/CN=odd', '-days', '9999', '-out', 'odd.pem')
    run('req', ...key('below', 'P-256'), '-subj', '/CN=below', '-out', 'below.csr')
    const sign = ['x509', '-req', '-in', 'below.csr', '-CA', 'odd.pem', '-CAkey', 'odd.key', '-days', '9999']
    run(...sign, '-out', 'below.pem')
    run('verify', '-CAfile', 'odd.pem', 'below.pem')
    for (const name of ['odd', 'below']) run('x509', '-in', `${name}.pem`, '-outform', 'DER', '-out', name)
    await expect(verifyPath(read('below'), { anchors: [read('odd')], at: new Date() })).rejects.toMatchObject(
      {
        code: 'trust/unsupported-algorithm',
        indication: 'INDETERMINATE',
        subIndication: 'CERTIFICATE_CHAIN_GENERAL_FAILURE',
      },
    )
  })

  it('that is refused reports the sub-indication of EN 319 102-1', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const other = await issue({ name: 'other', isCa: true })
    const old = { issuer: root, notAfter: new Date('2026-10-01T00:00:00Z') }
    const rows = [
      [await issue({ name: 'leaf', issuer: other }), 'NO_CERTIFICATE_CHAIN_FOUND'],
      [await issue({ name: 'leaf', ...old }), 'OUT_OF_BOUNDS_NO_POE'],
      [await issue({ name: 'leaf', issuer: root, unknownCritical: true }), 'CHAIN_CONSTRAINTS_FAILURE'],
      [await issue({ name: 'leaf', issuer: root, hash: 'SHA-1' }), 'CRYPTO_CONSTRAINTS_FAILURE'],
    ] as const
    for (const [{ der }, subIndication] of rows)
      await expect(verifyPath(der, { anchors: [root.der], at })).rejects.toMatchObject({
        indication: 'INDETERMINATE',
        subIndication,
      })
  })

  it('at an invalid Date is refused with TrustArgumentError', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const old = await issue({ name: 'old', issuer: root, notAfter: new Date('2026-10-01T00:00:00Z') })
    await expect(verifyPath(old.der, { anchors: [root.der], at: new Date('soon') })).rejects.toMatchObject({
      code: 'trust/wrong-argument',
      argument: 'at',
    })
  })

  it('may have eight certificates, and a longer one is too complex', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const chain: Issued[] = [root]
    while (chain.length < 8)
      chain.push(await issue({ name: `${chain.length}`, issuer: chain.at(-1) as Issued, isCa: true }))
    const between = chain.slice(1)
    expect(
      await webtokiVerdict(await issue({ name: 'leaf', issuer: chain[6] as Issued }), root, between),
    ).toBe('trusted by 8')
    expect(
      await webtokiVerdict(await issue({ name: 'leaf', issuer: chain[7] as Issued }), root, between),
    ).toBe('too-complex')
  })

  it('does not count a self-issued CA in pathLenConstraint', async () => {
    // OpenSSL needs the key identifiers to tell a self-issued certificate from a self-signed one.
    const own = (id: number) =>
      new Extension({ extnID: '2.5.29.14', extnValue: Uint8Array.of(4, 1, id).buffer })
    const by = (id: number) =>
      new Extension({ extnID: '2.5.29.35', extnValue: Uint8Array.of(0x30, 3, 0x80, 1, id).buffer })
    const root = await issue({ name: 'root', isCa: true, pathLength: 1 })
    const old = await issue({ name: 'CA', issuer: root, isCa: true, pathLength: 0, extensions: [own(1)] })
    const renewed = await issue({ name: 'CA', issuer: old, isCa: true, extensions: [own(2), by(1)] })
    const leaf = await issue({ name: 'leaf', issuer: renewed, extensions: [by(2)] })
    expect(await webtokiVerdict(leaf, root, [renewed, old])).toBe('trusted by 4')
    expect(opensslAccepts(leaf, root, [renewed, old])).toBe(true)
  })

  it('is found if a shorter path to the same CA violates pathLenConstraint', async () => {
    const root = await issue({ name: 'root', isCa: true, pathLength: 2 })
    const top = await issue({ name: 'top', issuer: root, isCa: true })
    const middle = await issue({ name: 'middle', issuer: top, isCa: true })
    const short = await issue({ name: 'CA', issuer: middle, isCa: true })
    const first = await issue({ name: 'CA', issuer: top, isCa: true })
    const second = await issue({ name: 'CA', issuer: first, isCa: true })
    const third = await issue({ name: 'CA', issuer: second, isCa: true, keys: short.keys })
    const leaf = await issue({ name: 'leaf', issuer: short })
    expect(await webtokiVerdict(leaf, root, [top, middle, short])).toBe('path-too-long')
    expect(await webtokiVerdict(leaf, root, [top, middle, short, first, second, third])).toBe('trusted by 6')
  })

  it('whose CA has expired is refused as issuer-expired, and an expired leaf as expired', async () => {
    const notAfter = new Date('2026-10-01T00:00:00Z')
    const root = await issue({ name: 'root', isCa: true, notAfter })
    expect(await webtokiVerdict(await issue({ name: 'leaf', issuer: root }), root, [])).toBe('issuer-expired')
    const valid = await issue({ name: 'root', isCa: true })
    expect(await webtokiVerdict(await issue({ name: 'leaf', issuer: valid, notAfter }), valid, [])).toBe(
      'expired',
    )
    // RFC 5280, 4.1.2.5: the validity includes notAfter. OpenSSL excludes it.
    const last = await issue({ name: 'leaf', issuer: valid, notAfter: at })
    expect(await webtokiVerdict(last, valid, [])).toBe('trusted by 2')
  })
})
