/** Explains why no slot has a usable card. */
import type { WebtokiError } from './webtoki-error.ts'
import { CardSilentError } from './card-errors.ts'
import { ReaderInUseError } from './reader-errors.ts'
import type { Presence } from './ports.ts'

/**
 * Returns the reason why none of the slots has a usable card: a reader in use first, then a card that does not respond.
 * Undefined if all slots are empty.
 */
export function reasonForNoCard(presences: readonly Presence[]): WebtokiError | undefined {
  for (const presence of presences)
    if (typeof presence === 'object') return new ReaderInUseError({ by: presence.inUse })
  return presences.includes('unreadable') ? new CardSilentError() : undefined
}
