/** The test vectors of Project Wycheproof in `vectors/wycheproof`. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { decodeTlvs, encodeTlv } from '@webtoki/apdu'

/** One case. 'acceptable' leaves the outcome to the library; the test states which one this library has. */
export interface WycheproofTest {
  readonly tcId: number
  /** Kept only in the files whose tests need it. */
  readonly flags?: readonly string[]
  readonly result: 'valid' | 'invalid' | 'acceptable'
}

/** The number of cases in each file. */
export const caseCounts = {
  aes_cbc_pkcs5: 216,
  aes_gcm: 316,
  ecdh_secp256r1: 612,
  ecdh_secp384r1: 1047,
  ecdsa_secp256r1_sha256_p1363: 262,
  ecdsa_secp384r1_sha384_p1363: 280,
  ed25519: 151,
  hmac_sha1: 170,
  hmac_sha256: 174,
  hmac_sha384: 174,
  hmac_sha512: 174,
  rsa_oaep_2048_sha1_mgf1sha1: 36,
  rsa_oaep_2048_sha256_mgf1sha256: 37,
  rsa_pkcs1_2048: 67,
  rsa_pss_2048_sha256_mgf1_32: 108,
  rsa_pss_misc: 150,
  rsa_signature_2048_sha256: 259,
  rsa_signature_2048_sha512: 259,
  rsa_signature_3072_sha256: 259,
} as const
export type WycheproofFile = keyof typeof caseCounts

const folder = join(import.meta.dirname, 'vectors', 'wycheproof')

/** The cases of a file. `F` and `G` name the hex fields of a case and of its group. */
export function wycheproof<F extends string, G extends string = never>(
  name: WycheproofFile,
): readonly (WycheproofTest &
  Readonly<Record<F, string>> & { readonly group: Readonly<Record<G, string>> })[] {
  const packed = readFileSync(join(folder, `${name}.json.br`))
  const { testGroups } = JSON.parse(brotliDecompressSync(packed).toString())
  return testGroups.flatMap(({ tests, ...group }: { tests: readonly object[] }) =>
    tests.map((each) => ({ ...each, group })),
  )
}

/** The names of the files in the folder. */
export function wycheproofFiles(): readonly string[] {
  return readdirSync(folder).map((file) => file.replace('.json.br', ''))
}

/** Decodes hex digits. */
export function hex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

/** The point of a SubjectPublicKeyInfo and its parameters, undefined if the outer DER cannot be read. */
export function pointOfInfo(
  info: Uint8Array,
): { readonly parameters: string; readonly point: Uint8Array } | undefined {
  try {
    const [whole] = decodeTlvs(info)
    const [algorithm, bits] = decodeTlvs(whole?.value ?? info)
    const [, parameters] = decodeTlvs(algorithm?.value ?? info)
    if (bits?.value[0] !== 0 || parameters === undefined) return undefined
    const der = encodeTlv(parameters.tag, parameters.value)
    return { parameters: Buffer.from(der).toString('hex'), point: bits.value.subarray(1) }
  } catch {
    return undefined
  }
}
