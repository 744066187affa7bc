/** What a slot is called and what it is for, by its reader's name and its interface's: no descriptor has a field for it. */
import type { ReaderIdentity } from '@webtoki/device'
import type { CardSlot } from '@webtoki/apdu'
import type { SlotIdentity } from './slot.ts'

/** Where a slot is on its device, and what the maker says of it. */
export interface SlotPlace {
  readonly interfaceNumber: number
  readonly slot: number
  readonly slots: number
  /** The interface's own name; empty where it has none. */
  readonly hint: string
  /** What is known of this very reader's slots. */
  readonly kinds?: readonly CardSlot['kind'][] | undefined
}

/** One slot of a reader; a reader of one slot lends it its own name. */
export function slotIdentity(reader: ReaderIdentity, place: SlotPlace): SlotIdentity {
  const { interfaceNumber, slot, slots, kinds } = place
  const several = slots > 1 ? ` slot ${slot + 1}` : ''
  return {
    id: `${reader.id}/${interfaceNumber}.${slot}`,
    name: `${reader.name}${several}`,
    kind: kinds?.[slot] ?? kindOf(reader.name, place),
  }
}

/** "SAM", "SAM1", "SAMX_Reader". */
const SAM = /\bsam[x\d]*(?![a-z])/i
/** How makers shorten "and one SAM", of a reader that has it among its slots. */
const ONE_SAM = /\b1s\b/i
const CONTACTLESS = /contactless|\b(picc|nfc\d*|rfid|cless)\b|(\b|\d)cl\b/i
const CONTACT = /contact|\b(icc|ct)\b/i
const TOKEN = /\b(token|key|yubikey|nitrokey|canokey|solo)\b/i

/** An interface's own name says it of that interface, the device's of all. */
function kindOf(name: string, { hint, slot, slots }: SlotPlace): CardSlot['kind'] {
  const words = SAM.test(hint) || CONTACTLESS.test(hint) || CONTACT.test(hint) ? hint : name
  // Where one name is for several slots, the SAM is behind the cards.
  if (
    slots > 1
      ? slot === slots - 1 && (SAM.test(words) || ONE_SAM.test(name))
      : words === hint && SAM.test(hint)
  )
    return 'sam'
  if (TOKEN.test(words)) return 'token'
  return CONTACTLESS.test(words) ? 'contactless' : 'contact'
}
