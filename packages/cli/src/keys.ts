/** The token drivers of the command line, and the keys that `--key` names. */
import type { TokenDriver } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'

/** A key that `--key` names. */
export interface NamedKey {
  /** CKA_ID, as OpenSC numbers them. */
  readonly id: number
  /** The one driver that is asked for it: ids of other applications mean other keys. */
  readonly driver: () => TokenDriver
  /** Which of the driver's tokens has it. */
  readonly token: number
}

/** By name. */
export const namedKeys: ReadonlyMap<string, NamedKey> = new Map([
  ['9a', { id: 1, driver: pivDriver, token: 0 }],
  ['9c', { id: 2, driver: pivDriver, token: 0 }],
  ['9d', { id: 3, driver: pivDriver, token: 0 }],
  ['9e', { id: 4, driver: pivDriver, token: 0 }],
  ['signature', { id: 1, driver: openPgpDriver, token: 0 }],
  ['authentication', { id: 3, driver: openPgpDriver, token: 1 }],
])

/** All drivers, the most used first. */
export function allDrivers(): readonly TokenDriver[] {
  return [pivDriver(), openPgpDriver()]
}
