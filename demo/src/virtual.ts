/** The virtual reader of the demo: a PIV card that can be pulled, made slow, made to ask for a touch or for its PIN on a pad. */
import type { PinSource, Token, TokenDriver, TokenLoginOptions } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createPivCard,
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

/** What a person types on a pad, the page never sees. Here it is scripted: a press of the page's button types the demo's PIN. */
class ScriptedPad {
  isThere = false
  onPinWanted: (wanted: boolean) => void = () => {}
  #end: ((typed: boolean) => void) | undefined

  /** Types the PIN, or presses the pad's cancel key. */
  press(key: 'pin' | 'cancel'): void {
    this.#end?.(key === 'pin')
  }

  /** Stands in for the page's own dialog wherever the pad is there. */
  source(own: PinSource, { onWait, onAwaitPin }: TokenLoginOptions): PinSource {
    return async (request) => {
      if (!this.isThere) {
        onAwaitPin?.()
        return own(request)
      }
      onWait?.('pin-pad')
      this.onPinWanted(true)
      try {
        const typed = await new Promise<boolean>((resolve) => {
          this.#end = resolve
          request.signal.addEventListener('abort', () => resolve(false), { once: true })
        })
        if (!typed) return undefined
        const pin = new TextEncoder().encode('123456')
        return request.lastTry ? { pin, acceptLastTry: true } : { pin }
      } finally {
        this.#end = undefined
        this.onPinWanted(false)
      }
    }
  }
}

/** A PIV token that gets its PINs from the pad. */
function withPad(token: Token, pad: ScriptedPad): Token {
  const quiet = ({ onAwaitPin: _onAwaitPin, ...options }: TokenLoginOptions): TokenLoginOptions => options
  return {
    flags: token.flags,
    mechanisms: token.mechanisms,
    describe: (options) => token.describe(options),
    objects: () => token.objects(),
    triesLeft: (user, options) => token.triesLeft(user, options),
    login: (user, pin, options = {}) => token.login(user, pad.source(pin, options), quiet(options)),
    logout: (options) => token.logout(options),
    sign: ({ contextPin, ...request }, options = {}) =>
      token.sign(
        contextPin === undefined ? request : { ...request, contextPin: pad.source(contextPin, options) },
        quiet(options),
      ),
  }
}

/** One reader with one card, on a bus of its own. */
export class VirtualDesk {
  readonly pad: ScriptedPad = new ScriptedPad()
  /** PIV, with the pad between the card and the person. */
  readonly driver: TokenDriver = {
    name: 'PIV',
    open: async (connection) => {
      const token = await pivDriver().open(connection)
      return token && withPad(token, this.pad)
    },
  }
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
    return `The card says: not verified, ${strings().triesLeft(pinTriesLeft)} (63C${pinTriesLeft})`
  }
}
