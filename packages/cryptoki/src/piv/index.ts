/** The token driver for PIV cards. */
import type { CardConnection } from '@webtoki/apdu'
import { LowCards } from '../few-tries.ts'
import { MemoryObjectCache, type ObjectCache } from '../object-cache.ts'
import { platformRandomBytes } from '../random.ts'
import type { TokenDriver } from '../token.ts'

/** What the driver may be given. */
export interface PivDriverOptions {
  /** Where certificates are remembered, by card. Default: in memory, for as long as the driver lives. */
  readonly cache?: ObjectCache | undefined
  /** Salts of PSS, and the secret behind PKCS#1 decryption. Default: the platform's generator. */
  readonly randomBytes?: (bytes: number) => Uint8Array
}

/** PIV cards and tokens of any maker. What speaks to a card is loaded when the first one is connected. */
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
