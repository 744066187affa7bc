/** A virtual PIV card (NIST SP 800-73-4) with demo keys and certificates. */
import { PivApplet } from './applet.ts'
import { PivCard } from './card.ts'
import type { PivCardOptions, PivOptions } from './options.ts'

/** The PIV applet for an `AppletCard`, alone or beside others. */
export function piv(options: PivOptions = {}): PivApplet {
  return new PivApplet(options)
}

/** Makes a PIV card; without options a plain one: 9A RSA-2048, 9C P-256, 9D RSA-2048, 9E P-384, PIN 123456. */
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
