/** The token driver for OpenPGP cards. */
import type { CardConnection } from '@webtoki/apdu'
import { platformRandomBytes } from '../random.ts'
import type { TokenDriver } from '../token.ts'

/**
 * OpenPGP cards and tokens of any maker: one token for signatures (PW1 with reference 81), one for authentication and decryption (82).
 * What speaks to a card is loaded when the first one is connected.
 */
export function openPgpDriver(): TokenDriver {
  // Of a wrong PKCS#1 padding it makes the same bytes each time, also after the card was taken out.
  let secret: Uint8Array | undefined
  return {
    name: 'OpenPGP',
    open: async (connection: CardConnection) => {
      const { openTokens } = await import('./token.ts')
      return openTokens(connection, () => (secret ??= platformRandomBytes(32)))
    },
  }
}
