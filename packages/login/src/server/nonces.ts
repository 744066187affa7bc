/** Nonces: random, bound to a session of the site, valid for one login and five minutes. */
import { LoginArgumentError } from '../argument-error.ts'

/** Stores nonces in memory, or in the site's session store. */
export interface NonceStore {
  /**
   * Creates a nonce of 44 to 128 characters for this session. Earlier nonces stay valid, because each open page has its
   * own.
   */
  issue(session: string): Promise<string>
  /**
   * Returns the nonces of the session that are neither taken nor expired, about ten at most. A login may use any of
   * them.
   */
  issued(session: string): Promise<readonly string[]>
  /**
   * Removes a nonce atomically. Resolves to true if it was there; of two concurrent calls only one resolves to true.
   */
  take(session: string, nonce: string): Promise<boolean>
}

const NONCE_BYTES = 32
const LIFETIME_MS = 5 * 60_000
/** Sessions with nonces; above the limit, the oldest is dropped. */
const MAX_SESSIONS = 100_000
/** Nonces of one session; above the limit, the oldest is dropped. */
const MAX_NONCES = 8

/**
 * False for a missing session: visitors without a cookie must not share one session, or each could use another's nonce.
 */
export function isSession(session: unknown): session is string {
  return typeof session === 'string' && session !== ''
}

/**
 * Returns a store in the memory of one process. `now` returns milliseconds; default: the system clock. Throws
 * LoginArgumentError if `now` is not a function; `issue` rejects with it if the session is empty.
 */
export function memoryNonceStore(now: () => number = () => Date.now()): NonceStore {
  if (typeof now !== 'function') throw new LoginArgumentError('now', 'a function')
  /** Expiry times in milliseconds, by session and nonce. */
  const sessions = new Map<string, Map<string, number>>()
  const unexpiredNonces = (session: string): Map<string, number> => {
    const kept = [...(sessions.get(session) ?? [])].filter(([, until]) => until >= now())
    return new Map(kept)
  }
  return {
    issue: async (session) => {
      if (!isSession(session)) throw new LoginArgumentError('session', 'a string that is not empty')
      const random = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const nonce = btoa(String.fromCharCode(...random))
      const kept = unexpiredNonces(session).set(nonce, now() + LIFETIME_MS)
      dropOldest(kept, MAX_NONCES)
      sessions.delete(session)
      sessions.set(session, kept)
      dropOldest(sessions, MAX_SESSIONS)
      return nonce
    },
    issued: async (session) => [...unexpiredNonces(session).keys()],
    take: async (session, nonce) => {
      const kept = unexpiredNonces(session)
      const isThere = kept.delete(nonce)
      if (kept.size > 0) sessions.set(session, kept)
      else sessions.delete(session)
      return isThere
    },
  }
}

function dropOldest(map: Map<string, unknown>, limit: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= limit) break
    map.delete(oldest)
  }
}
