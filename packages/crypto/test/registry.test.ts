/** The registries of hashes, curves and signature algorithms, compared with OpenSSL and Node's WebCrypto. */
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  publicDecrypt,
  sign,
  verify,
  webcrypto,
} from 'node:crypto'
import {
  type Curve,
  curveOfOid,
  curveOfParameters,
  curves,
  encodeDigestInfo,
  encodeOid,
  encodePointInfo,
  encodeRsaKeyInfo,
  encodeSignatureScheme,
  encodeUnsigned,
  hashes,
  type HashName,
  hashOfOid,
  isWeakKey,
  nameOfScheme,
  onlyElement,
  objectIdentifier,
  type PublicKey,
  readPublicKey,
  readSignatureScheme,
  schemeOf,
  signatureAlgorithms,
  webCryptoParameters,
} from '@webtoki/crypto'
import { isPoint } from '@webtoki/crypto/curve-arithmetic'
import { hashNow } from '@webtoki/crypto/hash-now'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const names = Object.keys(hashes) as HashName[]
const message = new TextEncoder().encode('registry')

/** OpenSSL's names of the curves that it names differently. */
const openSslCurves: Readonly<Record<string, string>> = {
  'P-256': 'prime256v1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
}

function keyOn({ name, isEdwards }: Curve): { publicKey: KeyObject; privateKey: KeyObject } {
  if (isEdwards) return generateKeyPairSync('ed25519')
  return generateKeyPairSync('ec', { namedCurve: openSslCurves[name] ?? name })
}

const infoOf = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }))

describe('the registry of hashes', () => {
  it.each(names)('has the length of %s, and hashNow agrees with OpenSSL', (name) => {
    const reference = createHash(name.replace('SHA-', 'sha').replace('SHA3', 'sha3')).update(message).digest()
    expect(hashes[name].bytes).toBe(reference.length)
    expect(hashNow(name, message)).toEqual(new Uint8Array(reference))
    expect(hashOfOid(hashes[name].oid)).toBe(name)
  })

  it.each(names.filter((name) => hashes[name].isInWebCrypto))(
    'states that WebCrypto has %s, which Node confirms',
    async (name) => {
      const digest = webcrypto.subtle.digest(name, message)
      expect((await digest).byteLength).toBe(hashes[name].bytes)
    },
  )

  it.each(names.filter((name) => !name.startsWith('SHA3')))(
    'encodes the DigestInfo of %s as OpenSSL signs it',
    (name) => {
      const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
      const signature = sign(name.replace('SHA-', 'RSA-SHA'), message, privateKey)
      const info = encodeDigestInfo(name, hashNow(name, message))
      const block = publicDecrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, signature)
      expect(new Uint8Array(block.subarray(-info.length))).toEqual(info)
    },
  )

  it('refuses to encode a digest of the wrong length', () => {
    expect(() => encodeDigestInfo('SHA-256', new Uint8Array(20))).toThrow(RangeError)
  })
})

describe('the registry of curves', () => {
  it.each(curves)('decodes an OpenSSL key on $name and encodes it to the same bytes', (curve) => {
    const info = infoOf(keyOn(curve).publicKey)
    const key = readPublicKey(info)
    if (key.kind !== 'ec' && key.kind !== 'edwards') throw new Error(key.kind)
    expect(key.curve.name).toBe(curve.name)
    expect(key.point.length).toBe(curve.isEdwards ? curve.fieldBytes : 1 + 2 * curve.fieldBytes)
    expect(encodePointInfo(curve, key.point)).toEqual(info)
    expect(isWeakKey(key)).toBe(false)
    expect(curveOfOid(curve.oid)).toBe(curve)
    expect(curveOfParameters(encodeOid(curve.oid))).toBe(curve)
  })

  it.each(curves)('accepts a point on $name and refuses one that is not on the curve', (curve) => {
    const key = readPublicKey(infoOf(keyOn(curve).publicKey))
    if (key.kind !== 'ec' && key.kind !== 'edwards') throw new Error(key.kind)
    expect(isPoint(curve, key.point)).toBe(true)
    if (key.kind === 'ec')
      expect(
        isPoint(
          curve,
          key.point.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
        ),
      ).toBe(false)
    expect(isPoint(curve, key.point.subarray(1))).toBe(false)
  })

  it('decodes unsupported keys as other, with their object identifiers', () => {
    const rows: readonly (readonly [KeyObject, PublicKey])[] = [
      [
        generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).publicKey,
        { kind: 'other', algorithm: '1.2.840.10045.2.1', curve: '1.3.132.0.33' },
      ],
      [generateKeyPairSync('ed448').publicKey, { kind: 'other', algorithm: '1.3.101.113', curve: undefined }],
      [
        generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).publicKey,
        { kind: 'other', algorithm: '1.2.840.10040.4.1', curve: undefined },
      ],
    ]
    for (const [key, expected] of rows) {
      expect(readPublicKey(infoOf(key))).toEqual(expected)
      expect(isWeakKey(expected)).toBe(false)
    }
  })

  it('has a weak key if the key contains explicit curve parameters', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1', paramEncoding: 'explicit' })
    const key = readPublicKey(infoOf(publicKey))
    expect(key).toMatchObject({ kind: 'other', curve: undefined })
    expect(isWeakKey(key)).toBe(true)
  })
})

describe('an RSA key', () => {
  it.each([1024, 2048])('of %i bits is decoded and encoded to the same bytes', (bits) => {
    const info = infoOf(generateKeyPairSync('rsa', { modulusLength: bits }).publicKey)
    const key = readPublicKey(info)
    if (key.kind !== 'rsa') throw new Error(key.kind)
    expect(key.bits).toBe(bits)
    expect(encodeRsaKeyInfo(key)).toEqual(info)
    expect(isWeakKey(key)).toBe(bits < 2048)
  })

  it('with id-RSASSA-PSS is encoded as rsaEncryption, so that platforms import it', () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa-pss', {
      modulusLength: 2048,
      hashAlgorithm: 'sha256',
      mgf1HashAlgorithm: 'sha256',
    })
    const key = readPublicKey(infoOf(publicKey))
    if (key.kind !== 'rsa') throw new Error(key.kind)
    expect(key.pss?.parameters).toBeDefined()
    const plain = createPublicKey({ key: Buffer.from(encodeRsaKeyInfo(key)), format: 'der', type: 'spki' })
    const signature = sign('sha256', message, { key: privateKey, saltLength: 32 })
    expect(verify('sha256', message, { key: plain, padding: 6, saltLength: 32 }, signature)).toBe(true)
  })
})

describe('the registry of signature algorithms', () => {
  it.each(signatureAlgorithms)('has a scheme of %s that survives encoding in DER', (name) => {
    const { curve: _, ...scheme } = schemeOf(name)
    expect(readSignatureScheme(encodeSignatureScheme(scheme))).toEqual(scheme)
  })

  it.each(signatureAlgorithms)('has WebCrypto parameters of %s that Node accepts', async (name) => {
    const { curve, ...scheme } = schemeOf(name)
    const { key, signature } = webCryptoParameters(scheme, curve)
    const rsa = curve ? {} : { modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) }
    const pair = (await webcrypto.subtle.generateKey({ ...rsa, ...key } as webcrypto.EcKeyGenParams, false, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair
    const made = await webcrypto.subtle.sign(signature as webcrypto.EcdsaParams, pair.privateKey, message)
    expect(
      await webcrypto.subtle.verify(signature as webcrypto.EcdsaParams, pair.publicKey, made, message),
    ).toBe(true)
  })

  it('decodes MD2 and MD5 as weak, SHA-1 as a scheme, and unsupported algorithms as undefined', () => {
    const identifier = (oid: string): Uint8Array =>
      Uint8Array.of(0x30, encodeOid(oid).length, ...encodeOid(oid))
    // MD2 and MD5 with RSA.
    for (const oid of ['1.2.840.113549.1.1.2', '1.2.840.113549.1.1.4'])
      expect(readSignatureScheme(identifier(oid))).toBe('weak')
    // SHA-1 with RSA, under both identifiers, and with ECDSA.
    const pkcs1 = { family: 'pkcs1', hash: 'SHA-1' }
    for (const oid of ['1.2.840.113549.1.1.5', '1.3.14.3.2.29'])
      expect(readSignatureScheme(identifier(oid))).toEqual(pkcs1)
    expect(readSignatureScheme(identifier('1.2.840.10045.4.1'))).toEqual({ family: 'ecdsa', hash: 'SHA-1' })
    // RSA-PSS without parameters uses SHA-1.
    const pss = { family: 'pss', hash: 'SHA-1', saltBytes: 20 }
    expect(readSignatureScheme(identifier('1.2.840.113549.1.1.10'))).toEqual(pss)
    expect(hashes['SHA-1'].isWeak).toBe(true)
    // GOST R 34.10-2012.
    expect(readSignatureScheme(identifier('1.2.643.7.1.1.3.2'))).toBeUndefined()
    expect(readSignatureScheme(identifier('1.2.840.113549.1.1.1'))).toBeUndefined()
    expect(readSignatureScheme(identifier('1.2.840.113549.1.1.1'), 'SHA-384')).toEqual({
      family: 'pkcs1',
      hash: 'SHA-384',
    })
    expect(readSignatureScheme(identifier('1.2.840.113549.1.1.1'), 'SHA-1')).toEqual(pkcs1)
  })

  it('has names for people', () => {
    expect(nameOfScheme(schemeOf('PS256'))).toBe('RSA-PSS with SHA-256')
    expect(nameOfScheme({ family: 'eddsa' })).toBe('EdDSA')
  })
})

describe('encoded DER', () => {
  it('of an object identifier decodes to the same identifier', () => {
    const arc = fc.nat(0x7fff_ffff)
    fc.assert(
      fc.property(fc.nat(1), fc.nat(39), fc.array(arc), (root, second, others) => {
        const oid = [root, second, ...others].join('.')
        expect(objectIdentifier(onlyElement(encodeOid(oid)))).toBe(oid)
      }),
    )
    expect(objectIdentifier(onlyElement(encodeOid('2.999.3')))).toBe('2.999.3')
  })

  it('of a number has no superfluous leading zeros', () => {
    expect(encodeUnsigned(Uint8Array.of(0, 0, 1))).toEqual(Uint8Array.of(2, 1, 1))
    expect(encodeUnsigned(Uint8Array.of(0x80))).toEqual(Uint8Array.of(2, 2, 0, 0x80))
    expect(encodeUnsigned(new Uint8Array(3))).toEqual(Uint8Array.of(2, 1, 0))
  })
})
