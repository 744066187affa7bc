/** The token driver for PIV cards (SP 800-73-4). */
import type { CardConnection } from '@webtoki/apdu'
import { LowCards } from '../few-tries.ts'
import { MemoryObjectCache, type ObjectCache } from '../object-cache.ts'
import { platformRandomBytes } from '../random.ts'
import type { TokenDriver } from '../token.ts'

/** Options of `pivDriver`. */
export interface PivDriverOptions {
  /** Stores certificates by card. Default: in memory, as long as the driver exists. */
  readonly cache?: ObjectCache | undefined
  /** Provides the salts of PSS and the rejection secret of PKCS#1 v1.5. Default: the platform's generator. */
  readonly randomBytes?: (bytes: number) => Uint8Array
}

/**
 * Returns the driver for PIV cards of every manufacturer. The code that talks to a card is loaded when the first card is
 * opened.
 */
export function pivDriver(options: PivDriverOptions = {}): TokenDriver {
  const { cache = new MemoryObjectCache(), randomBytes = platformRandomBytes } = options
  let secret: Uint8Array | undefined
  const shared = {
    cache,
    randomBytes,
    rejectionSecret: () => (secret ??= randomBytes(32)),
    low: new LowCards(),
  }
  return {
    name: 'PIV',
    open: async (connection: CardConnection) => {
      const { openPivToken } = await import('../card-side.ts')
      const token = await openPivToken(connection, shared)
      return token === undefined ? [] : [token]
    },
  }
}
