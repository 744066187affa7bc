/**
 * The modules that are loaded with the first card. Code that is loaded later for a card must be imported from here, not from
 * `slot.ts` or the entry point of a driver. Bundlers then know that the shared modules are in memory already, and do not split
 * them into separate files.
 */
export { InsertedCard } from './inserted-card.ts'
export { openPivToken } from './piv/open.ts'
export { toCryptokiError } from './rv.ts'
export { Session } from './session.ts'

/** Loads the functions that describe tokens and their mechanisms. */
export const capabilities: () => Promise<typeof import('./capabilities.ts')> = () =>
  import('./capabilities.ts')
