/** A virtual OpenPGP card (application specification 3.4) with demo keys. */
import { OpenPgpApplet } from './applet.ts'
import { OpenPgpCard } from './card.ts'
import type { OpenPgpCardOptions, OpenPgpOptions } from './options.ts'

/** Creates an OpenPGP applet for an `AppletCard`. */
export function openpgp(options: OpenPgpOptions = {}): OpenPgpApplet {
  return new OpenPgpApplet(options)
}

/**
 * Creates a card with an OpenPGP applet. The default card has three P-256 keys and requires PIN 123456 for each
 * signature.
 *
 * ```ts
 * const card = createOpenPgpCard({ algorithms: { signature: 'ed25519' } })
 * reader.insert(card)
 * ```
 */
export function createOpenPgpCard(options: OpenPgpCardOptions = {}): OpenPgpCard {
  return new OpenPgpCard(options)
}

export { OpenPgpApplet } from './applet.ts'
export { OpenPgpCard } from './card.ts'
export type { KdfHash } from './kdf.ts'
export type { OpenPgpAlgorithm, OpenPgpKeyUse } from './keys.ts'
export type { Cardholder, OpenPgpCardOptions, OpenPgpOptions, TouchPolicy } from './options.ts'
