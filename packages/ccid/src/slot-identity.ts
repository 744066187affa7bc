/**
 * Derives a slot's id, name and kind from the names of its reader and interface, because no descriptor states the
 * kind.
 */
import type { ReaderIdentity } from '@webtoki/device'
import type { CardSlot } from '@webtoki/apdu'
import type { SlotIdentity } from './slot.ts'

/** The position of a slot on its device, and the names that the manufacturer gave. */
export interface SlotPlace {
  readonly interfaceNumber: number
  readonly slot: number
  readonly slots: number
  /** The interface's own name; empty if it has none. */
  readonly hint: string
  /** The known kinds of this reader's slots. */
  readonly kinds?: readonly CardSlot['kind'][] | undefined
}

/** Returns a slot's identity. The only slot of a reader has the reader's name. */
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
/** A manufacturer's abbreviation of "one SAM" among the slots. */
const ONE_SAM = /\b1s\b/i
const CONTACTLESS = /contactless|\b(picc|nfc\d*|rfid|cless)\b|(\b|\d)cl\b/i
const CONTACT = /contact|\b(icc|ct)\b/i
const TOKEN = /\b(token|key|yubikey|nitrokey|canokey|solo)\b/i

/** An interface's name applies to that interface, the device's name to all interfaces. */
function kindOf(name: string, { hint, slot, slots }: SlotPlace): CardSlot['kind'] {
  const words = SAM.test(hint) || CONTACTLESS.test(hint) || CONTACT.test(hint) ? hint : name
  // If several slots share one name, the SAM is the last slot.
  if (
    slots > 1
      ? slot === slots - 1 && (SAM.test(words) || ONE_SAM.test(name))
      : words === hint && SAM.test(hint)
  )
    return 'sam'
  if (TOKEN.test(words)) return 'token'
  return CONTACTLESS.test(words) ? 'contactless' : 'contact'
}
