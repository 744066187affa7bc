/** A virtual PIV card (NIST SP 800-73-4) with demo keys and certificates. */
import { PivApplet } from './applet.ts'
import { PivCard } from './card.ts'
import type { PivCardOptions, PivOptions } from './options.ts'

/** Creates a PIV applet for an `AppletCard`. */
export function piv(options: PivOptions = {}): PivApplet {
  return new PivApplet(options)
}

/**
 * Creates a card with a PIV applet. The default card has keys in 9A (RSA-2048), 9C (P-256), 9D (RSA-2048) and 9E (P-384),
 * and PIN 123456.
 *
 * ```ts
 * const card = createPivCard({ pin: '654321', policies: { '9A': { touch: 'always' } } })
 * reader.insert(card)
 * ```
 */
export function createPivCard(options: PivCardOptions = {}): PivCard {
  return new PivCard(options)
}

export { PivApplet } from './applet.ts'
export { PivCard } from './card.ts'
export { type ManagementKey } from './management-key.ts'
export { type PivSlot, pivAid, pivSlots } from './objects.ts'
export {
  defaultGuid,
  defaultManagementKey,
  demoCa,
  type KeyPolicy,
  type PivCardOptions,
  type PivOptions,
} from './options.ts'
export type { RandomSource } from '../bytes.ts'
