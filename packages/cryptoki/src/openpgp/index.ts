/** The token driver for OpenPGP cards (OpenPGP card 3.4). */
import type { CardConnection } from '@webtoki/apdu'
import { platformRandomBytes } from '../random.ts'
import type { TokenDriver } from '../token.ts'

/**
 * Returns the driver for OpenPGP cards of every manufacturer. A card has two tokens: one for signatures (PW1 with reference
 * 81) and one for authentication and decryption (82). The code that talks to a card is loaded when the first card is opened.
 */
export function openPgpDriver(): TokenDriver {
  // Implicit rejection derives the message for a wrong PKCS#1 padding from this. It must not change on a card removal.
  let secret: Uint8Array | undefined
  return {
    name: 'OpenPGP',
    open: async (connection: CardConnection) => {
      const { openTokens } = await import('./token.ts')
      return openTokens(connection, () => (secret ??= platformRandomBytes(32)))
    },
  }
}
