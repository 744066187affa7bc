/** Lists the token drivers of the command line and the keys that `--key` can name. */
import type { TokenDriver } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'

/** A key that `--key` names. */
export interface NamedKey {
  /**
   * CKA_ID, as OpenSC numbers them:
   * https://github.com/OpenSC/OpenSC/blob/0.27.1/src/libopensc/pkcs15-piv.c#L542-L566 and
   * https://github.com/OpenSC/OpenSC/blob/0.27.1/src/libopensc/pkcs15-openpgp.c#L323
   */
  readonly id: number
  /** The only driver that looks for the key, because the same id means another key in another application. */
  readonly driver: () => TokenDriver
  /** The index of the driver's token that has the key. */
  readonly token: number
}

/** The keys by their names on the command line. */
export const namedKeys: ReadonlyMap<string, NamedKey> = new Map([
  ['9a', { id: 1, driver: pivDriver, token: 0 }],
  ['9c', { id: 2, driver: pivDriver, token: 0 }],
  ['9d', { id: 3, driver: pivDriver, token: 0 }],
  ['9e', { id: 4, driver: pivDriver, token: 0 }],
  ['signature', { id: 1, driver: openPgpDriver, token: 0 }],
  ['authentication', { id: 3, driver: openPgpDriver, token: 1 }],
])

/** Creates all drivers, the most used one first. */
export function allDrivers(): readonly TokenDriver[] {
  return [pivDriver(), openPgpDriver()]
}
