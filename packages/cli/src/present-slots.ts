/** The slots with a card in them, once the readers have told. */
import { CardSilentError, NoReaderError, ReaderInUseError } from '@webtoki/apdu'
import { CKR, type Cryptoki, CryptokiError, type Slot } from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'
import { type Connected, hintFor, tellProblems } from './connect.ts'

/** In the readers' order. */
export async function presentSlots(cryptoki: Cryptoki): Promise<readonly Slot[]> {
  const slots = await firstValueFrom(cryptoki.slots$)
  const presences = await Promise.all(slots.map((slot) => firstValueFrom(slot.presence$)))
  return slots.filter((_, index) => presences[index] === 'present')
}

/** A reader's first slot with the slots of the further tokens of its card, which are known once the first one was used. */
export async function tokenSlots(cryptoki: Cryptoki, first: Slot): Promise<readonly Slot[]> {
  await first.tokenInfo()
  const present = await presentSlots(cryptoki)
  return present.filter(({ id }) => id === first.id || id.startsWith(`${first.id}/`))
}

/**
 * Throws CKR_TOKEN_NOT_PRESENT with what is known: no reader, one in use, a mute card, or no card. Tells problems of single
 * readers before.
 */
export async function failWithoutCard(
  cryptoki: Cryptoki,
  connected: Connected,
  complain: (line: string) => void,
): Promise<never> {
  const hasProblems = await tellProblems(connected, complain)
  const slots = await firstValueFrom(cryptoki.slots$)
  const presences = await Promise.all(slots.map((slot) => firstValueFrom(slot.presence$)))
  const cause =
    slots.length === 0 && !hasProblems
      ? new NoReaderError()
      : presences.some((presence) => typeof presence === 'object')
        ? new ReaderInUseError()
        : presences.includes('unreadable')
          ? new CardSilentError()
          : undefined
  const hint = cause === undefined ? undefined : hintFor(cause.code)
  if (hint !== undefined) complain(hint)
  throw new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause, detail: 'there is no reader with a card in it' })
}
