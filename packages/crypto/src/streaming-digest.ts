/**
 * Digests and HMACs (RFC 2104) of long data in WebAssembly, or in JavaScript if the page forbids that. A separate entry
 * point, because it is large.
 */
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

/** An incremental digest. */
export interface LongDigest {
  update(chunk: Uint8Array): void
  /** Returns the digest. Call it once. */
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

/** Starts a digest. Uses JavaScript, which is slower, if the page's CSP lacks 'wasm-unsafe-eval'. */
export function createLongDigest(
  name: HashName,
  create: () => Promise<IHasher> = inWasm[name],
): Promise<LongDigest> {
  return withFallback(create, () => inJavaScript[name].create())
}

/** Starts an HMAC (RFC 2104) in the same way. The key may be overwritten after the promise has resolved. */
export function createLongHmac(
  name: HashName,
  key: Uint8Array,
  create: () => Promise<IHasher> = inWasm[name],
): Promise<LongDigest> {
  return withFallback(
    () => createHMAC(create(), key),
    () => hmac.create(inJavaScript[name], key),
  )
}

async function withFallback(
  createWasm: () => Promise<IHasher>,
  createJavaScript: () => LongDigest,
): Promise<LongDigest> {
  let hasher: IHasher
  try {
    hasher = await createWasm()
  } catch {
    return createJavaScript()
  }
  return {
    update: (chunk) => void hasher.update(chunk),
    digest: () => hasher.digest('binary'),
  }
}
