import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StreamingDigest } from '../src/digest.ts'
import type { HashName } from '@webtoki/crypto'
import { createLongDigest } from '@webtoki/crypto/streaming-digest'

const names: readonly (readonly [HashName, string])[] = [
  ['SHA-1', 'sha1'],
  ['SHA-224', 'sha224'],
  ['SHA-256', 'sha256'],
  ['SHA-384', 'sha384'],
  ['SHA-512', 'sha512'],
  ['SHA3-224', 'sha3-224'],
  ['SHA3-256', 'sha3-256'],
  ['SHA3-384', 'sha3-384'],
  ['SHA3-512', 'sha3-512'],
]

describe.each(names)('%s', (name, nodeName) => {
  it.each([
    ['in WebAssembly', undefined],
    ['without WebAssembly', () => Promise.reject(new Error('unsafe-eval is forbidden'))],
  ] as const)('agrees with OpenSSL for data in chunks of any length, %s', async (_how, create) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), async (chunks) => {
        const digest = await createLongDigest(name, create)
        const judge = createHash(nodeName)
        for (const chunk of chunks) {
          digest.update(chunk)
          judge.update(chunk)
        }
        expect(Buffer.from(digest.digest())).toEqual(judge.digest())
      }),
      { numRuns: 25 },
    )
  })

  it('agrees with OpenSSL around the length at which WebAssembly takes over', async () => {
    for (const lengths of [
      [],
      [0],
      [1],
      [65_535],
      [65_536],
      [65_537],
      [65_536, 1],
      [40_000, 40_000, 5],
      [200_000, 3],
    ]) {
      const digest = new StreamingDigest(name)
      const judge = createHash(nodeName)
      for (const [at, length] of lengths.entries()) {
        const chunk = new Uint8Array(length).fill(at + 1)
        await digest.update(chunk)
        judge.update(chunk)
        // The caller may reuse its buffer after update() resolves.
        chunk.fill(0)
      }
      expect(Buffer.from(await digest.digest()), lengths.join()).toEqual(judge.digest())
    }
  })

  it('two digests at once do not mix', async () => {
    const [first, second] = [new StreamingDigest(name), new StreamingDigest(name)]
    await Promise.all([first.update(Uint8Array.of(1)), second.update(Uint8Array.of(2))])
    await first.update(Uint8Array.of(3))
    expect(Buffer.from(await second.digest())).toEqual(createHash(nodeName).update(Uint8Array.of(2)).digest())
    expect(Buffer.from(await first.digest())).toEqual(
      createHash(nodeName).update(Uint8Array.of(1, 3)).digest(),
    )
  })
})
