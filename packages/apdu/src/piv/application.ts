/** Detects whether a card has the PIV application (SP 800-73-4), because some cards return 9000 to every SELECT. */
import type { ResponseApdu } from '../command.ts'
import { toHex } from '../bytes.ts'
import { SW } from '../status-words.ts'

/** Matches, at a whole byte, the RID of NIST or a 4F with the rest of the AID only (SP 800-73-4 part 2, table 3). */
const NAMES_PIV = /^(..)*(a000000308|4f0[6b]00001000)/

/**
 * Decides by the response to SELECT, then by that to GET DATA for the CHUID, then by that for the discovery object. Returns
 * undefined if the responses so far do not show it: call again with the next one.
 *
 * The template is searched for the AID and not decoded, because some cards write wrong lengths or the whole AID in 4F:
 * https://github.com/OpenSC/OpenSC/blob/0.27.1/src/libopensc/card-piv.c#L2907-L2925
 * A card without a template has PIV if it returns a PIV object. It does not have PIV if it does not support GET DATA or
 * returns no data.
 */
export function isPivApplication(
  template: Uint8Array,
  chuid?: ResponseApdu,
  discovery?: ResponseApdu,
): boolean | undefined {
  if (NAMES_PIV.test(toHex(template))) return true
  // PIV objects have the tag 53 or 7E.
  if ([chuid, discovery].some((object) => object?.sw === SW.OK && [0x53, 0x7e].includes(object.data[0] ?? 0)))
    return true
  const lacksGetData = chuid?.sw === SW.INS_NOT_SUPPORTED || chuid?.sw === SW.CLA_NOT_SUPPORTED
  return lacksGetData || discovery !== undefined ? false : undefined
}
