/** Finds the slots with a card, after the readers have reported their presence. */
import { NoReaderError, reasonForNoCard } from '@webtoki/apdu'
import { CKR, type Cryptoki, CryptokiError, type Slot } from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'
import { type Connected, hintFor, reportProblems } from './connect.ts'

/** Returns the slots with a card, in the order of the readers. */
export async function presentSlots(cryptoki: Cryptoki): Promise<readonly Slot[]> {
  const slots = await firstValueFrom(cryptoki.slots$)
  const presences = await Promise.all(slots.map((slot) => firstValueFrom(slot.presence$)))
  return slots.filter((_, index) => presences[index] === 'present')
}

/** Returns a reader's first slot and the slots of its card's other tokens. Uses the first token, which makes the others known. */
export async function tokenSlots(cryptoki: Cryptoki, first: Slot): Promise<readonly Slot[]> {
  await first.tokenInfo()
  const present = await presentSlots(cryptoki)
  return present.filter(({ id }) => id === first.id || id.startsWith(`${first.id}/`))
}

/**
 * Throws CKR_TOKEN_NOT_PRESENT. Its cause is a missing reader, a reader in use or a card that does not respond; it has no cause
 * if the readers are only empty. Reports problems of single readers first.
 */
export async function failWithoutCard(
  cryptoki: Cryptoki,
  connected: Connected,
  complain: (line: string) => void,
): Promise<never> {
  const hasProblems = await reportProblems(connected, complain)
  const slots = await firstValueFrom(cryptoki.slots$)
  const presences = await Promise.all(slots.map((slot) => firstValueFrom(slot.presence$)))
  const cause = slots.length === 0 && !hasProblems ? new NoReaderError() : reasonForNoCard(presences)
  const hint = cause === undefined ? undefined : hintFor(cause.code)
  if (hint !== undefined) complain(hint)
  throw new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause, detail: 'no reader contains a card' })
}
