/** Which tab of a site has a reader: one Web Lock for each (Web Locks API), since a refused claim does not say who holds it. */

/** The part of `navigator.locks` that is used. */
export interface ReaderLocks {
  request(
    name: string,
    options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal },
    work: (lock: unknown) => Promise<void> | undefined,
  ): Promise<unknown>
}

/** Takes the lock if nobody has it: resolves to what gives it back, or to undefined. */
export function takeLock(locks: ReaderLocks, name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    const held = locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) {
        resolve(undefined)
        return undefined
      }
      return new Promise<void>((release) => resolve(release))
    })
    // A page that may not use locks goes without.
    held.catch(() => resolve(() => {}))
  })
}

/** Waits until the tab that has it gives it back; false where the waiting was given up. */
export async function whenFree(locks: ReaderLocks, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await locks.request(name, { signal }, () => undefined)
    return true
  } catch {
    return false
  }
}
