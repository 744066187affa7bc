/** The slots with a card in them, once the readers have told. */
import type { Cryptoki, Slot } from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'

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
