/** The part of WebCrypto that ciphers use, for packages without DOM types. It is absent from a page that was not served securely. */

interface Algorithm {
  readonly name: 'AES-CBC' | 'AES-CTR' | 'AES-GCM'
  readonly iv?: Uint8Array
  readonly counter?: Uint8Array
  readonly length?: number
  readonly additionalData?: Uint8Array
  readonly tagLength?: number
}

/** SubtleCrypto (Web Cryptography API, 14). It copies the bytes that it is given. */
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

/** Undefined if the platform does not have it. */
export function subtleCrypto(): Subtle | undefined {
  return (globalThis as { readonly crypto?: { readonly subtle?: Subtle } }).crypto?.subtle
}

/** The key as WebCrypto wants it; undefined if it does not take it: Chrome has no AES of 192 bits. */
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
