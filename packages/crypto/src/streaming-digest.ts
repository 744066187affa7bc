/** Digests and HMACs of long data, in WebAssembly, with JavaScript where a page forbids that. Loaded when there is long data. */
import { hmac } from '@noble/hashes/hmac.js'
import {
  createHMAC,
  createSHA1,
  createSHA3,
  createSHA224,
  createSHA256,
  createSHA384,
  createSHA512,
  type IHasher,
} from 'hash-wasm'
import { inJavaScript } from './hash-now.ts'
import type { HashName } from './hashes.ts'

/** A digest under way. */
export interface LongDigest {
  update(chunk: Uint8Array): void
  /** To be called once. */
  digest(): Uint8Array
}

const inWasm: Readonly<Record<HashName, () => Promise<IHasher>>> = {
  'SHA-1': createSHA1,
  'SHA-224': createSHA224,
  'SHA-256': createSHA256,
  'SHA-384': createSHA384,
  'SHA-512': createSHA512,
  'SHA3-224': () => createSHA3(224),
  'SHA3-256': () => createSHA3(256),
  'SHA3-384': () => createSHA3(384),
  'SHA3-512': () => createSHA3(512),
}

/** Fast where WebAssembly may run; a page whose CSP lacks 'wasm-unsafe-eval' gets the same digest more slowly. */
export function createLongDigest(
  name: HashName,
  create: () => Promise<IHasher> = inWasm[name],
): Promise<LongDigest> {
  return begun(create, () => inJavaScript[name].create())
}

/** HMAC (RFC 2104), made in the same two ways. The key may be overwritten when this has resolved. */
export function createLongHmac(
  name: HashName,
  key: Uint8Array,
  create: () => Promise<IHasher> = inWasm[name],
): Promise<LongDigest> {
  return begun(
    () => createHMAC(create(), key),
    () => hmac.create(inJavaScript[name], key),
  )
}

async function begun(inWasm: () => Promise<IHasher>, inJavaScript: () => LongDigest): Promise<LongDigest> {
  let hasher: IHasher
  try {
    hasher = await inWasm()
  } catch {
    return inJavaScript()
  }
  return {
    update: (chunk) => void hasher.update(chunk),
    digest: () => hasher.digest('binary'),
  }
}
