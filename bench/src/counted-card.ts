/** Sets up a scenario: a virtual reader that counts, with a card in it, and the whole stack from USB to PKCS#11. */
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

/** The exchange levels of the scenarios' readers. */
export type Level = 'short' | 'extended'

/** The counts of the virtual reader. */
export interface Counts {
  readonly apdus: number
  readonly bytesToCard: number
  readonly bytesFromCard: number
  readonly usbTransfers: number
}

const profiles = { short: readerProfiles.omnikey3021, extended: readerProfiles.dualiAbcm6 }

/** Returns the PIN without a dialog. */
export const pin: PinSource = async () => ({ pin: new TextEncoder().encode('123456') })

/** A virtual reader with a card in it, on its own bus. */
export interface Plugged {
  readonly reader: VirtualCcidReader
  readonly usb: USB
  readonly counts: () => Counts
}

/** Creates a virtual reader with that card in it, by default a PIV card. */
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

/** A slot of a `Cryptoki` with a virtual card, for one scenario. */
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

  /** Opens a PIV card. */
  static open(level: Level, cache?: ObjectCache): Promise<CountedCard> {
    const driver = cache === undefined ? pivDriver() : pivDriver({ cache })
    return CountedCard.#open(plugged(level), { drivers: [driver] })
  }

  /** Opens an OpenPGP card with P-256 keys that requires the PIN for each signature. Logs in on demand. */
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
    if (slot === undefined) throw new Error('The virtual reader has no slot.')
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
