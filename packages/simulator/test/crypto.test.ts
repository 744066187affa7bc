/** Checks triple DES and raw RSA against node:crypto. */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toInteger } from '../src/bytes.ts'
import { rsaKeyFromPrimes, rsaPrivateOperation } from '../src/crypto/raw-rsa.ts'
import { tripleDesDecrypt, tripleDesEncrypt } from '../src/crypto/triple-des.ts'
import { block, show } from './piv-terminal.ts'

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length })

test('triple DES gives the same result as OpenSSL for any key and block', () => {
  fc.assert(
    fc.property(bytes(24), bytes(8), (key, input) => {
      const output = tripleDesEncrypt(key, input)
      expect(show(output)).toBe(show(block(3, key, input)))
      expect(show(tripleDesDecrypt(key, output))).toBe(show(input))
    }),
  )
})

test.each([1024, 2048, 3072])('raw RSA with %i bits gives the same result as OpenSSL', (bits) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits })
  const jwk = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })).export({ format: 'jwk' })
  const number = (text = ''): bigint => toInteger(Buffer.from(text, 'base64url'))
  const key = rsaKeyFromPrimes(number(jwk.p), number(jwk.q))
  fc.assert(
    fc.property(bytes(bits / 8), (random) => {
      const input = random.slice()
      input[0] = 0
      const expected = privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, input)
      expect(show(rsaPrivateOperation(key, input))).toBe(show(expected))
      const sealed = publicEncrypt(
        { key: createPublicKey(privateKey), padding: constants.RSA_NO_PADDING },
        input,
      )
      expect(show(rsaPrivateOperation(key, sealed))).toBe(show(input))
    }),
    { numRuns: 10 },
  )
  expect(() => rsaPrivateOperation(key, new Uint8Array(bits / 8).fill(0xff))).toThrow(RangeError)
})
