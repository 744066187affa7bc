/** Whether a card that took SELECT has the PIV application: some cards answer 9000 to every SELECT. */
import type { ResponseApdu } from '../command.ts'
import { toHex } from '../bytes.ts'
import { SW } from '../status-words.ts'

/** At a whole byte: the RID of NIST, or 4F with the rest of the AID alone (SP 800-73-4 part 2, table 3). */
const NAMES_PIV = /^(..)*(a000000308|4f0[6b]00001000)/

/**
 * Judges by the answer to SELECT, then by the one to GET DATA for the CHUID, then for the discovery object. undefined:
 * these do not tell; ask for the next.
 *
 * The template is searched for the AID and not decoded, because some cards write wrong lengths or the whole AID in 4F
 * (OpenSC, card-piv.c). A card without a template shows by a PIV object that it has PIV; a card that does not know GET
 * DATA, or says 9000 without data again, has not.
 */
export function isPivApplication(
  template: Uint8Array,
  chuid?: ResponseApdu,
  discovery?: ResponseApdu,
): boolean | undefined {
  if (NAMES_PIV.test(toHex(template))) return true
  // The tags of PIV's objects, 53 and 7E.
  if ([chuid, discovery].some((answer) => answer?.sw === SW.OK && [0x53, 0x7e].includes(answer.data[0] ?? 0)))
    return true
  const isUnknown = chuid?.sw === SW.INS_NOT_SUPPORTED || chuid?.sw === SW.CLA_NOT_SUPPORTED
  return isUnknown || discovery !== undefined ? false : undefined
}
