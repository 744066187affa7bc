/** RSA paddings, verified by OpenSSL through Node, and strict DER of ECDSA signatures. */
import { constants, createHash, generateKeyPairSync, privateEncrypt, randomBytes, verify } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fromHex, toHex } from '@webtoki/apdu'
import {
  ecdsaSignatureFromDer,
  ecdsaSignatureToDer,
  encodeDigestInfo,
  fitDigest,
  padPkcs1,
} from '@webtoki/crypto'
import { padPss } from '@webtoki/crypto/hash-now'

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())
const message = new TextEncoder().encode('message')

for (const keyBits of [1024, 1025, 1031, 2048]) {
  it(`raw RSA-${keyBits} over padPkcs1 and padPss gives signatures that OpenSSL verifies`, () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: keyBits })
    const raw = (block: Uint8Array) =>
      privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, block)
    const keyBytes = Math.ceil(keyBits / 8)
    const v15 = raw(padPkcs1(encodeDigestInfo('SHA-256', sha256(message)), keyBytes))
    expect(verify('sha256', message, publicKey, v15)).toBe(true)
    for (const saltBytes of [0, 32]) {
      const random = (n: number) => new Uint8Array(randomBytes(n))
      const pss = raw(
        padPss(sha256(message), {
          keyBits,
          saltBytes,
          hash: 'SHA-256',
          mgfHash: 'SHA-256',
          randomBytes: random,
        }),
      )
      const key = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltBytes }
      expect(verify('sha256', message, key, pss)).toBe(true)
    }
  })
}

it('padPkcs1 pads at least 8 bytes and refuses shorter keys, encodeDigestInfo refuses a wrong length', () => {
  expect(() => padPkcs1(new Uint8Array(54), 64)).toThrow(RangeError)
  expect(toHex(padPkcs1(fromHex('aa'), 12))).toBe('0001ffffffffffffffff00aa')
  expect(() => encodeDigestInfo('SHA-1', new Uint8Array(32))).toThrow(RangeError)
})

it('fitDigest truncates a long digest on the right and extends a short one on the left', () => {
  expect(toHex(fitDigest(fromHex('0102030405'), 4))).toBe('01020304')
  expect(toHex(fitDigest(fromHex('0102'), 4))).toBe('00000102')
})

it('ECDSA signatures are converted to r‖s of full length, and refused if they are not strict DER', () => {
  expect(toHex(ecdsaSignatureFromDer(fromHex('3007020200ff020101'), 2))).toBe('00ff0001')
  expect(toHex(ecdsaSignatureToDer(fromHex('00ff0001')))).toBe('3007020200ff020101')
  expect(() => ecdsaSignatureToDer(new Uint8Array(3))).toThrow(RangeError)
  const bad = [
    '3006020101', // truncated
    '3006020180020101', // negative
    '3006020100020101', // zero
    '300702020001020101', // a superfluous zero byte
    '308106020101020101', // long form of a short length
    '30060201010201010000', // surplus bytes
    '3009020101020101020101', // a third INTEGER
    '3106020101020101', // not a SEQUENCE
    '3006040101020101', // not an INTEGER
    '30080203010000020101', // longer than the field
    '30050200020101', // an empty INTEGER
  ]
  for (const hex of bad) expect(() => ecdsaSignatureFromDer(fromHex(hex), 2), hex).toThrow(RangeError)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      try {
        ecdsaSignatureFromDer(bytes, 32)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
      }
    }),
  )
})
