/** Ids and names of readers: an id survives replugging if possible, and a name distinguishes identical readers. */
import type { CardSlot } from '@webtoki/apdu'

/** The id and name of a reader. The second of several identical readers is numbered 2. */
export interface ReaderIdentity {
  readonly id: string
  readonly name: string
}

/** What a device states about itself. */
export interface DeviceDescription {
  readonly vendorId: number
  readonly productId: number
  readonly serialNumber?: string | null | undefined
  readonly manufacturerName?: string | null | undefined
  readonly productName?: string | null | undefined
}

/** Number of removed readers whose names are remembered. */
const REMEMBERED = 32

/** Assigns ids and names. A released id and name go to the same reader when it returns. */
export class Identities {
  readonly #taken = new Set<string>()
  /** The latest name of each reader with a serial number, by id, oldest first. */
  readonly #names = new Map<string, string>()

  /**
   * Assigns an id and a name with the first free number among identical readers. With a serial number the id is
   * permanent.
   */
  assign(device: DeviceDescription): ReaderIdentity {
    const model = `${hex4(device.vendorId)}:${hex4(device.productId)}`
    const { serialNumber } = device
    const name = nameOf(device)
    const preferred = serialNumber ? `${model}:${serialNumber}` : undefined
    // Some manufacturers give every reader the same serial number.
    const id =
      preferred !== undefined && !this.#taken.has(`id ${preferred}`)
        ? preferred
        : this.#numbered('id ', model, '#')
    this.#taken.add(`id ${id}`)
    const previousName = this.#names.get(id)
    const numbered =
      previousName !== undefined && !this.#taken.has(`name ${previousName}`)
        ? previousName
        : this.#numbered('name ', name, ' ')
    this.#taken.add(`name ${numbered}`)
    if (id === preferred) this.#remember(id, numbered)
    return { id, name: numbered }
  }

  #remember(id: string, name: string): void {
    this.#names.delete(id)
    this.#names.set(id, name)
    const [oldest] = this.#names.keys()
    // A device that reports ever new serial numbers must not fill the memory.
    if (this.#names.size > REMEMBERED && oldest !== undefined) this.#names.delete(oldest)
  }

  release({ id, name }: ReaderIdentity): void {
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

/**
 * Returns the slots with the security modules (SAM) last, because applications use the first slot. Otherwise keeps
 * the order.
 */
export function samsLast<T extends Pick<CardSlot, 'kind'>>(slots: readonly T[]): T[] {
  return [...slots.filter(({ kind }) => kind !== 'sam'), ...slots.filter(({ kind }) => kind === 'sam')]
}

/** The display name of a device, from its manufacturer and product names. */
export function nameOf(device: DeviceDescription): string {
  const parts = [device.manufacturerName, device.productName].map((part) => part?.trim()).filter(Boolean)
  const [maker, product] = parts
  if (maker === undefined) return `USB device ${hex4(device.vendorId)}:${hex4(device.productId)}`
  if (product === undefined) return maker
  // Omits the manufacturer if the product name repeats it: "Cherry GmbH", "CHERRY SECURE BOARD 1.0".
  const [first = ''] = maker.toLowerCase().split(/\W/)
  return product.toLowerCase().split(/\W/)[0] === first || startsWith(product, maker)
    ? product
    : `${maker} ${product}`
}

function startsWith(product: string, maker: string): boolean {
  return product.toLowerCase().startsWith(maker.toLowerCase())
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0')
}
