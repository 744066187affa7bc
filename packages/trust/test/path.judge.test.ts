import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PathError, verifyPath } from '@webtoki/trust/path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Issued, issue } from './pki.ts'

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

/** OpenSSL's opinion of the same path. */
function openssl(leaf: Issued, anchor: Issued, intermediates: readonly Issued[]): boolean {
  const args = ['verify', '-attime', String(at.getTime() / 1000), '-CAfile', pem('ca.pem', anchor.der)]
  if (intermediates.length > 0)
    args.push('-untrusted', pem('between.pem', ...intermediates.map(({ der }) => der)))
  return spawnSync('openssl', [...args, pem('leaf.pem', leaf.der)], { encoding: 'utf8' }).status === 0
}

async function ours(leaf: Issued, anchor: Issued, intermediates: readonly Issued[]): Promise<string> {
  try {
    const path = await verifyPath(leaf.der, {
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

describe('a path, judged by OpenSSL too', () => {
  it.each([
    [
      'straight to the root',
      'trusted by 2',
      async (root: Issued) => [await issue({ name: 'leaf', issuer: root }), root, []],
    ],
    [
      'through two CAs',
      'trusted by 4',
      async (root: Issued) => {
        const first = await issue({ name: 'first', issuer: root, isCa: true, pathLength: 1 })
        const second = await issue({ name: 'second', issuer: first, isCa: true, algorithm: 'RS256' })
        return [await issue({ name: 'leaf', issuer: second }), root, [second, first]]
      },
    ],
    [
      'by a CA that may not issue CAs',
      'path-too-long',
      async (root: Issued) => {
        const first = await issue({ name: 'first', issuer: root, isCa: true, pathLength: 0 })
        const second = await issue({ name: 'second', issuer: first, isCa: true })
        return [await issue({ name: 'leaf', issuer: second }), root, [first, second]]
      },
    ],
    [
      'by one that is no CA',
      'not-a-ca',
      async (root: Issued) => {
        const noCa = await issue({ name: 'no CA', issuer: root })
        return [await issue({ name: 'leaf', issuer: noCa }), root, [noCa]]
      },
    ],
    [
      'by a CA whose key may sign no certificates',
      'not-a-ca',
      async (root: Issued) => {
        const weak = await issue({ name: 'weak', issuer: root, isCa: true, keyUsage: 0x80 })
        return [await issue({ name: 'leaf', issuer: weak }), root, [weak]]
      },
    ],
    [
      'by an expired CA',
      'expired',
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
      'by an impostor with the root’s name',
      'bad-signature',
      async (root: Issued) => {
        const impostor = await issue({ name: 'root', isCa: true })
        return [await issue({ name: 'leaf', issuer: impostor }), root, []]
      },
    ],
    ['to nobody', 'untrusted', async (root: Issued) => [await issue({ name: 'alone' }), root, []]],
    [
      'with a critical extension that nobody knows',
      'unknown-critical-extension',
      async (root: Issued) => [await issue({ name: 'odd', issuer: root, unknownCritical: true }), root, []],
    ],
  ] as const)('%s: %s', async (_what, expected, make) => {
    const root = await issue({ name: 'root', isCa: true })
    const [leaf, anchor, intermediates] = (await make(root)) as [Issued, Issued, Issued[]]
    expect(await ours(leaf, anchor, intermediates)).toBe(expected)
    expect(openssl(leaf, anchor, intermediates)).toBe(expected.startsWith('trusted'))
  })

  it('with any byte changed that was signed is refused with a typed error', async () => {
    const root = await issue({ name: 'root', isCa: true })
    const leaf = await issue({ name: 'leaf', issuer: root })
    // What the issuer signed ends here; behind it, the signature's own encoding may be written in two ways.
    const signedBytes = 4 + new Uint8Array(leaf.certificate.tbsView).length
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
          if (position < signedBytes || !Array.isArray(outcome)) expect(outcome).toBeInstanceOf(PathError)
        },
      ),
      { numRuns: 300 },
    )
  })
})
