/** What readers are called: ids that outlive a plug where they can, and names that tell equal readers apart. */
import type { CardSlot } from '@webtoki/apdu'
import type { SlotIdentity } from './slot.ts'

/** Which of the equal readers this is: 1 is not printed. */
export interface ReaderIdentity {
  readonly id: string
  readonly name: string
}

/** Of so many readers that left the names are remembered. */
const REMEMBERED = 32

/** Hands out names and ids; gives them back when a reader leaves, so that it is called the same when it returns. */
export class Identities {
  readonly #taken = new Set<string>()
  /** What readers with a serial number were called last, by id; the oldest first. */
  readonly #names = new Map<string, string>()

  /** The first free number among equal readers; a serial number makes the id last. */
  take(device: USBDevice): ReaderIdentity {
    const model = `${hex4(device.vendorId)}:${hex4(device.productId)}`
    const { serialNumber } = device
    const name = nameOf(device)
    const wanted = serialNumber ? `${model}:${serialNumber}` : undefined
    // Some makers give every reader the same serial number.
    const id =
      wanted !== undefined && !this.#taken.has(`id ${wanted}`) ? wanted : this.#numbered('id ', model, '#')
    this.#taken.add(`id ${id}`)
    const before = this.#names.get(id)
    const numbered =
      before !== undefined && !this.#taken.has(`name ${before}`) ? before : this.#numbered('name ', name, ' ')
    this.#taken.add(`name ${numbered}`)
    if (id === wanted) this.#remember(id, numbered)
    return { id, name: numbered }
  }

  #remember(id: string, name: string): void {
    this.#names.delete(id)
    this.#names.set(id, name)
    const [oldest] = this.#names.keys()
    // A device that shows itself under ever new serial numbers must not fill the memory.
    if (this.#names.size > REMEMBERED && oldest !== undefined) this.#names.delete(oldest)
  }

  give({ id, name }: ReaderIdentity): void {
    this.#taken.delete(`id ${id}`)
    this.#taken.delete(`name ${name}`)
  }

  #numbered(kind: string, base: string, separator: string): string {
    if (!this.#taken.has(kind + base)) return base
    let number = 2
    while (this.#taken.has(`${kind}${base}${separator}${number}`)) number++
    return `${base}${separator}${number}`
  }
}

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

/** Descriptors have no field for it; makers' names do. An interface's own name says it of that interface. */
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

/** Nobody wants a reader's own security module first: those come behind the slots for cards, else in the given order. */
export function samsLast<T extends Pick<CardSlot, 'kind'>>(slots: readonly T[]): T[] {
  return [...slots.filter(({ kind }) => kind !== 'sam'), ...slots.filter(({ kind }) => kind === 'sam')]
}

/** What a person would call the device. */
export function nameOf(device: USBDevice): string {
  const parts = [device.manufacturerName, device.productName].map((part) => part?.trim()).filter(Boolean)
  const [maker, product] = parts
  if (maker === undefined) return `USB device ${hex4(device.vendorId)}:${hex4(device.productId)}`
  if (product === undefined) return maker
  return product.toLowerCase().startsWith(maker.toLowerCase()) ? product : `${maker} ${product}`
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0')
}
