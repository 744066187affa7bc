/** What readers are called: ids that outlive a plug where they can, and names that tell equal readers apart. */
import type { CardSlot } from '@webtoki/apdu'
import type { SlotIdentity } from './slot.ts'

/** Which of the equal readers this is: 1 is not printed. */
export interface ReaderIdentity {
  readonly id: string
  readonly name: string
}

/** Hands out names and ids; gives them back when a reader leaves, so that the next one is called the same. */
export class Identities {
  readonly #taken = new Set<string>()

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
    const numbered = this.#numbered('name ', name, ' ')
    this.#taken.add(`name ${numbered}`)
    return { id, name: numbered }
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

/** One slot of a reader; a reader of one slot lends it its own name. */
export function slotIdentity(
  reader: ReaderIdentity,
  place: {
    readonly interfaceNumber: number
    readonly slot: number
    readonly slots: number
    readonly hint: string
  },
): SlotIdentity {
  const { interfaceNumber, slot, slots, hint } = place
  const several = slots > 1 ? ` slot ${slot + 1}` : ''
  return {
    id: `${reader.id}/${interfaceNumber}.${slot}`,
    name: `${reader.name}${several}`,
    kind: kindOf(`${reader.name} ${hint}`, slot),
  }
}

/** Descriptors have no field for it; makers' names do. */
function kindOf(words: string, slot: number): CardSlot['kind'] {
  if (/\bsam\b/i.test(words) && slot > 0) return 'sam'
  if (/\b(token|key|yubikey|nitrokey|canokey|solo)\b/i.test(words)) return 'token'
  if (/\b(contactless|picc|nfc|rfid|cl)\b/i.test(words)) return 'contactless'
  return 'contact'
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
