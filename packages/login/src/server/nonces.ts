/** Nonces: unguessable, bound to a session of the site, good once and for a short while. */

/** Kept by the site: in memory, or where its sessions are. */
export interface NonceStore {
  /** A fresh nonce of 44 to 128 characters for this session; it replaces an older one. */
  issue(session: string): Promise<string>
  /** Takes the session's nonce away and resolves to it; to undefined or null if there is none, or its time is up. */
  take(session: string): Promise<string | undefined | null>
}

/** The part of the platform that this needs, for rooms without DOM types. */
const NONCE_BYTES = 32
const LIFETIME_MS = 5 * 60_000
/** Sessions that ask and never log in are forgotten, the oldest first. */
const MAX_NONCES = 100_000

/** Visitors whose cookie is missing are not one session: each could use the nonce of another. */
export function isSession(session: unknown): session is string {
  return typeof session === 'string' && session !== ''
}

/** For one process. `now` in milliseconds; default: the system's. `issue` rejects with TypeError without a session. */
export function memoryNonceStore(now: () => number = () => Date.now()): NonceStore {
  const nonces = new Map<string, { readonly nonce: string; readonly until: number }>()
  return {
    issue: async (session) => {
      if (!isSession(session))
        throw new TypeError('A nonce is issued to a session: a text that is not empty.')
      const random = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const nonce = btoa(String.fromCharCode(...random))
      nonces.delete(session)
      nonces.set(session, { nonce, until: now() + LIFETIME_MS })
      for (const [oldest] of nonces) {
        if (nonces.size <= MAX_NONCES) break
        nonces.delete(oldest)
      }
      return nonce
    },
    take: async (session) => {
      const kept = nonces.get(session)
      nonces.delete(session)
      return kept !== undefined && kept.until >= now() ? kept.nonce : undefined
    },
  }
}
