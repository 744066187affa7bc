/**
 * RSA decryption after the private key operation, which Node's raw RSA does here (RFC 8017, 7.1.2 and 7.2.2).
 */
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CKR, type CryptokiError } from '@webtoki/cryptoki'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type OaepPadding, unpadOaep, unpadPkcs1 } from '../src/software/unpad.ts'
import { hex, wycheproof } from './wycheproof.ts'

const padding = constants.RSA_NO_PADDING
const pkcs8 = (digits: string): KeyObject =>
  createPrivateKey({ key: Buffer.from(digits, 'hex'), format: 'der', type: 'pkcs8' })
const raw = (key: KeyObject, ciphertext: Uint8Array): Uint8Array =>
  Uint8Array.from(privateDecrypt({ key, padding }, ciphertext))
const bytes = (base64url: string | undefined): Buffer => Buffer.from(base64url ?? '', 'base64url')
const modulusOf = (key: KeyObject): string => bytes(key.export({ format: 'jwk' }).n).toString('hex')
const secret = new Uint8Array(32).fill(7)

/** The same secret as in OpenSSL: the hash of the private exponent. */
function secretOf(key: KeyObject): Uint8Array {
  const { n, d } = key.export({ format: 'jwk' })
  const exponent = Buffer.alloc(bytes(n).length)
  bytes(d).copy(exponent, exponent.length - bytes(d).length)
  return createHash('sha256').update(exponent).digest()
}

interface Rejections {
  readonly keys: readonly {
    readonly keyBits: number
    readonly privateKeyPkcs8: string
    readonly tests: readonly { readonly what: string; readonly ct: string; readonly msg: string }[]
  }[]
}
const rejections: Rejections = JSON.parse(
  readFileSync(join(import.meta.dirname, 'vectors', 'implicit-rejection.json'), 'utf8'),
)

describe('RSA PKCS#1 v1.5 with implicit rejection', () => {
  it.each(rejections.keys)(
    'gives the same result as OpenSSL for valid and invalid padding: $keyBits bits',
    (each) => {
      const key = pkcs8(each.privateKeyPkcs8)
      const own = secretOf(key)
      for (const { what, ct, msg } of each.tests) {
        const message = unpadPkcs1(raw(key, hex(ct)), hex(ct), own)
        expect([what, Buffer.from(message).toString('hex')]).toEqual([what, msg])
      }
      // The cases cover bytes before and after the zero, block types and lengths, valid and invalid.
      expect(new Set(each.tests.map(({ what }) => what)).size).toBeGreaterThan(10)
    },
  )

  it('agrees with Wycheproof: the message if valid, other bytes and no error if invalid', () => {
    for (const { tcId, ct, msg, result, group } of wycheproof<'ct' | 'msg', 'privateKeyPkcs8'>(
      'rsa_pkcs1_2048',
    )) {
      const key = pkcs8(group.privateKeyPkcs8)
      if (hex(ct).length !== 256 || ct >= modulusOf(key)) {
        // Not a number below the modulus: that is public, and the private key is not used.
        expect([tcId, result]).toEqual([tcId, 'invalid'])
        continue
      }
      const message = Buffer.from(unpadPkcs1(raw(key, hex(ct)), hex(ct), secret)).toString('hex')
      expect([tcId, message === msg]).toEqual([tcId, result === 'valid'])
    }
  })

  it('gives a message for any wrong block that depends on ciphertext and secret only', () => {
    const block = fc.uint8Array({ minLength: 128, maxLength: 128 })
    fc.assert(
      fc.property(
        block,
        block,
        fc.uint8Array({ minLength: 128, maxLength: 128 }),
        (one, other, ciphertext) => {
          one[1] = 1
          other[0] = 9
          const message = unpadPkcs1(one, ciphertext, secret)
          expect(unpadPkcs1(other, ciphertext, secret)).toEqual(message)
          expect(message.length).toBeLessThanOrEqual(117)
        },
      ),
    )
  })

  it('treats a ciphertext without its leading zeros as the same number', () => {
    const block = new Uint8Array(128).fill(1)
    const ciphertext = new Uint8Array(128).fill(3, 2)
    const message = unpadPkcs1(block, ciphertext, secret)
    expect(unpadPkcs1(block, ciphertext.subarray(2), secret)).toEqual(message)
    expect(unpadPkcs1(block, ciphertext, new Uint8Array(32).fill(8))).not.toEqual(message)
  })
})

const none = new Uint8Array(0)

describe('RSA-OAEP', () => {
  it.each([
    ['rsa_oaep_2048_sha1_mgf1sha1', 'SHA-1'],
    ['rsa_oaep_2048_sha256_mgf1sha256', 'SHA-256'],
  ] as const)('agrees with %s of Wycheproof: the message, or CKR_ENCRYPTED_DATA_INVALID', (name, hash) => {
    const results = { valid: 0, invalid: 0 }
    for (const { tcId, ct, msg, label, result, group } of wycheproof<
      'ct' | 'msg' | 'label',
      'privateKeyPkcs8'
    >(name)) {
      const ciphertext = hex(ct)
      expect(result === 'valid' || result === 'invalid').toBe(true)
      let outcome: string | number
      try {
        const block = raw(pkcs8(group.privateKeyPkcs8), ciphertext)
        outcome = Buffer.from(unpadOaep(block, { hash, mgfHash: hash, label: hex(label) })).toString('hex')
      } catch (error) {
        // Raw RSA refuses numbers of another length or above the modulus, like a card does.
        outcome = (error as CryptokiError).rv ?? CKR.ENCRYPTED_DATA_INVALID
      }
      expect([tcId, outcome]).toEqual([tcId, result === 'valid' ? msg : CKR.ENCRYPTED_DATA_INVALID])
      results[result as 'valid' | 'invalid']++
    }
    expect(Math.min(results.valid, results.invalid)).toBeGreaterThan(10)
  })

  it.each([1024, 1031, 2048])("removes OpenSSL's padding with every hash: %i bits", (modulusLength) => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength })
    const label = hex('010203')
    for (const [hash, oaepHash] of [
      ['SHA-1', 'sha1'],
      ['SHA-224', 'sha224'],
      ['SHA-256', 'sha256'],
      ['SHA-384', 'sha384'],
    ] as const)
      for (const [message, oaepLabel] of [
        [none, none],
        [hex('00'), label],
        [hex('0001ff'), none],
      ] as const) {
        const ciphertext = publicEncrypt({ key: publicKey, oaepHash, oaepLabel }, message)
        const unpad = (more: Partial<OaepPadding>): Uint8Array =>
          unpadOaep(raw(privateKey, ciphertext), { hash, mgfHash: hash, label: oaepLabel, ...more })
        expect(unpad({})).toEqual(message)
        for (const wrong of [{ label: hex('04') }, { mgfHash: 'SHA-512' }] as const)
          expect(() => unpad(wrong)).toThrow(expect.objectContaining({ rv: CKR.ENCRYPTED_DATA_INVALID }))
      }
  })

  it('has one error with one message for everything that is wrong', () => {
    const parameters = { hash: 'SHA-256', mgfHash: 'SHA-1', label: none } as const
    const seen = new Set<string>()
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 256, maxLength: 256 }), fc.boolean(), (block, isBelow) => {
        if (isBelow) block[0] = 0
        try {
          unpadOaep(block, parameters)
          seen.add('a message')
        } catch (error) {
          seen.add(`${(error as CryptokiError).rvName} ${(error as Error).message}`)
        }
      }),
    )
    expect([...seen]).toEqual([expect.stringMatching(/^CKR_ENCRYPTED_DATA_INVALID /)])
  })

  it('refuses a block too short for the hash because of its length', () => {
    expect(() => unpadOaep(new Uint8Array(65), { hash: 'SHA-256', mgfHash: 'SHA-256', label: none })).toThrow(
      expect.objectContaining({ rv: CKR.ENCRYPTED_DATA_LEN_RANGE }),
    )
    expect(() => unpadPkcs1(new Uint8Array(10), none, secret)).toThrow(
      expect.objectContaining({ rv: CKR.ENCRYPTED_DATA_LEN_RANGE }),
    )
  })
})

it('the recorded OpenSSL keys have the sizes that the file states', () => {
  for (const { keyBits, privateKeyPkcs8 } of rejections.keys)
    expect(createPublicKey(pkcs8(privateKeyPkcs8)).asymmetricKeyDetails?.modulusLength).toBe(keyBits)
})
