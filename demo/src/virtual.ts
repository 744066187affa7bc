/** The demo's virtual hardware: a PIV card that can be removed, be slow or require touch, in a reader with or without a PIN pad. */
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

/** The time that a slow card takes for each command. */
const SLOW_MS = 1200
/** The instruction of GENERAL AUTHENTICATE, the command that requires touch. */
const GENERAL_AUTHENTICATE = 0x87
/** VERIFY without data, which returns the PIN's status without using an attempt (SP 800-73-4 part 2, 3.2.1). */
const EMPTY_VERIFY = Uint8Array.of(0x00, 0x20, 0x00, 0x80)

/** A card that delays commands, or lets them wait for touch. */
class ControlledCard implements VirtualCard {
  readonly card: PivCard
  isSlow = false
  requiresTouch = false
  onTouchRequired: (isRequired: boolean) => void = () => {}
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

  /** Sends a command directly to the card. Resolves to undefined if the driver is just sending a command. */
  async query(command: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#running > 0) return undefined
    return await this.card.process(command)
  }

  async #handle(command: Uint8Array): Promise<Uint8Array> {
    if (this.isSlow) await new Promise((resolve) => setTimeout(resolve, SLOW_MS))
    if (this.requiresTouch && command[1] === GENERAL_AUTHENTICATE) {
      this.onTouchRequired(true)
      await new Promise<void>((resolve) => {
        this.#touch = resolve
      })
      this.onTouchRequired(false)
    }
    return this.card.process(command)
  }

  touch(): void {
    this.#touch?.()
    this.#touch = undefined
  }
}

/** Two readers, one of them with a PIN pad, on their own USB bus. One reader is plugged in at a time; both use the same card. */
export class VirtualHardware {
  readonly card: ControlledCard = new ControlledCard(createPivCard())
  /** Called when the PIN pad starts and stops waiting for a PIN. */
  onPinRequested: (isRequired: boolean) => void = () => {}
  isCardIn = true
  isPlugged = true
  readonly #withoutPad = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  readonly #withPad = new VirtualCcidReader(readerProfiles.cherrySt2000)
  #reader = this.#withoutPad
  readonly #bus = new VirtualBus()
  readonly usb: USB = this.#bus.context()
  #press: ((entry: PinEntry) => void) | undefined

  constructor() {
    // A button of the page replaces the keys of the PIN pad.
    this.#withPad.person = async () => {
      this.onPinRequested(true)
      try {
        return await new Promise<PinEntry>((resolve) => {
          this.#press = resolve
        })
      } finally {
        this.#press = undefined
        this.onPinRequested(false)
      }
    }
    this.#reader.insert(this.card)
    this.#bus.plug(this.#reader)
  }

  /** Enters the PIN on the PIN pad, or presses its cancel key. */
  press(key: 'pin' | 'cancel'): void {
    this.#press?.(key === 'pin' ? { digits: '123456' } : 'cancel')
  }

  /** Replaces the reader by the one with or without a PIN pad, and inserts the card into it. */
  usePinPad(hasPad: boolean): void {
    this.press('cancel')
    if (this.isPlugged) this.#bus.unplug(this.#reader)
    this.#reader.remove()
    this.#reader = hasPad ? this.#withPad : this.#withoutPad
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
   * Sends a VERIFY without data directly to the card, and resolves to its meaning. Resolves to undefined while the driver
   * sends a command, and to '' if the card has no power or its applet is not selected, so the response has no PIN status.
   */
  async state(): Promise<string | undefined> {
    const response = await this.card.query(EMPTY_VERIFY)
    if (response === undefined) return undefined
    const status = [...response.slice(-2)]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
      .toUpperCase()
    const attempts = /^63C(.)$/.exec(status)?.[1]
    if (status === '9000') return 'Card status: PIN verified (9000)'
    if (status === '6983') return 'Card status: PIN blocked (6983)'
    if (attempts === undefined) return ''
    return `Card status: PIN not verified, ${strings().triesLeft(Number.parseInt(attempts, 16))} (${status})`
  }
}
