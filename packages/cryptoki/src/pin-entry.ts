/** Requests a PIN and verifies it once, identically for every token (PKCS#11 v2.40, 5.6 "C_Login"). */
import {
  type CardChannel,
  type CardConnection,
  isWebtokiError,
  PinBlockedError,
  type PinReference,
  type TransmitOptions,
} from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { type PinResponse, type PinPurpose, type PinSource, requestPin } from './pin.ts'
import type { TokenLoginOptions } from './token.ts'

/** Whether PINs are entered on the reader's PIN pad. The PINs of a card share one state, because a refusal applies to all. */
export class PadState {
  #isDisabled = false
  readonly #connection: CardConnection

  constructor(connection: CardConnection) {
    this.#connection = connection
  }

  get isUsable(): boolean {
    return !this.#isDisabled && this.#connection.hasPinPad
  }

  /** Called when the reader declares a PIN pad but refuses a PIN entry. From then on, PINs are entered in the page. */
  disable(): void {
    this.#isDisabled = true
  }
}

/** The PIN source, purpose and options of one PIN entry. */
export interface PinEntryRequest {
  readonly purpose: PinPurpose
  readonly source: PinSource
  readonly options: TokenLoginOptions
}

/** Requests and verifies one PIN of one token. */
export class PinEntry {
  readonly pin: PinReference
  readonly #label: () => string
  readonly #pad: PadState
  #attempt = 1

  constructor(pin: PinReference, label: () => string, pad: PadState) {
    this.pin = pin
    this.#label = label
    this.#pad = pad
  }

  get usesPinPad(): boolean {
    return this.#pad.isUsable && this.pin.format.padTemplate !== undefined
  }

  /**
   * Reads the attempts left, asks the user, and then sends VERIFY and runs `work` in one transaction. VERIFY is sent at most once.
   */
  async withPin<T>(request: PinEntryRequest, work: (channel: CardChannel) => Promise<T>): Promise<T> {
    const options = transmitOptionsOf(request.options)
    const { application } = this.pin
    const triesLeft = await application.transaction(
      (channel) => this.pin.learnTries(channel, options),
      options,
    )
    if (triesLeft === 0) throw new PinBlockedError()
    if (this.usesPinPad) {
      try {
        return await this.#withPinFromPad(request, triesLeft, work)
      } catch (error) {
        if (!isWebtokiError(error, 'card/pin-pad-refused')) throw error
        // No PIN was entered and nothing was sent to the card, so the login continues in the page.
        this.#pad.disable()
      }
    }
    // The card is not locked while the user enters the PIN, which may take a minute.
    const answer = await this.#requestPin(request, triesLeft)
    try {
      return await application.transaction(async (channel) => {
        await this.#countAttempt(this.pin.verify(channel, answer.pin, { ...options, ...consentOf(answer) }))
        return work(channel)
      }, options)
    } finally {
      answer.pin.fill(0)
    }
  }

  /** Verifies on the PIN pad. The source is called only for consent to the last attempt. */
  async #withPinFromPad<T>(
    request: PinEntryRequest,
    triesLeft: number | undefined,
    work: (channel: CardChannel) => Promise<T>,
  ): Promise<T> {
    const options = transmitOptionsOf(request.options)
    const answer = triesLeft === 1 ? await this.#requestPin(request, triesLeft, true) : undefined
    answer?.pin.fill(0)
    return this.pin.application.transaction(async (channel) => {
      if (channel.pinPad === undefined)
        throw new CryptokiError(CKR.DEVICE_ERROR, { detail: 'the PIN pad is gone' })
      await this.#countAttempt(this.pin.verifyOnPad(channel, { ...options, ...consentOf(answer) }))
      return work(channel)
    }, options)
  }

  #requestPin(
    { purpose, source, options }: PinEntryRequest,
    triesLeft: number | undefined,
    pinPad?: true,
  ): Promise<PinResponse> {
    options.onAwaitPin?.()
    const { minBytes, maxBytes, alphabet } = this.pin.format
    return requestPin(source, {
      purpose,
      label: this.#label(),
      triesLeft,
      attempt: this.#attempt,
      previousWasWrong: this.#attempt > 1,
      minBytes,
      maxBytes,
      alphabet,
      pinPad,
      signal: options.signal,
    })
  }

  /** Counts the user's consecutive wrong PINs for the next request. */
  async #countAttempt(verify: Promise<void>): Promise<void> {
    try {
      await verify
      this.#attempt = 1
    } catch (error) {
      if (isWebtokiError(error, 'card/pin-wrong')) this.#attempt++
      throw error
    }
  }
}

function consentOf(answer: PinResponse | undefined): { acceptLastTry?: boolean } {
  return answer?.acceptLastTry === undefined ? {} : { acceptLastTry: answer.acceptLastTry }
}

/** Returns the options without the callback that the card layers do not know. */
export function transmitOptionsOf(options: TokenLoginOptions | undefined): TransmitOptions {
  if (options === undefined) return {}
  const { onAwaitPin: _, ...rest } = options
  return rest
}
