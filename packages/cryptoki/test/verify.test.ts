import { constants, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { decodeTlv, encodeTlv } from '@webtoki/apdu'
import { type Attributes, CKA, CKG, CKK, CKM, CKR } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { hashNow as hash } from '@webtoki/crypto/hash-now'
import { verifySignature } from '../src/verify.ts'

const message = new TextEncoder().encode('a message')
const bytes = (base64url: string | undefined): Uint8Array =>
  new Uint8Array(Buffer.from(base64url ?? '', 'base64url'))

function rsaAttributes(key: KeyObject): Attributes {
  const { n, e } = key.export({ format: 'jwk' })
  return { [CKA.KEY_TYPE]: CKK.RSA, [CKA.MODULUS]: bytes(n), [CKA.PUBLIC_EXPONENT]: bytes(e) }
}

function ecAttributes(key: KeyObject, oid: string): Attributes {
  const { x, y } = key.export({ format: 'jwk' })
  const point = Uint8Array.of(4, ...bytes(x), ...bytes(y))
  return {
    [CKA.KEY_TYPE]: CKK.EC,
    [CKA.EC_PARAMS]: new Uint8Array(Buffer.from(oid, 'hex')),
    [CKA.EC_POINT]: encodeTlv(0x04, point),
  }
}

describe('invalid RSA parameters', () => {
  const modulus = new Uint8Array(256).fill(0xff)
  it.each([
    ['exponent 1', modulus, Uint8Array.of(1)],
    ['exponent 1 after zeros', modulus, Uint8Array.of(0, 0, 1)],
    ['exponent 4', modulus, Uint8Array.of(4)],
    ['an exponent of 257 bits', modulus, Uint8Array.of(1, ...new Uint8Array(32).fill(0xff))],
    ['an even modulus', modulus.slice().fill(0xfe, 255), Uint8Array.of(1, 0, 1)],
    ['no exponent', modulus, new Uint8Array(0)],
  ])('refuse every signature: %s', (_what, n, exponent) => {
    const key = { [CKA.KEY_TYPE]: CKK.RSA, [CKA.MODULUS]: n, [CKA.PUBLIC_EXPONENT]: exponent }
    const mechanism = { type: CKM.RSA_X_509 }
    const data = new Uint8Array(256).fill(0, 1).fill(1, 255)
    expect(() => verifySignature(key, mechanism, data, data)).toThrow(
      expect.objectContaining({ rv: CKR.KEY_SIZE_RANGE }),
    )
  })
})

describe.each([1024, 1030, 2048, 2049])('RSA of %i bits', (modulusLength) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength })
  const key = rsaAttributes(publicKey)

  it("accepts exactly OpenSSL's PKCS#1 v1.5 signature", () => {
    const signature = new Uint8Array(createSign('sha256').update(message).sign(privateKey))
    const mechanism = { type: CKM.SHA256_RSA_PKCS }
    const digest = hash('SHA-256', message)
    expect(verifySignature(key, mechanism, digest, signature)).toBe(true)
    expect(verifySignature(key, mechanism, hash('SHA-256', Uint8Array.of(1)), signature)).toBe(false)
    expect(verifySignature(key, { type: CKM.SHA384_RSA_PKCS }, hash('SHA-384', message), signature)).toBe(
      false,
    )
    for (let at = 0; at < signature.length; at += 17) {
      const changed = signature.slice()
      changed[at] = (changed[at] ?? 0) ^ 0x40
      expect(verifySignature(key, mechanism, digest, changed)).toBe(false)
    }
    expect(() => verifySignature(key, mechanism, digest, signature.slice(1))).toThrow(
      'CKR_SIGNATURE_LEN_RANGE',
    )
    expect(verifySignature(key, mechanism, digest, new Uint8Array(signature.length).fill(0xff))).toBe(false)
  })

  it.each([0, 20, 32])(
    "accepts OpenSSL's PSS signature with a salt of %i bytes, and no other salt",
    (saltBytes) => {
      const signature = new Uint8Array(
        createSign('sha256')
          .update(message)
          .sign({ key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltBytes }),
      )
      const digest = hash('SHA-256', message)
      const mechanism = (salt: number) => ({
        type: CKM.SHA256_RSA_PKCS_PSS,
        pss: { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltBytes: salt },
      })
      expect(verifySignature(key, mechanism(saltBytes), digest, signature)).toBe(true)
      expect(verifySignature(key, mechanism(saltBytes + 1), digest, signature)).toBe(false)
      expect(verifySignature(key, mechanism(saltBytes), hash('SHA-256', Uint8Array.of(1)), signature)).toBe(
        false,
      )
    },
  )
})

describe.each([
  ['P-256', '06082a8648ce3d030107', 'sha256', 'SHA-256', CKM.ECDSA_SHA256],
  ['P-384', '06052b81040022', 'sha384', 'SHA-384', CKM.ECDSA_SHA384],
  ['P-384', '06052b81040022', 'sha512', 'SHA-512', CKM.ECDSA_SHA512],
  ['P-521', '06052b81040023', 'sha512', 'SHA-512', CKM.ECDSA_SHA512],
] as const)('ECDSA on %s (%s) with %s', (namedCurve, oid, nodeName, name, type) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
  const key = ecAttributes(publicKey, oid)

  it("accepts exactly OpenSSL's signature", () => {
    for (let run = 0; run < 5; run++) {
      const signature = new Uint8Array(
        createSign(nodeName).update(message).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }),
      )
      const digest = hash(name, message)
      expect(verifySignature(key, { type }, digest, signature)).toBe(true)
      expect(verifySignature(key, { type }, hash(name, Uint8Array.of(1)), signature)).toBe(false)
      signature[5] = (signature[5] ?? 0) ^ 1
      expect(verifySignature(key, { type }, digest, signature)).toBe(false)
      expect(verifySignature(key, { type }, digest, new Uint8Array(signature.length))).toBe(false)
    }
  })

  it('refuses a point off the curve or not uncompressed, and an unknown curve', () => {
    const signature = new Uint8Array(
      createSign(nodeName).update(message).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }),
    )
    const own = decodeTlv(key[CKA.EC_POINT] as Uint8Array).value
    expect(verifySignature(key, { type }, hash(name, message), signature)).toBe(true)
    // The same point, compressed and hybrid.
    const last = (own.at(-1) ?? 0) & 1
    for (const point of [
      own.slice(0, (own.length + 1) / 2).fill(2 + last, 0, 1),
      own.slice().fill(6 + last, 0, 1),
    ]) {
      const other = { ...key, [CKA.EC_POINT]: encodeTlv(0x04, point) }
      expect(verifySignature(other, { type }, hash(name, message), signature)).toBe(false)
    }
    const off = { ...key, [CKA.EC_POINT]: encodeTlv(0x04, Uint8Array.of(4, 1, 2, 3)) }
    expect(verifySignature(off, { type }, hash(name, message), signature)).toBe(false)
    const unknown = { ...key, [CKA.EC_PARAMS]: Uint8Array.of(6, 1, 1) }
    expect(() => verifySignature(unknown, { type }, hash(name, message), signature)).toThrow(
      expect.objectContaining({ rv: CKR.KEY_SIZE_RANGE }),
    )
  })
})
