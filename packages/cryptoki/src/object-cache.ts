/** What drivers remember of cards from one connection to the next: public objects only, never a PIN or a key. */

import { copyOf } from '@webtoki/apdu'

/** Kept by whoever can keep it: memory, IndexedDB, a file. A cache that fails counts as empty. */
export interface ObjectCache {
  get(key: string): Promise<Uint8Array | undefined>
  set(key: string, object: Uint8Array): Promise<void>
}

/** For as long as the page lives. */
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
