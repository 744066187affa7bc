/** One virtual reader with one card, and our whole stack above it: what each scenario starts from. */
import { ccidSlots } from '@webtoki/ccid'
import {
  Cryptoki,
  type CryptokiOptions,
  type ObjectCache,
  type PinSource,
  type Slot,
} from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createOpenPgpCard,
  createPivCard,
  readerProfiles,
  type VirtualCard,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'

/** The exchange levels that scenarios run at. */
export type Level = 'short' | 'extended'

/** What the virtual reader counted. */
export interface Counts {
  readonly apdus: number
  readonly bytesToCard: number
  readonly bytesFromCard: number
  readonly usbTransfers: number
}

const profiles = { short: readerProfiles.omnikey3021, extended: readerProfiles.dualiAbcm6 }

/** A PIN is given without anybody being asked, so that only the card's work is counted. */
export const pin: PinSource = async () => ({ pin: new TextEncoder().encode('123456') })

/** A virtual reader with a card in it, on a bus of its own. */
export interface Plugged {
  readonly reader: VirtualCcidReader
  readonly usb: USB
  readonly counts: () => Counts
}

/** With a PIV card, if no other is given. */
export function plugged(level: Level, card: VirtualCard = createPivCard()): Plugged {
  const reader = new VirtualCcidReader(profiles[level])
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const counts = (): Counts => {
    const { apdus, bytesToCard, bytesFromCard, usbTransfers } = reader.counters
    return { apdus, bytesToCard, bytesFromCard, usbTransfers }
  }
  return { reader, usb, counts }
}

/** Lives for one scenario. */
export class CountedCard {
  readonly reader: VirtualCcidReader
  readonly cryptoki: Cryptoki
  readonly slot: Slot
  readonly counts: () => Counts

  private constructor(reader: VirtualCcidReader, cryptoki: Cryptoki, slot: Slot, counts: () => Counts) {
    this.counts = counts
    this.reader = reader
    this.cryptoki = cryptoki
    this.slot = slot
  }

  /** With a PIV card. */
  static open(level: Level, cache?: ObjectCache): Promise<CountedCard> {
    const driver = cache === undefined ? pivDriver() : pivDriver({ cache })
    return CountedCard.#open(plugged(level), { drivers: [driver] })
  }

  /** With an OpenPGP card of P-256 keys that asks for the PIN at each signature; logins are made on demand. */
  static openPgp(level: Level): Promise<CountedCard> {
    const options = { drivers: [openPgpDriver()], login: 'on-demand' } as const
    return CountedCard.#open(plugged(level, createOpenPgpCard()), options)
  }

  static async #open(
    { reader, usb, counts }: Plugged,
    options: Pick<CryptokiOptions, 'drivers' | 'login'>,
  ): Promise<CountedCard> {
    const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], ...options })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    if (slot === undefined) throw new Error('The virtual reader did not show up.')
    await firstValueFrom(slot.presence$)
    reader.counters.reset()
    return new CountedCard(reader, cryptoki, slot, counts)
  }

  reset(): void {
    this.reader.counters.reset()
  }

  close(): Promise<void> {
    return this.cryptoki.close()
  }
}
