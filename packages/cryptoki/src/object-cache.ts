/** The cache in which drivers keep public objects of cards between connections. It never contains a PIN or a private key. */

import { copyOf } from '@webtoki/apdu'

/** A store of card objects, such as memory, IndexedDB or a file. A cache whose methods reject is treated as empty. */
export interface ObjectCache {
  get(key: string): Promise<Uint8Array | undefined>
  set(key: string, object: Uint8Array): Promise<void>
}

/** A cache in memory, which lasts as long as the page. */
export class MemoryObjectCache implements ObjectCache {
  readonly #objects = new Map<string, Uint8Array>()

  async get(key: string): Promise<Uint8Array | undefined> {
    const object = this.#objects.get(key)
    return object && copyOf(object)
  }

  async set(key: string, object: Uint8Array): Promise<void> {
    this.#objects.set(key, copyOf(object))
  }
}
