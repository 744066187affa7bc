/** The virtual reader of the demo: a PIV card that can be pulled, made slow, and made to ask for a touch. */
import {
  createPivCard,
  type PivCard,
  readerProfiles,
  type VirtualCard,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'

/** How long a slow card takes for each command. */
const SLOW_MS = 1200
/** GENERAL AUTHENTICATE: the command that a touch confirms. */
const GENERAL_AUTHENTICATE = 0x87

/** Stands before the card and lets commands wait. */
class Handled implements VirtualCard {
  readonly card: PivCard
  isSlow = false
  asksForTouch = false
  onTouchWanted: (wanted: boolean) => void = () => {}
  #touch: (() => void) | undefined

  constructor(card: PivCard) {
    this.card = card
  }

  get atr(): Uint8Array {
    return this.card.atr
  }

  reset(kind: 'cold' | 'warm'): void {
    this.card.reset(kind)
  }

  powerOff(): void {
    this.touch()
    this.card.powerOff()
  }

  async process(command: Uint8Array): Promise<Uint8Array> {
    if (this.isSlow) await new Promise((resolve) => setTimeout(resolve, SLOW_MS))
    if (this.asksForTouch && command[1] === GENERAL_AUTHENTICATE) {
      this.onTouchWanted(true)
      await new Promise<void>((resolve) => {
        this.#touch = resolve
      })
      this.onTouchWanted(false)
    }
    return this.card.process(command)
  }

  touch(): void {
    this.#touch?.()
    this.#touch = undefined
  }
}

/** One reader with one card, on a bus of its own. */
export class VirtualDesk {
  readonly card: Handled = new Handled(createPivCard())
  readonly #reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  readonly #bus = new VirtualBus()
  readonly usb: USB = this.#bus.context()
  isCardIn = true
  isPlugged = true

  constructor() {
    this.#reader.insert(this.card)
    this.#bus.plug(this.#reader)
  }

  toggleCard(): void {
    this.isCardIn = !this.isCardIn
    if (this.isCardIn) this.#reader.insert(this.card)
    else this.#reader.remove()
  }

  toggleReader(): void {
    this.isPlugged = !this.isPlugged
    if (this.isPlugged) this.#bus.plug(this.#reader)
    else this.#bus.unplug(this.#reader)
  }

  /** What the card itself answers to a VERIFY without data, asked past the driver. */
  state(): string {
    const { pinVerified, pinTriesLeft } = this.card.card
    if (pinVerified) return 'The card says: PIN verified (9000)'
    if (pinTriesLeft === 0) return 'The card says: PIN blocked (6983)'
    return `The card says: not verified, ${pinTriesLeft} tries left (63C${pinTriesLeft})`
  }
}
