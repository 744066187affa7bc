import { webcrypto } from 'node:crypto'
import { PathError, verifyPath } from '@webtoki/trust/path'
import { beforeAll, describe, expect, it } from 'vitest'
import { der, type Issued, issue, reissue } from './pki.ts'

const at = new Date('2026-11-24T12:00:00Z')
const RSA = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]
const EC = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]
const P256 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]
const NULL = [5, 0]

/** A positive INTEGER of `bits` bits, all of them set except for the last if `last` is 0. */
const ones = (bits: number, last: 0 | 1 = 1): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff)
  bytes[0] = 0xff >> ((8 - (bits % 8)) % 8)
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) - 1 + last
  return der(0x02, (bytes[0] ?? 0) >= 0x80 ? [0] : [], bytes)
}
const info = (algorithm: readonly (Uint8Array | readonly number[])[], key: Uint8Array): Uint8Array =>
  der(0x30, der(0x30, ...algorithm), der(0x03, [0], key))
const rsa = (
  modulus: Uint8Array,
  exponent: Uint8Array,
  parameters: readonly number[] = NULL,
  ...more: readonly Uint8Array[]
): Uint8Array => info([RSA, parameters], der(0x30, modulus, exponent, ...more))
const F4 = der(0x02, [1, 0, 1])
const point = (first: number, length = 65): Uint8Array => new Uint8Array(length).fill(first, 0, 1)

describe('a certificate with a public key', () => {
  let root: Issued
  let good: Uint8Array
  beforeAll(async () => {
    root = await issue({ name: 'root', isCa: true })
    const pair = (await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
    ])) as webcrypto.CryptoKeyPair
    good = new Uint8Array(await webcrypto.subtle.exportKey('raw', pair.publicKey))
  })

  const reasonOf = async (leaf: Issued, anchor: Issued, between: readonly Issued[] = []): Promise<string> => {
    const intermediates = between.map((each) => each.der)
    try {
      await verifyPath(leaf.der, { anchors: [anchor.der], intermediates, at })
      return 'trusted'
    } catch (error) {
      return error instanceof PathError ? error.reason : String(error)
    }
  }

  it.each<readonly [string, string, () => Uint8Array]>([
    ['RSA of 2048 bits, exponent 65537', 'trusted', () => rsa(ones(2048), F4)],
    ['RSA of 2048 bits, exponent 3', 'trusted', () => rsa(ones(2048), der(0x02, [3]))],
    ['RSA of 16384 bits', 'trusted', () => rsa(ones(16_384), F4)],
    ['RSA with an exponent of 256 bits', 'trusted', () => rsa(ones(2048), ones(256))],
    ['RSA of 2047 bits', 'weak-key', () => rsa(ones(2047), F4)],
    ['RSA of 16385 bits', 'weak-key', () => rsa(ones(16_385), F4)],
    ['RSA with an even modulus', 'weak-key', () => rsa(ones(2048, 0), F4)],
    ['RSA with exponent 1', 'weak-key', () => rsa(ones(2048), der(0x02, [1]))],
    ['RSA with exponent 2', 'weak-key', () => rsa(ones(2048), der(0x02, [2]))],
    ['RSA with exponent 65536', 'weak-key', () => rsa(ones(2048), der(0x02, [1, 0, 0]))],
    ['RSA with an exponent of 257 bits', 'weak-key', () => rsa(ones(2048), ones(257))],
    ['RSA with exponent 0', 'malformed', () => rsa(ones(2048), der(0x02, [0]))],
    ['RSA with a negative exponent', 'malformed', () => rsa(ones(2048), der(0x02, [0xfd]))],
    ['RSA with a negative modulus', 'malformed', () => rsa(der(0x02, new Uint8Array(256).fill(0xff)), F4)],
    ['RSA with zeros before the exponent', 'malformed', () => rsa(ones(2048), der(0x02, [0, 1, 0, 1]))],
    ['RSA with a third number', 'malformed', () => rsa(ones(2048), F4, NULL, F4)],
    ['RSA without parameters', 'malformed', () => rsa(ones(2048), F4, [])],
    ['RSA with other parameters than NULL', 'malformed', () => rsa(ones(2048), F4, [0x30, 0])],
    ['of a point on P-256', 'trusted', () => info([EC, P256], good)],
    ['of a compressed point', 'malformed', () => info([EC, P256], good.slice(0, 33).fill(2, 0, 1))],
    [
      'of a hybrid point',
      'malformed',
      () => info([EC, P256], good.slice().fill(6 + ((good[64] ?? 0) & 1), 0, 1)),
    ],
    ['of a point that is too short', 'malformed', () => info([EC, P256], point(4, 64))],
    ['of a point at infinity', 'malformed', () => info([EC, P256], point(0, 1))],
    ['of a curve with explicit parameters', 'weak-key', () => info([EC, der(0x30, [2, 1, 1])], good)],
    ['of a curve inherited from the issuer (NULL)', 'weak-key', () => info([EC, NULL], good)],
    ['without a curve', 'weak-key', () => info([EC], good)],
    [
      'of a BIT STRING with unused bits',
      'malformed',
      () => der(0x30, der(0x30, EC, P256), der(0x03, [1], good)),
    ],
  ])('%s is %s, as leaf and as issuer', async (_what, expected, make) => {
    const publicKeyInfo = make()
    const leaf = await reissue(await issue({ name: 'leaf', issuer: root }), root, { publicKeyInfo })
    expect(await reasonOf(leaf, root)).toBe(expected)
    // The key did not sign the certificate below, so an accepted key leads to a bad signature.
    const ca = await reissue(await issue({ name: 'ca', issuer: root, isCa: true }), root, { publicKeyInfo })
    const below = await issue({ name: 'below', issuer: ca })
    const asIssuer = expected === 'trusted' ? 'bad-signature' : expected
    expect(await reasonOf(below, root, [ca])).toBe(asIssuer)
    expect(await reasonOf(below, ca)).toBe(asIssuer)
  })
})

describe('a certificate signed with RSA-PSS', () => {
  const PSS = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]
  const SHA256 = der(0x30, [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1])
  const SHA512 = der(0x30, [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3])
  const MGF1 = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8]
  const parameters = (hash: Uint8Array, salt: number): Uint8Array =>
    der(0x30, der(0xa0, hash), der(0xa1, der(0x30, MGF1, hash)), der(0xa2, der(0x02, [salt])))

  it.each([
    ['any hash', 'trusted', undefined],
    ['this hash and salt', 'trusted', parameters(SHA256, 32)],
    ['this hash and a shorter salt', 'trusted', parameters(SHA256, 20)],
    ['this hash and a longer salt', 'bad-signature', parameters(SHA256, 33)],
    ['another hash', 'bad-signature', parameters(SHA512, 32)],
  ])('by a key of id-RSASSA-PSS that allows %s: %s', async (_what, expected, allowed) => {
    const root = await issue({ name: 'root', isCa: true })
    const ca = await issue({ name: 'ca', issuer: root, isCa: true, algorithm: 'PS256' })
    const leaf = await issue({ name: 'leaf', issuer: ca })
    const jwk = await webcrypto.subtle.exportKey('jwk', ca.keys.publicKey)
    const key = der(0x30, der(0x02, [0], Buffer.from(jwk.n ?? '', 'base64url')), F4)
    const publicKeyInfo = info([PSS, allowed ?? []], key)
    const changed = await reissue(ca, root, { publicKeyInfo })
    const outcome = verifyPath(leaf.der, { anchors: [root.der], intermediates: [changed.der], at })
    if (expected === 'trusted') expect((await outcome).path.length).toBe(3)
    else await expect(outcome).rejects.toMatchObject({ reason: expected })
  })
})
