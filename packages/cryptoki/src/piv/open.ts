/** Loads what speaks to PIV cards. It stands in `card-side.ts`, which says why. */
import type { CardConnection } from '@webtoki/apdu'
import type { PivShared, PivToken } from './token.ts'

/** The card's token; undefined if it has no PIV application. */
export async function openPivToken(
  connection: CardConnection,
  shared: PivShared,
): Promise<PivToken | undefined> {
  const { PivToken } = await import('./token.ts')
  return PivToken.open(connection, shared)
}
