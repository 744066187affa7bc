/** The slots with a card in them, once the readers have told. */
import type { Cryptoki, Slot } from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'

/** In the readers' order. */
export async function presentSlots(cryptoki: Cryptoki): Promise<readonly Slot[]> {
  const slots = await firstValueFrom(cryptoki.slots$)
  const presences = await Promise.all(slots.map((slot) => firstValueFrom(slot.presence$)))
  return slots.filter((_, index) => presences[index] === 'present')
}
