/** Loads the code for PIV cards. `card-side.ts` exports it and explains why. */
import type { CardConnection } from '@webtoki/apdu'
import type { PivShared, PivToken } from './token.ts'

/** Returns the token of the card, or undefined if it has no PIV application. */
export async function openPivToken(
  connection: CardConnection,
  shared: PivShared,
): Promise<PivToken | undefined> {
  const { PivToken } = await import('./token.ts')
  return PivToken.open(connection, shared)
}
