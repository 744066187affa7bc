/**
 * Keys in software, compared with Node's ciphers: GCM, counters, key wrap, HMAC, RSA with a public key, and
 * what each refuses.
 */
import {
  constants,
  createCipheriv,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  privateEncrypt,
  sign as signByNode,
} from 'node:crypto'
import { encodeTlv } from '@webtoki/apdu'
import {
  type Attributes,
  CKA,
  CKG,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  type CryptokiError,
  MAX_GCM_BYTES,
  type RawMechanism,
  type Session,
} from '@webtoki/cryptoki'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { aesKey as aesUse } from '../src/software/aes.ts'
import { publicKey } from '../src/software/public-key.ts'
import { createLongHmac } from '@webtoki/crypto/streaming-digest'
import { aesKey, cbcPad, iv, keyBytes, openMemory, rv } from './memory-setup.ts'
import { hex } from './wycheproof.ts'

const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const of64 = (digits: string | undefined): Uint8Array => bytes(Buffer.from(digits ?? '', 'base64url'))
const message = new TextEncoder().encode('a message of more than two blocks of AES')
const none = new Uint8Array(0)

async function memory(): Promise<Session> {
  return (await openMemory()).session
}

afterEach(() => void vi.unstubAllGlobals())

/** A page without a secure context has no WebCrypto. */
const platforms: readonly (readonly [string, () => void])[] = [
  ['with WebCrypto', () => {}],
  ['without WebCrypto', () => void vi.stubGlobal('crypto', undefined)],
  [
    'with a WebCrypto that refuses the key, like Chrome for 192 bits',
    () => void vi.stubGlobal('crypto', { subtle: { importKey: () => Promise.reject(new Error('192')) } }),
  ],
]

/** Cuts the data at the given places. */
function pieces(data: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((cut) => cut % (data.length + 1)), data.length].sort((a, b) => a - b)
  return ends.map((end, at) => data.subarray(ends[at - 1] ?? 0, end))
}

async function run(
  use: ReturnType<ReturnType<typeof aesUse>['use']>,
  data: Uint8Array,
  cuts: readonly number[] = [],
): Promise<Uint8Array> {
  const stream = use.open?.()
  if (stream === undefined) throw new Error('The key has no stream.')
  const parts: Uint8Array[] = []
  for (const piece of pieces(data, cuts)) {
    const most = stream.updateBytes(piece.length)
    const part = await stream.update(piece)
    expect(part.length).toBeLessThanOrEqual(most)
    parts.push(part)
  }
  const output = bytes(Buffer.concat([...parts, await stream.final()]))
  expect(output.length).toBeLessThanOrEqual(use.outputBytes(data.length))
  stream.abort()
  return output
}

describe.each(platforms)('AES %s', (_, stubPlatform) => {
  const sizes = fc.constantFrom(16, 24, 32)
  const cuts = fc.array(fc.nat(400), { maxLength: 6 })

  it.each([
    ['cbc', CKM.AES_CBC],
    ['cbc', CKM.AES_CBC_PAD],
    ['ctr', CKM.AES_CTR],
    ['ecb', CKM.AES_ECB],
  ] as const)(
    'gives the same output in any chunks as OpenSSL in one: %s, mechanism %i',
    async (mode, type) => {
      stubPlatform()
      await fc.assert(
        fc.asyncProperty(sizes, fc.uint8Array({ maxLength: 400 }), cuts, async (keyLength, any, at) => {
          const isWhole = type === CKM.AES_CBC || type === CKM.AES_ECB
          const data = isWhole ? any.subarray(0, any.length - (any.length % 16)) : any
          const value = keyBytes.subarray(0, keyLength)
          const cipherOfNode = createCipheriv(
            `aes-${8 * keyLength}-${mode}`,
            value,
            mode === 'ecb' ? null : iv,
          )
          cipherOfNode.setAutoPadding(type === CKM.AES_CBC_PAD)
          const expected = bytes(Buffer.concat([cipherOfNode.update(data), cipherOfNode.final()]))
          const mechanism = mode === 'ecb' ? { type } : { type, iv }
          expect(await run(aesUse(value).use('encrypt', mechanism), data, at)).toEqual(expected)
          expect(await run(aesUse(value).use('unwrap', mechanism), expected, at)).toEqual(data)
        }),
        { numRuns: 40 },
      )
    },
  )

  it('with GCM and every tag length gives the same output as OpenSSL, and decrypts it', async () => {
    stubPlatform()
    const tags = fc.constantFrom(96, 104, 112, 120, 128)
    const any = fc.uint8Array({ maxLength: 100 })
    const ivs = fc.uint8Array({ minLength: 8, maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(sizes, tags, ivs, any, any, cuts, async (keyLength, tagBits, own, aad, data, at) => {
        const value = keyBytes.subarray(0, keyLength)
        const name = `aes-${8 * keyLength}-gcm` as 'aes-128-gcm'
        const cipherOfNode = createCipheriv(name, value, own, { authTagLength: tagBits / 8 })
        cipherOfNode.setAAD(aad)
        const expected = bytes(
          Buffer.concat([cipherOfNode.update(data), cipherOfNode.final(), cipherOfNode.getAuthTag()]),
        )
        const mechanism = { type: CKM.AES_GCM, gcm: { iv: own, aad, tagBits } }
        expect(await run(aesUse(value).use('wrap', mechanism), data, at)).toEqual(expected)
        expect(await run(aesUse(value).use('decrypt', mechanism), expected, at)).toEqual(data)
        const changed = bytes(expected)
        const index = (at[0] ?? 0) % changed.length
        changed[index] = (changed[index] as number) ^ 1
        await expect(run(aesUse(value).use('decrypt', mechanism), changed, at)).rejects.toEqual(
          rv(CKR.ENCRYPTED_DATA_INVALID),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('counts in counterBits bits, and refuses data that would repeat a counter block', async () => {
    stubPlatform()
    const blocks = async (counter: Uint8Array, counterBits: number, data: Uint8Array, at: number[] = []) =>
      run(aesUse(keyBytes).use('encrypt', { type: CKM.AES_CTR, iv: counter, counterBits }), data, at)
    // The keystream, block by block, from OpenSSL's ECB over counters that the test counts.
    const stream = (counters: readonly string[]): Uint8Array => {
      const cipherOfNode = createCipheriv('aes-256-ecb', keyBytes, null).setAutoPadding(false)
      return bytes(cipherOfNode.update(Buffer.from(counters.join(''), 'hex')))
    }
    const fixed = 'a0'.repeat(15)
    const expected = stream([`${fixed}fe`, `${fixed}ff`, `${fixed}00`, `${fixed}01`])
    for (const cuts of [[], [1, 17, 33], [16], [31, 32, 48], [40]])
      expect(await blocks(hex(`${fixed}fe`), 8, new Uint8Array(64), cuts)).toEqual(expected)
    const ones = stream(['ff'.repeat(16), '00'.repeat(16)])
    expect(await blocks(hex('ff'.repeat(16)), 128, new Uint8Array(32))).toEqual(ones)
    // Two bits are four blocks.
    const four = stream(['03', '00', '01', '02'].map((last) => `${'00'.repeat(15)}${last}`))
    expect(await blocks(hex(`${'00'.repeat(15)}03`), 2, new Uint8Array(64))).toEqual(four)
    for (const cuts of [[], [64], [10, 63]])
      await expect(blocks(hex('00'.repeat(16)), 2, new Uint8Array(65), cuts)).rejects.toEqual(
        rv(CKR.DATA_LEN_RANGE),
      )
  })

  it('wraps keys like RFC 3394 and RFC 5649, and refuses changed bytes', async () => {
    stubPlatform()
    const vectors = [
      // RFC 3394, 4.6.
      [
        CKM.AES_KEY_WRAP,
        '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
        '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f',
        '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21',
      ],
      // RFC 5649, 6.
      [
        CKM.AES_KEY_WRAP_KWP,
        '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
        'c37b7e6492584340bed12207808941155068f738',
        '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
      ],
    ] as const
    for (const [type, kek, key, wrapped] of vectors) {
      const usable = aesUse(hex(kek))
      expect(await run(usable.use('wrap', { type }), hex(key), [7, 9])).toEqual(hex(wrapped))
      expect(await run(usable.use('unwrap', { type }), hex(wrapped))).toEqual(hex(key))
      for (let at = 0; at < hex(wrapped).length; at += 5) {
        const changed = hex(wrapped)
        changed[at] = (changed[at] as number) ^ 0x80
        await expect(run(usable.use('unwrap', { type }), changed)).rejects.toEqual(
          rv(CKR.ENCRYPTED_DATA_INVALID),
        )
      }
      for (const length of [0, 8, 25])
        await expect(run(usable.use('unwrap', { type }), new Uint8Array(length))).rejects.toEqual(
          rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
        )
      await expect(run(usable.use('wrap', { type }), none)).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
    }
    await expect(
      run(aesUse(keyBytes).use('wrap', { type: CKM.AES_KEY_WRAP }), new Uint8Array(17)),
    ).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
  })
})

describe('random ciphertexts', () => {
  it.each([
    ['CBC-PAD', cbcPad],
    ['GCM', { type: CKM.AES_GCM, gcm: { iv: iv.subarray(0, 12), tagBits: 128 } }],
    ['key wrap', { type: CKM.AES_KEY_WRAP }],
    ['key wrap with padding', { type: CKM.AES_KEY_WRAP_KWP }],
  ] as const)('with %s fail with one code and one message', async (_, mechanism) => {
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 3, max: 12 }),
        fc.infiniteStream(fc.nat(255)),
        async (blocks, random) => {
          const data = Uint8Array.from({ length: 16 * blocks }, () => random.next().value as number)
          const output = await run(aesUse(keyBytes).use('decrypt', mechanism), data).catch(
            (error: unknown) => error,
          )
          // One in 256 random blocks ends with a valid padding.
          if (output instanceof Uint8Array && mechanism === cbcPad) return
          seen.add(
            `${(output as CryptokiError).rvName} ${(output as Error).message} ${Object.keys(output as object).join()}`,
          )
        },
      ),
      { numRuns: 200 },
    )
    expect([...seen]).toEqual([expect.stringMatching(/^CKR_ENCRYPTED_DATA_INVALID /)])
  })
})

describe('AES-GCM in a session', () => {
  const gcm = { iv: iv.subarray(0, 12), tagBits: 128 }
  const mechanism = { type: CKM.AES_GCM, gcm }

  it('gives no plaintext before the tag is checked', async () => {
    const session = await memory()
    const key = await aesKey(session)
    const encrypted = await session.encrypt(mechanism, key, message)
    const [operation] = session.begin({ type: 'decrypt', mechanism, key })
    expect(operation?.outputBytes('update', encrypted.length)).toBe(0)
    expect(await operation?.update(encrypted)).toEqual(none)
    expect(await operation?.final()).toEqual(message)
  })

  it('refuses invalid parameters, and data beyond its limit', async () => {
    const session = await memory()
    const key = await aesKey(session)
    for (const wrong of [
      undefined,
      { ...gcm, iv: none },
      { ...gcm, iv: new Uint8Array(257) },
      { ...gcm, tagBits: 32 },
      { ...gcm, tagBits: 127 },
      { tagBits: 128 },
    ])
      for (const type of ['encrypt', 'decrypt'] as const)
        expect(() =>
          session.begin({ type, mechanism: { type: CKM.AES_GCM, gcm: wrong } as RawMechanism, key }),
        ).toThrow(rv(CKR.MECHANISM_PARAM_INVALID) as Error)
    for (const [type, code] of [
      ['encrypt', CKR.DATA_LEN_RANGE],
      ['decrypt', CKR.ENCRYPTED_DATA_LEN_RANGE],
    ] as const) {
      const [operation] = session.begin({ type, mechanism, key })
      await expect(operation?.update(new Uint8Array(MAX_GCM_BYTES + 17))).rejects.toEqual(rv(code))
      expect(session.active).toEqual([])
    }
    await expect(session.decrypt(mechanism, key, new Uint8Array(15))).rejects.toEqual(
      rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
    )
  })

  it.each([0, 129, 1.5])('AES-CTR refuses counterBits of %d', async (counterBits) => {
    const session = await memory()
    const key = await aesKey(session)
    await expect(session.encrypt({ type: CKM.AES_CTR, iv, counterBits }, key, message)).rejects.toEqual(
      rv(CKR.MECHANISM_PARAM_INVALID),
    )
  })
})

const hashes = [
  ['sha1', CKM.SHA_1_HMAC],
  ['sha224', CKM.SHA224_HMAC],
  ['sha256', CKM.SHA256_HMAC],
  ['sha384', CKM.SHA384_HMAC],
  ['sha512', CKM.SHA512_HMAC],
  ['sha3-224', CKM.SHA3_224_HMAC],
  ['sha3-256', CKM.SHA3_256_HMAC],
  ['sha3-384', CKM.SHA3_384_HMAC],
  ['sha3-512', CKM.SHA3_512_HMAC],
] as const

function secretKey(session: Session, value: Uint8Array): Promise<CkObject> {
  const uses = { [CKA.SIGN]: true, [CKA.VERIFY]: true }
  const secret = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET, [CKA.VALUE]: value }
  return session.createObject({ ...secret, ...uses })
}

describe.each(hashes)('HMAC with %s', (nodeName, type) => {
  it("equals OpenSSL's for any key and any chunks, and refuses any other MAC", async () => {
    const session = await memory()
    const value = fc.uint8Array({ minLength: 1, maxLength: 300 })
    const cuts = fc.array(fc.nat(400), { maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(value, fc.uint8Array({ maxLength: 400 }), cuts, async (own, data, at) => {
        const key = await secretKey(session, own)
        const expected = bytes(createHmac(nodeName, own).update(data).digest())
        expect(await session.sign({ type }, key, pieces(data, at))).toEqual(expected)
        expect(await session.verify({ type }, key, pieces(data, at), expected)).toBe(true)
        const changed = expected.with(at.length, (expected[at.length] as number) ^ 4)
        await expect(session.verify({ type }, key, data, changed)).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
        for (const other of [none, expected.subarray(1), bytes(Buffer.concat([expected, expected]))])
          await expect(session.verify({ type }, key, data, other)).rejects.toEqual(
            rv(CKR.SIGNATURE_LEN_RANGE),
          )
      }),
      { numRuns: 10 },
    )
  })

  it('is the same without WebAssembly', async () => {
    const names = {
      sha1: 'SHA-1',
      sha224: 'SHA-224',
      sha256: 'SHA-256',
      sha384: 'SHA-384',
      sha512: 'SHA-512',
    } as const
    const name = names[nodeName as 'sha1'] ?? (nodeName.toUpperCase() as 'SHA3-224')
    const mac = await createLongHmac(name, keyBytes, () => Promise.reject(new Error('unsafe-eval')))
    mac.update(message)
    expect(bytes(mac.digest())).toEqual(bytes(createHmac(nodeName, keyBytes).update(message).digest()))
  })
})

function rsaAttributes(key: KeyObject): Attributes {
  const { n, e } = key.export({ format: 'jwk' })
  const uses = { [CKA.ENCRYPT]: true, [CKA.VERIFY]: true, [CKA.VERIFY_RECOVER]: true, [CKA.WRAP]: true }
  const numbers = { [CKA.MODULUS]: of64(n), [CKA.PUBLIC_EXPONENT]: of64(e) }
  return { [CKA.CLASS]: CKO.PUBLIC_KEY, [CKA.KEY_TYPE]: CKK.RSA, ...numbers, ...uses }
}

describe.each([1024, 1031, 2048])('RSA of %i bits with a public key', (modulusLength) => {
  const { publicKey: open, privateKey } = generateKeyPairSync('rsa', { modulusLength })
  const keyBytes = Math.ceil(modulusLength / 8)
  const raw = (data: Uint8Array): Uint8Array =>
    bytes(privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, data))
  const setUp = async () => {
    const session = await memory()
    return { session, key: await session.createObject(rsaAttributes(open)) }
  }

  it('encrypts with OAEP what OpenSSL decrypts, up to the longest message', async () => {
    const { session, key } = await setUp()
    for (const [oaepHash, hash, mgf, digestLength] of [
      ['sha1', CKM.SHA_1, CKG.MGF1_SHA1, 20],
      ['sha256', CKM.SHA256, CKG.MGF1_SHA256, 32],
      ['sha384', CKM.SHA384, CKG.MGF1_SHA384, 48],
    ] as const) {
      const label = hex('0a0b')
      const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf, label } }
      const most = keyBytes - 2 * digestLength - 2
      for (const length of [0, 1, most]) {
        const data = new Uint8Array(length).fill(9)
        const encrypted = await session.encrypt(mechanism, key, data)
        expect(encrypted).toHaveLength(keyBytes)
        expect(bytes(privateDecrypt({ key: privateKey, oaepHash, oaepLabel: label }, encrypted))).toEqual(
          data,
        )
      }
      await expect(session.encrypt(mechanism, key, new Uint8Array(most + 1))).rejects.toEqual(
        rv(CKR.DATA_LEN_RANGE),
      )
    }
  })

  it('encrypts with PKCS#1 v1.5 without zeros in the padding, up to the longest message', async () => {
    const { session, key } = await setUp()
    const mechanism = { type: CKM.RSA_PKCS }
    for (const length of [0, 1, keyBytes - 11]) {
      const block = raw(await session.encrypt(mechanism, key, new Uint8Array(length).fill(7)))
      expect([block[0], block[1]]).toEqual([0, 2])
      expect(block.indexOf(0, 2)).toBe(keyBytes - length - 1)
    }
    await expect(session.encrypt(mechanism, key, new Uint8Array(keyBytes - 10))).rejects.toEqual(
      rv(CKR.DATA_LEN_RANGE),
    )
  })

  it('encrypts raw numbers below the modulus', async () => {
    const { session, key } = await setUp()
    const mechanism = { type: CKM.RSA_X_509 }
    const data = hex('010203')
    const whole = new Uint8Array(keyBytes)
    whole.set(data, keyBytes - 3)
    expect(raw(await session.encrypt(mechanism, key, data))).toEqual(whole)
    const modulus = key.get(CKA.MODULUS)
    for (const wrong of [modulus, new Uint8Array(keyBytes).fill(0xff)])
      await expect(session.encrypt(mechanism, key, wrong)).rejects.toEqual(rv(CKR.DATA_INVALID))
    await expect(session.encrypt(mechanism, key, new Uint8Array(keyBytes + 1))).rejects.toEqual(
      rv(CKR.DATA_LEN_RANGE),
    )
  })

  it('recovers what OpenSSL has signed, and refuses anything else', async () => {
    const { session, key } = await setUp()
    const signature = bytes(
      privateEncrypt({ key: privateKey, padding: constants.RSA_PKCS1_PADDING }, message),
    )
    expect(await session.verifyRecover({ type: CKM.RSA_PKCS }, key, signature)).toEqual(message)
    const block = await session.verifyRecover({ type: CKM.RSA_X_509 }, key, signature)
    expect([block.length, ...block.subarray(0, 2)]).toEqual([keyBytes, 0, 1])
    const changed = signature.with(9, (signature[9] as number) ^ 1)
    for (const wrong of [changed, new Uint8Array(keyBytes), new Uint8Array(keyBytes).fill(0xff)])
      await expect(session.verifyRecover({ type: CKM.RSA_PKCS }, key, wrong)).rejects.toEqual(
        rv(CKR.SIGNATURE_INVALID),
      )
    for (const wrong of [none, signature.subarray(1), new Uint8Array(3000)])
      await expect(session.verifyRecover({ type: CKM.RSA_X_509 }, key, wrong)).rejects.toEqual(
        rv(CKR.SIGNATURE_LEN_RANGE),
      )
  })
})

describe('an Init with a key in software', () => {
  const numbers = (bits: number): Attributes => ({
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.MODULUS]: new Uint8Array(bits / 8).fill(0xff),
    [CKA.PUBLIC_EXPONENT]: Uint8Array.of(1, 0, 1),
  })
  const codeOf = (attributes: Attributes, mechanism: RawMechanism, purpose = 'encrypt'): number => {
    try {
      publicKey(attributes, (bytes) => new Uint8Array(bytes).fill(1)).use(purpose as 'encrypt', mechanism)
      return CKR.OK
    } catch (error) {
      return (error as CryptokiError).rv
    }
  }

  it('refuses keys of a wrong size, type or curve', () => {
    expect(codeOf(numbers(504), { type: CKM.RSA_PKCS })).toBe(CKR.KEY_SIZE_RANGE)
    expect(codeOf(numbers(16_392), { type: CKM.RSA_PKCS }, 'verify')).toBe(CKR.KEY_SIZE_RANGE)
    expect(codeOf({ [CKA.KEY_TYPE]: CKK.EC }, { type: CKM.RSA_PKCS })).toBe(CKR.KEY_TYPE_INCONSISTENT)
    expect(codeOf(numbers(1024), { type: CKM.ECDSA }, 'verify')).toBe(CKR.KEY_TYPE_INCONSISTENT)
    const unknown = { [CKA.KEY_TYPE]: CKK.EC, [CKA.EC_PARAMS]: Uint8Array.of(6, 1, 1) }
    expect(codeOf(unknown, { type: CKM.ECDSA }, 'verify')).toBe(CKR.KEY_SIZE_RANGE)
    expect(codeOf({ ...unknown, [CKA.KEY_TYPE]: CKK.EC_EDWARDS }, { type: CKM.EDDSA }, 'verify')).toBe(
      CKR.KEY_SIZE_RANGE,
    )
    for (const purpose of ['decrypt', 'sign', 'unwrap', 'derive'])
      expect(codeOf(numbers(1024), { type: CKM.RSA_PKCS }, purpose)).toBe(CKR.MECHANISM_INVALID)
  })

  it('refuses OAEP without parameters, with unknown ones, and with a hash too long for the modulus', () => {
    const oaep = (given: RawMechanism['oaep']): RawMechanism => ({ type: CKM.RSA_PKCS_OAEP, oaep: given })
    for (const given of [
      undefined,
      { hash: CKM.SHA3_256, mgf: CKG.MGF1_SHA256 },
      { hash: CKM.SHA256, mgf: 0x77 },
      { hash: CKM.SHA512, mgf: CKG.MGF1_SHA1 },
    ])
      expect(codeOf(numbers(1024), oaep(given))).toBe(CKR.MECHANISM_PARAM_INVALID)
  })
})

describe('EdDSA on edwards25519', () => {
  it("verifies OpenSSL's signatures with the curve given by name or by object identifier", async () => {
    const session = await memory()
    const { publicKey: open, privateKey } = generateKeyPairSync('ed25519')
    const point = of64(open.export({ format: 'jwk' }).x)
    const signature = bytes(signByNode(null, message, privateKey))
    for (const params of ['06032b6570', '130c656477617264733235353139']) {
      const attributes = {
        [CKA.CLASS]: CKO.PUBLIC_KEY,
        [CKA.KEY_TYPE]: CKK.EC_EDWARDS,
        [CKA.EC_PARAMS]: hex(params),
        [CKA.EC_POINT]: encodeTlv(0x04, point),
        [CKA.VERIFY]: true,
      }
      const key = await session.createObject(attributes)
      const mechanism = { type: CKM.EDDSA }
      expect(await session.verify(mechanism, key, message, signature)).toBe(true)
      await expect(session.verify(mechanism, key, none, signature)).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
      await expect(session.verify(mechanism, key, message, signature.subarray(1))).rejects.toEqual(
        rv(CKR.SIGNATURE_LEN_RANGE),
      )
    }
  })
})
