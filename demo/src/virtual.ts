/** The virtual desk of the demo: a PIV card that can be pulled, made slow and made to ask for a touch, in a reader without keys or with. */
import {
  createPivCard,
  type PinEntry,
  type PivCard,
  readerProfiles,
  type VirtualCard,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { strings } from '@webtoki/ui'

/** How long a slow card takes for each command. */
const SLOW_MS = 1200
/** GENERAL AUTHENTICATE: the command that a touch confirms. */
const GENERAL_AUTHENTICATE = 0x87
/** VERIFY without data: how the PIN stands, at the cost of no try. */
const EMPTY_VERIFY = Uint8Array.of(0x00, 0x20, 0x00, 0x80)

/** Stands before the card and lets commands wait. */
class Handled implements VirtualCard {
  readonly card: PivCard
  isSlow = false
  asksForTouch = false
  onTouchWanted: (wanted: boolean) => void = () => {}
  #touch: (() => void) | undefined
  #running = 0

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
    this.#running++
    try {
      return await this.#handle(command)
    } finally {
      this.#running--
    }
  }

  /** Asks the card past the driver, between its operations; undefined while the driver is speaking with it. */
  async askBeside(command: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#running > 0) return undefined
    return await this.card.process(command)
  }

  async #handle(command: Uint8Array): Promise<Uint8Array> {
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

/** Two readers, one of them with keys, and one card for either, on a bus of their own. */
export class VirtualDesk {
  readonly card: Handled = new Handled(createPivCard())
  /** Told when the reader with keys waits for a PIN, and when it no longer does. */
  onPinWanted: (wanted: boolean) => void = () => {}
  isCardIn = true
  isPlugged = true
  readonly #plain = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  readonly #withKeys = new VirtualCcidReader(readerProfiles.cherrySt2000)
  #reader = this.#plain
  readonly #bus = new VirtualBus()
  readonly usb: USB = this.#bus.context()
  #press: ((entry: PinEntry) => void) | undefined

  constructor() {
    // Whoever types there is not seen by the page: a button of the desk stands in for the person's fingers.
    this.#withKeys.person = async () => {
      this.onPinWanted(true)
      try {
        return await new Promise<PinEntry>((resolve) => {
          this.#press = resolve
        })
      } finally {
        this.#press = undefined
        this.onPinWanted(false)
      }
    }
    this.#reader.insert(this.card)
    this.#bus.plug(this.#reader)
  }

  /** Types the PIN on the reader's keys, or presses its cancel key. */
  press(key: 'pin' | 'cancel'): void {
    this.#press?.(key === 'pin' ? { digits: '123456' } : 'cancel')
  }

  /** Puts the other reader in the place of the one that is there, and the card into it. */
  useKeys(withKeys: boolean): void {
    this.press('cancel')
    if (this.isPlugged) this.#bus.unplug(this.#reader)
    this.#reader.remove()
    this.#reader = withKeys ? this.#withKeys : this.#plain
    if (this.isCardIn) this.#reader.insert(this.card)
    if (this.isPlugged) this.#bus.plug(this.#reader)
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

  /**
   * What the card itself answers to a VERIFY without data, asked past the driver; undefined while the driver speaks with
   * it. Empty where the card has no power yet, or nobody has selected its applet: then the answer is about no PIN.
   */
  async state(): Promise<string | undefined> {
    const answer = await this.card.askBeside(EMPTY_VERIFY)
    if (answer === undefined) return undefined
    const status = [...answer.slice(-2)]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
      .toUpperCase()
    const tries = /^63C(.)$/.exec(status)?.[1]
    if (status === '9000') return 'The card says: PIN verified (9000)'
    if (status === '6983') return 'The card says: PIN blocked (6983)'
    if (tries === undefined) return ''
    return `The card says: not verified, ${strings().triesLeft(Number.parseInt(tries, 16))} (${status})`
  }
}
