/** Nonces: unguessable, bound to a session of the site, each good for one login and for a short while. */
import { LoginArgumentError } from '../argument-error.ts'

/** Kept by the site: in memory, or where its sessions are. */
export interface NonceStore {
  /** A fresh nonce of 44 to 128 characters for this session. Others of the session stay: each of its pages has its own. */
  issue(session: string): Promise<string>
  /** The session's nonces that were not taken and whose time is not up, at most ten or so: a login may be over any of them. */
  issued(session: string): Promise<readonly string[]>
  /** Takes one away. True if it was there; of two calls at once, one alone gets true. */
  take(session: string, nonce: string): Promise<boolean>
}

const NONCE_BYTES = 32
const LIFETIME_MS = 5 * 60_000
/** Of sessions that ask and never log in, the oldest is forgotten. */
const MAX_SESSIONS = 100_000
/** Pages of one session that are waiting; the oldest is forgotten. */
const MAX_NONCES = 8

/** Visitors whose cookie is missing are not one session: each could use the nonce of another. */
export function isSession(session: unknown): session is string {
  return typeof session === 'string' && session !== ''
}

/** For one process. `now` in milliseconds; default: the system's. It, and `issue` without a session, refuse with LoginArgumentError. */
export function memoryNonceStore(now: () => number = () => Date.now()): NonceStore {
  if (typeof now !== 'function') throw new LoginArgumentError('now', 'a function')
  /** By session, then by nonce: until when. */
  const sessions = new Map<string, Map<string, number>>()
  const alive = (session: string): Map<string, number> => {
    const kept = [...(sessions.get(session) ?? [])].filter(([, until]) => until >= now())
    return new Map(kept)
  }
  return {
    issue: async (session) => {
      if (!isSession(session)) throw new LoginArgumentError('session', 'a text that is not empty')
      const random = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const nonce = btoa(String.fromCharCode(...random))
      const kept = alive(session).set(nonce, now() + LIFETIME_MS)
      dropOldest(kept, MAX_NONCES)
      sessions.delete(session)
      sessions.set(session, kept)
      dropOldest(sessions, MAX_SESSIONS)
      return nonce
    },
    issued: async (session) => [...alive(session).keys()],
    take: async (session, nonce) => {
      const kept = alive(session)
      const isThere = kept.delete(nonce)
      if (kept.size > 0) sessions.set(session, kept)
      else sessions.delete(session)
      return isThere
    },
  }
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) break
    map.delete(oldest)
  }
}
