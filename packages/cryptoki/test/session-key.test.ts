/**
 * AES session keys: ciphers in software, available with every token (PKCS#11 v2.40 mechanisms, 2.8; NIST SP
 * 800-38A).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  verify as verifyByNode,
  X509Certificate,
} from 'node:crypto'
import {
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  type CipherMechanism,
  type Session,
} from '@webtoki/cryptoki'
import fc from 'fast-check'
import { Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { aesKey, cbcPad, iv, keyBytes, openMemory, rv, settled, sha256 } from './memory-setup.ts'
import { object, open as openPiv } from './piv-setup.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const message = new TextEncoder().encode('a message of more than two blocks of AES')

/** NIST SP 800-38A, appendix F: one message of four blocks. */
const plaintext = hex(`6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
  30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710`)
const key128 = hex('2b7e151628aed2a6abf7158809cf4f3c')
const key192 = hex('8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b')
const key256 = hex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4')
const counter = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff')
const first = hex('000102030405060708090a0b0c0d0e0f')

const vectors: [string, Uint8Array, CipherMechanism, string][] = [
  [
    'F.1.1 ECB-AES128',
    key128,
    { type: CKM.AES_ECB },
    `3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf
     43b1cd7f598ece23881b00e3ed030688 7b0c785e27e8ad3f8223207104725dd4`,
  ],
  [
    'F.1.5 ECB-AES256',
    key256,
    { type: CKM.AES_ECB },
    `f3eed1bdb5d2a03c064b5a7e3db181f8 591ccb10d410ed26dc5ba74a31362870
     b6ed21b99ca6f4f9f153e7b1beafed1d 23304b7a39f9f3ff067d8d8f9e24ecc7`,
  ],
  [
    'F.2.1 CBC-AES128',
    key128,
    { type: CKM.AES_CBC, iv: first },
    `7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
     73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7`,
  ],
  [
    'F.2.3 CBC-AES192',
    key192,
    { type: CKM.AES_CBC, iv: first },
    `4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a
     571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd`,
  ],
  [
    'F.2.5 CBC-AES256',
    key256,
    { type: CKM.AES_CBC, iv: first },
    `f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
     39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b`,
  ],
  [
    'F.5.1 CTR-AES128',
    key128,
    { type: CKM.AES_CTR, iv: counter },
    `874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff
     5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee`,
  ],
  [
    'F.5.5 CTR-AES256',
    key256,
    { type: CKM.AES_CTR, iv: counter },
    `601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5
     2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6`,
  ],
]

async function memory() {
  const { session, ...rest } = await openMemory()
  return { ...rest, session }
}

describe('an AES session key', () => {
  it.each(vectors)('produces vector %s of NIST SP 800-38A', async (_, value, mechanism, ciphertext) => {
    const { session } = await memory()
    const key = await aesKey(session, value)
    expect(await session.encrypt(mechanism, key, plaintext)).toEqual(hex(ciphertext))
    expect(await session.decrypt(mechanism, key, hex(ciphertext))).toEqual(plaintext)
  })

  it.each([
    ['ecb', CKM.AES_ECB],
    ['cbc', CKM.AES_CBC],
    ['cbc', CKM.AES_CBC_PAD],
    ['ctr', CKM.AES_CTR],
  ] as const)(
    'gives the same output in any chunks as OpenSSL in one: %s, mechanism %i',
    async (mode, type) => {
      const { session } = await memory()
      const isWhole = type === CKM.AES_ECB || type === CKM.AES_CBC
      // Counters that overflow one byte, four bytes and all sixteen bytes.
      const counters = [
        iv,
        counter,
        new Uint8Array(16).fill(0xff),
        hex('00000000000000000000000 0fffffffe'.replace(' ', '')),
      ]
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(16, 24, 32),
          fc.constantFrom(...counters),
          fc.uint8Array({ maxLength: 300 }),
          fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 8 }),
          async (keyLength, firstBlock, any, cuts) => {
            const data = isWhole ? any.subarray(0, any.length - (any.length % 16)) : any
            const value = keyBytes.subarray(0, keyLength)
            const mechanism = (type === CKM.AES_ECB ? { type } : { type, iv: firstBlock }) as CipherMechanism
            const cipherOfNode = createCipheriv(
              `aes-${keyLength * 8}-${mode}`,
              value,
              mode === 'ecb' ? null : firstBlock,
            )
            cipherOfNode.setAutoPadding(type === CKM.AES_CBC_PAD)
            const expected = bytes(Buffer.concat([cipherOfNode.update(data), cipherOfNode.final()]))
            const key = await aesKey(session, value)
            expect(await session.encrypt(mechanism, key, chunks(data, cuts))).toEqual(expected)
            expect(await session.decrypt(mechanism, key, chunks(expected, cuts))).toEqual(data)
            session.destroyObject(key)
          },
        ),
        { numRuns: 60 },
      )
    },
  )

  it.each([
    ['none', { type: CKM.AES_CBC }],
    ['too short', { type: CKM.AES_CBC_PAD, iv: new Uint8Array(15) }],
    ['too long', { type: CKM.AES_CTR, iv: new Uint8Array(17) }],
    ['one for ECB', { type: CKM.AES_ECB, iv }],
  ])('refuses an invalid initialisation vector: %s', async (_, wrong) => {
    const mechanism = wrong as CipherMechanism
    const { session } = await memory()
    const key = await aesKey(session)
    await expect(session.encrypt(mechanism, key, message)).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
    await expect(session.decrypt(mechanism, key, message)).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
  })

  it('refuses data that are not whole blocks if the mode needs them', async () => {
    const { session } = await memory()
    const key = await aesKey(session)
    for (const mechanism of [{ type: CKM.AES_ECB }, { type: CKM.AES_CBC, iv }]) {
      await expect(session.encrypt(mechanism, key, new Uint8Array(17))).rejects.toEqual(
        rv(CKR.DATA_LEN_RANGE),
      )
      await expect(session.decrypt(mechanism, key, new Uint8Array(17))).rejects.toEqual(
        rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
      )
    }
    for (const length of [0, 15, 17])
      await expect(session.decrypt(cbcPad, key, new Uint8Array(length))).rejects.toEqual(
        rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
      )
  })

  it('accepts exactly the PKCS#7 padding that OpenSSL accepts', async () => {
    const { session } = await memory()
    const key = await aesKey(session)
    const last = fc.oneof(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 17 }).map((count) => new Uint8Array(16).fill(count)),
    )
    await fc.assert(
      fc.asyncProperty(last, async (block) => {
        const unpadded = createCipheriv('aes-256-cbc', keyBytes, iv).setAutoPadding(false)
        const ciphertext = bytes(Buffer.concat([unpadded.update(block), unpadded.final()]))
        const cipherOfNode = createDecipheriv('aes-256-cbc', keyBytes, iv)
        let expected: Uint8Array | undefined
        try {
          expected = bytes(Buffer.concat([cipherOfNode.update(ciphertext), cipherOfNode.final()]))
        } catch {
          expected = undefined
        }
        const decrypted = session.decrypt(cbcPad, key, ciphertext).result()
        if (expected === undefined) await expect(decrypted).rejects.toEqual(rv(CKR.ENCRYPTED_DATA_INVALID))
        else expect(await decrypted).toEqual(expected)
      }),
      { numRuns: 100 },
    )
  })

  it('hides its value and has its other attributes', async () => {
    const { session } = await memory()
    const value = bytes(keyBytes)
    const key = await aesKey(session, value, { [CKA.LABEL]: 'mine' })
    value.fill(0)
    expect(() => key.get(CKA.VALUE)).toThrow(expect.objectContaining({ rv: CKR.ATTRIBUTE_SENSITIVE }))
    expect(() => session.getAttributes(key, CKA.VALUE)).toThrow(
      expect.objectContaining({ rv: CKR.ATTRIBUTE_SENSITIVE }),
    )
    expect(JSON.stringify(key.attributes)).not.toContain(String(keyBytes[1]))
    const { [CKA.LABEL]: label, [CKA.VALUE_LEN]: length, [CKA.TOKEN]: isOnToken } = key.attributes
    expect([label, length, isOnToken]).toEqual(['mine', 32, false])
    // A later write into the template's bytes does not change the key.
    const cipherOfNode = createCipheriv('aes-256-cbc', keyBytes, iv)
    const expected = bytes(Buffer.concat([cipherOfNode.update(message), cipherOfNode.final()]))
    expect(await session.encrypt(cbcPad, key, message)).toEqual(expected)
    const [found] = await session.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY, [CKA.LABEL]: 'mine' })
    expect(found).toBe(key)
  })

  it('works in every session of its application, and ends with the session that created it', async () => {
    const { session, slot } = await memory()
    const other = await slot.openSession()
    const key = await aesKey(session)
    expect(await other.encrypt(cbcPad, key, message)).toHaveLength(48)
    await session.close()
    await expect(other.encrypt(cbcPad, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(await other.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
  })

  it('can be destroyed once; objects of the token cannot be destroyed', async () => {
    const { session } = await memory()
    const key = await aesKey(session)
    session.destroyObject(key)
    await expect(session.encrypt(cbcPad, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(() => session.destroyObject(key)).toThrow(
      expect.objectContaining({ rv: CKR.OBJECT_HANDLE_INVALID }),
    )
    const [publicKey] = await session.findObjects({ [CKA.CLASS]: CKO.PUBLIC_KEY })
    expect(() => session.destroyObject(publicKey as CkObject)).toThrow(
      expect.objectContaining({ rv: CKR.ACTION_PROHIBITED }),
    )
  })

  it.each([
    ['destroyed', (session: Session, key: CkObject) => session.destroyObject(key)],
    ['closed with its session', (session: Session) => void session.close()],
  ])('that is %s while it encrypts keeps its value for that operation', async (_, end) => {
    const { session, slot } = await memory()
    const other = await slot.openSession()
    const key = await aesKey(session)
    const data = new Subject<Uint8Array>()
    const encrypting = other.encrypt(cbcPad, key, data).result()
    data.next(message.subarray(0, 20))
    await settled()
    end(session, key)
    data.next(message.subarray(20))
    data.complete()
    const cipherOfNode = createCipheriv('aes-256-cbc', keyBytes, iv)
    expect(await encrypting).toEqual(
      bytes(Buffer.concat([cipherOfNode.update(message), cipherOfNode.final()])),
    )
  })

  it('with CKA_PRIVATE needs a login, is hidden without one, and ends with it', async () => {
    const { session } = await memory()
    const more = { [CKA.PRIVATE]: true }
    await expect(aesKey(session, keyBytes, more)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    await session.login(CKU.USER)
    const key = await aesKey(session, keyBytes, more)
    const encrypting = session.encrypt(cbcPad, key, new Subject<Uint8Array>()).result()
    const ended = expect(encrypting).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    await session.logout()
    await ended
    await session.login(CKU.USER)
    await expect(session.encrypt(cbcPad, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(await session.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
  })

  it('obeys its attributes', async () => {
    const { session } = await memory()
    const key = await aesKey(session, keyBytes, { [CKA.DECRYPT]: false })
    expect(await session.encrypt(cbcPad, key, message)).toHaveLength(48)
    await expect(session.decrypt(cbcPad, key, message)).rejects.toEqual(rv(CKR.KEY_FUNCTION_NOT_PERMITTED))
    await expect(session.sign({ type: CKM.RSA_PKCS }, key, message)).rejects.toEqual(
      rv(CKR.MECHANISM_INVALID),
    )
    await expect(session.encrypt({ type: CKM.RSA_PKCS }, key, message)).rejects.toEqual(
      rv(CKR.KEY_TYPE_INCONSISTENT),
    )
  })

  it.each([
    ['without a value', { [CKA.VALUE]: undefined }, CKR.TEMPLATE_INCOMPLETE],
    ['without a type', { [CKA.KEY_TYPE]: undefined }, CKR.TEMPLATE_INCOMPLETE],
    ['of another class', { [CKA.CLASS]: CKO.PRIVATE_KEY }, CKR.TEMPLATE_INCONSISTENT],
    ['of another type', { [CKA.KEY_TYPE]: CKK.RSA }, CKR.TEMPLATE_INCONSISTENT],
    ['for the token', { [CKA.TOKEN]: true }, CKR.SESSION_READ_ONLY],
    ['of 17 bytes', { [CKA.VALUE]: new Uint8Array(17) }, CKR.ATTRIBUTE_VALUE_INVALID],
  ])('%s is refused', async (_, change, expected) => {
    const { session } = await memory()
    const template = {
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: CKK.AES,
      [CKA.VALUE]: keyBytes,
      ...change,
    }
    const given = Object.fromEntries(Object.entries(template).filter(([, value]) => value !== undefined))
    await expect(session.createObject(given)).rejects.toEqual(rv(expected))
  })
})

function* chunks(data: Uint8Array, cuts: readonly number[]): Generator<Uint8Array> {
  let at = 0
  for (const cut of cuts) {
    yield data.subarray(at, at + cut)
    at = Math.min(data.length, at + cut)
  }
  yield data.subarray(at)
}

describe('an AES session key with a PIV card', () => {
  const rsa = { type: CKM.SHA256_RSA_PKCS }
  const cipherOfNode = createCipheriv('aes-256-cbc', keyBytes, iv)
  const encrypted = bytes(Buffer.concat([cipherOfNode.update(message), cipherOfNode.final()]))
  const digest = bytes(createHash('sha256').update(message).digest())

  it('encrypts data that are also digested, or signed by the card', async () => {
    const { session, cryptoki } = await openPiv()
    await session.login(CKU.USER)
    const key = await aesKey(session)
    const encrypt = { type: 'encrypt', mechanism: cbcPad, key } as const
    const digested = await session.together({ type: 'digest', mechanism: sha256 }, encrypt, message)
    expect(digested).toEqual([digest, encrypted])
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    const der = (await object(session, CKO.CERTIFICATE, 1)).get(CKA.VALUE)
    const sign = { type: 'sign', mechanism: rsa, key: nineA } as const
    const [signature, output] = await session.together(sign, encrypt, message)
    expect(verifyByNode('sha256', message, new X509Certificate(der).publicKey, signature)).toBe(true)
    expect(output).toEqual(encrypted)
    await cryptoki.close()
  })

  it('decrypts data that are also digested, or verified', async () => {
    const { session, cryptoki } = await openPiv()
    await session.login(CKU.USER)
    const key = await aesKey(session)
    const decrypt = { type: 'decrypt', mechanism: cbcPad, key } as const
    const digested = await session.together(decrypt, { type: 'digest', mechanism: sha256 }, encrypted)
    expect(digested).toEqual([message, digest])
    const signature = await session.sign(rsa, await object(session, CKO.PRIVATE_KEY, 1), message)
    const publicKey = await object(session, CKO.PUBLIC_KEY, 1)
    const verify = { type: 'verify', mechanism: rsa, key: publicKey, signature } as const
    expect(await session.together(decrypt, verify, encrypted)).toEqual([message, true])
    const wrong = { ...verify, signature: signature.map((byte) => byte ^ 1) }
    await expect(session.together(decrypt, wrong, encrypted)).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
    expect(session.active).toEqual([])
    await cryptoki.close()
  })

  it('without CKF_DUAL_CRYPTO_OPERATIONS cannot be part of a pair', async () => {
    const { session, slot, cryptoki } = await openPiv({ cryptoki: { dualOperations: false } })
    const key = await aesKey(session)
    const encrypt = { type: 'encrypt', mechanism: cbcPad, key } as const
    const pair = session.together({ type: 'digest', mechanism: sha256 }, encrypt, message)
    await expect(pair).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(((await slot.tokenInfo()).flags & CKF.DUAL_CRYPTO_OPERATIONS) !== 0).toBe(false)
    expect(await session.encrypt(cbcPad, key, message)).toEqual(encrypted)
    await cryptoki.close()
  })
})
