/** Asking a person and verifying the PIN once: the same for every token (PKCS#11 v2.40, 5.6 "C_Login"). */
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
import { type PinAnswer, type PinPurpose, type PinSource, requestPin } from './pin.ts'
import type { TokenLoginOptions } from './token.ts'

/** Whether PINs are typed on the reader; one for each card, because all of its PINs lose it together. */
export class PadState {
  #wasRefused = false
  readonly #connection: CardConnection

  constructor(connection: CardConnection) {
    this.#connection = connection
  }

  get isUsable(): boolean {
    return !this.#wasRefused && this.#connection.hasPinPad
  }

  /** The reader announced a PIN pad and refused the entry: PINs are asked for in the page from now on. */
  refused(): void {
    this.#wasRefused = true
  }
}

/** Who is asked, and what for. */
export interface PinEntryRequest {
  readonly purpose: PinPurpose
  readonly source: PinSource
  readonly options: TokenLoginOptions
}

/** One PIN of one token. */
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

  /** Attempts first, then the person, then VERIFY and what it is for, with nothing between. VERIFY is sent at most once. */
  async verified<T>(request: PinEntryRequest, work: (channel: CardChannel) => Promise<T>): Promise<T> {
    const options = transmitOptionsOf(request.options)
    const { application } = this.pin
    const triesLeft = await application.transaction(
      (channel) => this.pin.learnTries(channel, options),
      options,
    )
    if (triesLeft === 0) throw new PinBlockedError()
    if (this.usesPinPad) {
      try {
        return await this.#verifiedOnPad(request, triesLeft, work)
      } catch (error) {
        if (!isWebtokiError(error, 'card/pin-pad-refused')) throw error
        // Nobody has typed, and the card has got nothing: the same login goes on in the page.
        this.#pad.refused()
      }
    }
    // The person may take a minute: nobody holds the card meanwhile.
    const answer = await this.#ask(request, triesLeft)
    try {
      return await application.transaction(async (channel) => {
        await this.#counted(this.pin.verify(channel, answer.pin, { ...options, ...consentOf(answer) }))
        return work(channel)
      }, options)
    } finally {
      answer.pin.fill(0)
    }
  }

  /** The reader asks; the page is asked only whether the last attempt may be spent. */
  async #verifiedOnPad<T>(
    request: PinEntryRequest,
    triesLeft: number | undefined,
    work: (channel: CardChannel) => Promise<T>,
  ): Promise<T> {
    const options = transmitOptionsOf(request.options)
    const answer = triesLeft === 1 ? await this.#ask(request, triesLeft, true) : undefined
    answer?.pin.fill(0)
    return this.pin.application.transaction(async (channel) => {
      if (channel.pinPad === undefined)
        throw new CryptokiError(CKR.DEVICE_ERROR, { detail: 'the PIN pad has gone' })
      await this.#counted(this.pin.verifyOnPad(channel, { ...options, ...consentOf(answer) }))
      return work(channel)
    }, options)
  }

  #ask(
    { purpose, source, options }: PinEntryRequest,
    triesLeft: number | undefined,
    pinPad?: true,
  ): Promise<PinAnswer> {
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

  /** Attempts of the person, for the request after this one. */
  async #counted(verify: Promise<void>): Promise<void> {
    try {
      await verify
      this.#attempt = 1
    } catch (error) {
      if (isWebtokiError(error, 'card/pin-wrong')) this.#attempt++
      throw error
    }
  }
}

function consentOf(answer: PinAnswer | undefined): { acceptLastTry?: boolean } {
  return answer?.acceptLastTry === undefined ? {} : { acceptLastTry: answer.acceptLastTry }
}

/** What goes down to the card. */
export function transmitOptionsOf(options: TokenLoginOptions | undefined): TransmitOptions {
  if (options === undefined) return {}
  const { onAwaitPin: _, ...rest } = options
  return rest
}
