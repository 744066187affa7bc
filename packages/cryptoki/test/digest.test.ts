import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDigest, type DigestName, hash } from '../src/digest.ts'

const names: readonly (readonly [DigestName, string])[] = [
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

describe.each(names)('%s', (name, nodes) => {
  it.each(['in WebAssembly', 'where a page forbids that'] as const)(
    'agrees with OpenSSL however the data is cut, %s',
    async (how) => {
      const forbidden = (): Promise<never> => Promise.reject(new Error('unsafe-eval is forbidden'))
      await fc.assert(
        fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), async (chunks) => {
          const digest = await (how === 'in WebAssembly' ? createDigest(name) : createDigest(name, forbidden))
          const judge = createHash(nodes)
          for (const chunk of chunks) {
            digest.update(chunk)
            judge.update(chunk)
          }
          expect(Buffer.from(digest.digest())).toEqual(judge.digest())
        }),
        { numRuns: 25 },
      )
      expect(Buffer.from(hash(name, Uint8Array.of(1)))).toEqual(
        createHash(nodes).update(Uint8Array.of(1)).digest(),
      )
    },
  )

  it('two at once do not mix', async () => {
    const [first, second] = [await createDigest(name), await createDigest(name)]
    first.update(Uint8Array.of(1))
    second.update(Uint8Array.of(2))
    first.update(Uint8Array.of(3))
    expect(Buffer.from(second.digest())).toEqual(createHash(nodes).update(Uint8Array.of(2)).digest())
    expect(Buffer.from(first.digest())).toEqual(createHash(nodes).update(Uint8Array.of(1, 3)).digest())
  })
})
