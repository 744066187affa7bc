/** The token driver for OpenPGP cards. */
import type { CardConnection } from '@webtoki/apdu'
import type { TokenDriver } from '../token.ts'

/**
 * OpenPGP cards and tokens of any maker: one token for signatures (PW1 with reference 81), one for authentication (82).
 * What speaks to a card is loaded when the first one is connected.
 */
export function openPgpDriver(): TokenDriver {
  return {
    name: 'OpenPGP',
    open: async (connection: CardConnection) => {
      const { openTokens } = await import('./token.ts')
      return openTokens(connection)
    },
  }
}
