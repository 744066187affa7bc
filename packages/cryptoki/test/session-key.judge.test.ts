/** OpenSSL's command line takes what AES session keys encrypt, and they take what it encrypts. */
import { execFileSync } from 'node:child_process'
import { CKM } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { aesKey, iv, keyBytes, openMemory } from './memory-stand.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true') throw new Error(missing)
  console.warn(`AES session keys are not judged by OpenSSL: ${missing}.`)
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
