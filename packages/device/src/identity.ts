/** What readers are called: ids that outlive a plug where they can, and names that tell equal readers apart. */
import type { CardSlot } from '@webtoki/apdu'

/** Which of the equal readers this is: 1 is not printed. */
export interface ReaderIdentity {
  readonly id: string
  readonly name: string
}

/** What a device says of itself. */
export interface DeviceDescription {
  readonly vendorId: number
  readonly productId: number
  readonly serialNumber?: string | null | undefined
  readonly manufacturerName?: string | null | undefined
  readonly productName?: string | null | undefined
}

/** Of so many readers that left the names are remembered. */
const REMEMBERED = 32

/** Hands out names and ids; gives them back when a reader leaves, so that it is called the same when it returns. */
export class Identities {
  readonly #taken = new Set<string>()
  /** What readers with a serial number were called last, by id; the oldest first. */
  readonly #names = new Map<string, string>()

  /** The first free number among equal readers; a serial number makes the id last. */
  take(device: DeviceDescription): ReaderIdentity {
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

/** Nobody wants a reader's own security module first: those come behind the slots for cards, else in the given order. */
export function samsLast<T extends Pick<CardSlot, 'kind'>>(slots: readonly T[]): T[] {
  return [...slots.filter(({ kind }) => kind !== 'sam'), ...slots.filter(({ kind }) => kind === 'sam')]
}

/** What a person would call the device. */
export function nameOf(device: DeviceDescription): string {
  const parts = [device.manufacturerName, device.productName].map((part) => part?.trim()).filter(Boolean)
  const [maker, product] = parts
  if (maker === undefined) return `USB device ${hex4(device.vendorId)}:${hex4(device.productId)}`
  if (product === undefined) return maker
  // "Cherry GmbH", "CHERRY SECURE BOARD 1.0": nobody wants to read a maker twice.
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
