/**
 * What is loaded when the first card is connected. Whatever a card may need after that is imported from here, not from
 * `slot.ts` or a driver's entry: bundlers then know that what it shares with this is in memory, and split no file off for it.
 */
export { InsertedCard } from './inserted-card.ts'
export { openPivToken } from './piv/open.ts'
export { toCryptokiError } from './rv.ts'
export { Session } from './session.ts'

/** Loads what tells the abilities of tokens. */
export const capabilities: () => Promise<typeof import('./capabilities.ts')> = () =>
  import('./capabilities.ts')
