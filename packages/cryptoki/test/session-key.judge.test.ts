/**
 * Keys in software and the openssl command line: each accepts what the other encrypts, authenticates or
 * signs.
 */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CKA, CKG, CKK, CKM, CKO, type CkObject, CKR, type Session } from '@webtoki/cryptoki'
import { afterAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { aesKey, iv, keyBytes, openMemory, rv } from './memory-setup.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true') throw new Error(missing)
  console.warn(`Keys in software are not compared with OpenSSL: ${missing}.`)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function openssl(name: string, direction: '-e' | '-d', value: Uint8Array, input: Uint8Array): Uint8Array {
  const vector = name.endsWith('ecb') ? [] : ['-iv', hex(iv)]
  const output = execFileSync('openssl', ['enc', `-${name}`, direction, '-K', hex(value), ...vector], {
    input,
  })
  return Uint8Array.from(output)
}

describe.runIf(missing === undefined)('openssl enc', () => {
  it.each([
    ['cbc', CKM.AES_CBC_PAD, 1000],
    ['ctr', CKM.AES_CTR, 1000],
  ] as const)('agrees with AES session keys of every size: %s', async (mode, type, length) => {
    const { session } = await openMemory()
    const data = Uint8Array.from({ length }, (_, at) => at & 0xff)
    for (const bits of [128, 192, 256]) {
      const value = keyBytes.subarray(0, bits / 8)
      const key = await aesKey(session, value)
      const encrypted = await session.encrypt({ type, iv }, key, data)
      expect(encrypted).toEqual(openssl(`aes-${bits}-${mode}`, '-e', value, data))
      expect(openssl(`aes-${bits}-${mode}`, '-d', value, encrypted)).toEqual(data)
      expect(await session.decrypt({ type, iv }, key, encrypted)).toEqual(data)
    }
  })
})

/** Cuts the data into chunks of these sizes, repeated as needed. */
function chunksOf(data: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let start = 0, at = 0; start < data.length; at++) {
    const end = start + (sizes[at % sizes.length] ?? data.length)
    chunks.push(data.subarray(start, end))
    start = end
  }
  return chunks
}

const data = Uint8Array.from({ length: 100_000 }, (_, at) => (at * 31) >> 3)
const chunkSizes = [[1, 15, 16, 17], [4096], [33, 0, 7], [100_000]]

describe.runIf(missing === undefined)('openssl, for data in any chunks,', () => {
  it.each([
    ['cbc', CKM.AES_CBC_PAD],
    ['ctr', CKM.AES_CTR],
  ] as const)('encrypts like an AES session key: %s', async (mode, type) => {
    const { session } = await openMemory()
    const key = await aesKey(session)
    const encrypted = openssl(`aes-256-${mode}`, '-e', keyBytes, data)
    for (const sizes of chunkSizes) {
      expect(await session.encrypt({ type, iv }, key, chunksOf(data, sizes))).toEqual(encrypted)
      expect(await session.decrypt({ type, iv }, key, chunksOf(encrypted, sizes))).toEqual(data)
    }
  })

  it.each([
    ['sha1', CKM.SHA_1_HMAC],
    ['sha224', CKM.SHA224_HMAC],
    ['sha256', CKM.SHA256_HMAC],
    ['sha384', CKM.SHA384_HMAC],
    ['sha512', CKM.SHA512_HMAC],
    ['sha3-224', CKM.SHA3_224_HMAC],
    ['sha3-256', CKM.SHA3_256_HMAC],
    ['sha3-384', CKM.SHA3_384_HMAC],
    ['sha3-512', CKM.SHA3_512_HMAC],
  ] as const)('computes the MAC of a generic secret: %s', async (digest, type) => {
    const { session } = await openMemory()
    // One key shorter than a block of the hash, and one longer than any block: the latter is hashed first.
    for (const value of [keyBytes.subarray(0, 20), data.subarray(0, 300)]) {
      const key = await session.createObject({
        [CKA.CLASS]: CKO.SECRET_KEY,
        [CKA.KEY_TYPE]: CKK.GENERIC_SECRET,
        [CKA.VALUE]: value,
        [CKA.SIGN]: true,
        [CKA.VERIFY]: true,
      })
      const options = ['-mac', 'HMAC', '-macopt', `hexkey:${hex(value)}`, '-binary']
      const mac = Uint8Array.from(
        execFileSync('openssl', ['dgst', `-${digest}`, ...options], { input: data }),
      )
      for (const sizes of chunkSizes) {
        expect(await session.sign({ type }, key, chunksOf(data, sizes))).toEqual(mac)
        expect(await session.verify({ type }, key, chunksOf(data, sizes), mac)).toBe(true)
      }
    }
  })
})

describe.runIf(missing === undefined).each([1024, 2048])(
  'openssl pkeyutl with an RSA key of %i bits',
  (modulusLength) => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength })
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-'))
    const keyFile = join(folder, 'key.pem')
    writeFileSync(keyFile, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
    afterAll(() => rmSync(folder, { recursive: true }))

    const pkeyutl = (action: '-decrypt' | '-sign', input: Uint8Array, ...options: string[]): Uint8Array => {
      const more = options.flatMap((option) => ['-pkeyopt', option])
      return Uint8Array.from(
        execFileSync('openssl', ['pkeyutl', action, '-inkey', keyFile, ...more], { input }),
      )
    }
    const keyIn = (session: Session): Promise<CkObject> => {
      const { n = '', e = '' } = publicKey.export({ format: 'jwk' })
      return session.createObject({
        [CKA.CLASS]: CKO.PUBLIC_KEY,
        [CKA.KEY_TYPE]: CKK.RSA,
        [CKA.MODULUS]: Uint8Array.from(Buffer.from(n, 'base64url')),
        [CKA.PUBLIC_EXPONENT]: Uint8Array.from(Buffer.from(e, 'base64url')),
        [CKA.ENCRYPT]: true,
        [CKA.VERIFY_RECOVER]: true,
      })
    }
    const keyBytesOf = modulusLength / 8

    it('decrypts PKCS#1 v1.5 from the public key, from empty to the longest message', async () => {
      const { session } = await openMemory()
      const key = await keyIn(session)
      for (const length of [0, 1, 40, keyBytesOf - 11]) {
        const message = data.subarray(0, length)
        const encrypted = await session.encrypt({ type: CKM.RSA_PKCS }, key, message)
        expect(pkeyutl('-decrypt', encrypted, 'rsa_padding_mode:pkcs1')).toEqual(message)
      }
    })

    it.each([
      ['sha1', 'sha1', CKM.SHA_1, CKG.MGF1_SHA1, 20],
      ['sha224', 'sha512', CKM.SHA224, CKG.MGF1_SHA512, 28],
      ['sha256', 'sha1', CKM.SHA256, CKG.MGF1_SHA1, 32],
      ['sha384', 'sha384', CKM.SHA384, CKG.MGF1_SHA384, 48],
    ] as const)(
      'decrypts OAEP from the public key: %s, MGF1 with %s',
      async (md, mgfMd, hash, mgf, bytes) => {
        const { session } = await openMemory()
        const key = await keyIn(session)
        const label = Uint8Array.of(1, 2, 0xff)
        const options = ['rsa_padding_mode:oaep', `rsa_oaep_md:${md}`, `rsa_mgf1_md:${mgfMd}`]
        for (const length of [0, 17, keyBytesOf - 2 * bytes - 2]) {
          const message = data.subarray(0, length)
          const plain = await session.encrypt({ type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf } }, key, message)
          expect(pkeyutl('-decrypt', plain, ...options)).toEqual(message)
          const oaep = { hash, mgf, label }
          const labelled = await session.encrypt({ type: CKM.RSA_PKCS_OAEP, oaep }, key, message)
          expect(pkeyutl('-decrypt', labelled, ...options, `rsa_oaep_label:${hex(label)}`)).toEqual(message)
        }
      },
    )

    it('signs what the public key recovers; a changed signature is refused', async () => {
      const { session } = await openMemory()
      const key = await keyIn(session)
      // OpenSSL signs no longer data without the name of a digest.
      for (const length of [1, 32, 64]) {
        const message = data.subarray(100, 100 + length)
        const signature = pkeyutl('-sign', message, 'rsa_padding_mode:pkcs1')
        expect(await session.verifyRecover({ type: CKM.RSA_PKCS }, key, signature)).toEqual(message)
        signature[keyBytesOf - 1] = (signature[keyBytesOf - 1] ?? 0) ^ 1
        const recovered = session.verifyRecover({ type: CKM.RSA_PKCS }, key, signature).result()
        await expect(recovered).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
      }
      const block = Uint8Array.from({ length: keyBytesOf }, (_, at) => at)
      // Decryption is the same power of the number; OpenSSL refuses to sign data of this length.
      const raw = pkeyutl('-decrypt', block, 'rsa_padding_mode:none')
      expect(await session.verifyRecover({ type: CKM.RSA_X_509 }, key, raw)).toEqual(block)
    })
  },
)
