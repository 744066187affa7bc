/** A virtual OpenPGP card (application specification 3.4) with demo keys. */
import { OpenPgpApplet } from './applet.ts'
import { OpenPgpCard } from './card.ts'
import type { OpenPgpCardOptions, OpenPgpOptions } from './options.ts'

/** The OpenPGP applet for an `AppletCard`, alone or beside others. */
export function openpgp(options: OpenPgpOptions = {}): OpenPgpApplet {
  return new OpenPgpApplet(options)
}

/** Makes an OpenPGP card; without options a plain one: three P-256 keys, PIN 123456 for each signature. */
export function createOpenPgpCard(options: OpenPgpCardOptions = {}): OpenPgpCard {
  return new OpenPgpCard(options)
}

export { OpenPgpApplet } from './applet.ts'
export { OpenPgpCard } from './card.ts'
export type { KdfHash } from './kdf.ts'
export type { OpenPgpAlgorithm, OpenPgpKeyUse } from './keys.ts'
export type { Cardholder, OpenPgpCardOptions, OpenPgpOptions, TouchPolicy } from './options.ts'
