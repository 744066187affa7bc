/**
 * The part of WebCrypto that the ciphers use (Web Cryptography API, 14), declared here because this package compiles
 * without DOM types. Pages outside a secure context do not have it.
 */

interface Algorithm {
  readonly name: 'AES-CBC' | 'AES-CTR' | 'AES-GCM'
  readonly iv?: Uint8Array
  readonly counter?: Uint8Array
  readonly length?: number
  readonly additionalData?: Uint8Array
  readonly tagLength?: number
}

/** SubtleCrypto. It copies the bytes that are passed to it. */
export interface Subtle {
  importKey(
    format: 'raw',
    key: Uint8Array,
    algorithm: Algorithm['name'],
    extractable: false,
    usages: readonly ('encrypt' | 'decrypt')[],
  ): Promise<object>
  encrypt(algorithm: Algorithm, key: object, data: Uint8Array): Promise<ArrayBuffer>
  decrypt(algorithm: Algorithm, key: object, data: Uint8Array): Promise<ArrayBuffer>
}

/** Returns undefined if the platform does not have it. */
export function subtleCrypto(): Subtle | undefined {
  return (globalThis as { readonly crypto?: { readonly subtle?: Subtle } }).crypto?.subtle
}

/**
 * Imports the key into WebCrypto. Returns undefined if WebCrypto refuses it: Chrome does not support 192-bit AES keys.
 * https://github.com/chromium/chromium/blob/c571efbef3ecfe66613d524ff39c58e25d18548c/components/webcrypto/algorithms/aes.cc#L118-L120
 */
export async function importedKey(
  subtle: Subtle | undefined,
  key: Uint8Array,
  name: Algorithm['name'],
): Promise<{ readonly subtle: Subtle; readonly imported: object } | undefined> {
  try {
    const imported = await subtle?.importKey('raw', key, name, false, ['encrypt', 'decrypt'])
    return subtle && imported && { subtle, imported }
  } catch {
    return undefined
  }
}
