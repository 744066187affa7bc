/** The link to a powered card behind a CCID reader: APDUs as messages, or as TPDUs that `activation.ts` makes of them. */
import {
  CardGoneError,
  type CardLink,
  CardSilentError,
  CardTooSlowError,
  type ChannelLimits,
  concatBytes,
  isExtended,
  MalformedError,
  type PinPad,
  type PinTemplate,
  ReaderRefusedError,
  type TransmitOptions,
} from '@webtoki/apdu'
import type { Activation, ExchangeOptions } from './activation-port.ts'
import type { ExchangeLevel } from './descriptors.ts'
import {
  type Answer,
  CcidError,
  ChainParameter,
  chainParameter,
  encodeXfrBlock,
  HEADER_BYTES,
  IccStatus,
  RdrToPc,
  sharedCap,
} from './messages.ts'
import type { CcidReader } from './reader.ts'

/** 65536 bytes of data and the status word. */
const MAX_RESPONSE_BYTES = 65_538
/** bPINSupport (CCID 1.1, 5.1). */
const VERIFIES_PINS = 1

/** A card that was just reset: what it answered, and how it is spoken to. */
export interface ActivatedCard {
  readonly atr: Uint8Array
  readonly activation: Activation
}

/** What a link asks of the slot that its card lies in. */
export interface PoweredSlot {
  readonly number: number
  readonly reader: CcidReader
  /** bPINSupport, less what the reader turned out not to know. */
  pinSupport: number
  /** Whether a card put in the place of this one would have been noticed. */
  readonly vouchesForCard: boolean
  /** False: the card in this slot did not survive an extended APDU. */
  mayTryExtended: boolean
  /** Warm: the card stays on. Cold: it is off in between. */
  resetCard(kind: 'warm' | 'cold'): Promise<ActivatedCard>
  powerOn(): Promise<Uint8Array>
  powerOff(): Promise<void>
  /** An answer of the reader told that there is no card. */
  sawCard(status: IccStatus): void
  /** The card lost its power, and what it knew: out and in again, or the reader switched it off. */
  lostPower(): void
  /** The card's state is unknown: it is powered off before it is used again. */
  disturbed(cause: Error): void
}

/** Made by `CcidSlot.connect`. */
export class CcidLink implements CardLink {
  readonly #slot: PoweredSlot
  #card: ActivatedCard
  readonly #caps = new WeakMap<object, () => number>()

  constructor(slot: PoweredSlot, card: ActivatedCard) {
    this.#slot = slot
    this.#card = card
  }

  get atr(): Uint8Array {
    return this.#card.atr
  }

  get limits(): ChannelLimits {
    return this.#card.activation.limits
  }

  get vouchesForCard(): boolean {
    return this.#slot.vouchesForCard
  }

  get pinPad(): PinPad | undefined {
    if ((this.#slot.pinSupport & VERIFIES_PINS) === 0) return undefined
    const onPad =
      (what: keyof PinPad): PinPad['verify'] =>
      (template, options = {}) =>
        this.#exchangeOnPad(template, what, options)
    return { verify: onPad('verify'), modify: onPad('modify') }
  }

  exchange(command: Uint8Array, given: TransmitOptions): Promise<Uint8Array> {
    const { transmit } = this.#card.activation
    const options = this.#withCap(given)
    return transmit === undefined
      ? this.#exchangeApdu(command, options)
      : this.#exchangeTpdus(transmit, command, options)
  }

  /** What one exchange takes in APDUs, messages, blocks and characters shares one `maxWaitMs`. */
  #withCap(options: TransmitOptions): ExchangeOptions {
    const { exchange = {} } = options
    const extend = this.#caps.get(exchange) ?? sharedCap(options, this.#slot.reader.clock)
    this.#caps.set(exchange, extend)
    return { ...options, extend }
  }

  async #exchangeApdu(command: Uint8Array, options: ExchangeOptions): Promise<Uint8Array> {
    const { descriptor } = this.#slot.reader
    const capacityBytes = descriptor.maxMessageBytes - HEADER_BYTES
    try {
      const whole = command.length <= capacityBytes
      const answer = whole
        ? await this.#block(ChainParameter.whole, command, options)
        : await this.#chain(command, capacityBytes, options)
      const chain = chainOf(answer, descriptor.level)
      const response = withStatusWord(
        chain === ChainParameter.whole ? answer.data : await this.#collect(answer, chain, options),
      )
      if (answer.iccStatus === IccStatus.absent) this.#slot.sawCard(answer.iccStatus)
      else if (answer.iccStatus === IccStatus.inactive) this.#slot.lostPower()
      return response
    } catch (error) {
      // Whatever this ends, the next connection does not begin with the same.
      if (isExtended(command)) this.#slot.mayTryExtended = false
      throw this.#translate(error)
    }
  }

  /** Where the reader takes TPDUs: T=0 or T=1, one command at a time. */
  async #exchangeTpdus(
    transmit: NonNullable<Activation['transmit']>,
    command: Uint8Array,
    options: ExchangeOptions,
  ): Promise<Uint8Array> {
    try {
      return withStatusWord(await transmit(command, options))
    } catch (error) {
      throw this.#translateTpdu(error)
    }
  }

  /** Where neither side knows any more where the other stands, only a reset helps, and that is the next connection's. */
  #translateTpdu(error: unknown): Error {
    if (error instanceof CardSilentError || error instanceof CardTooSlowError) {
      this.#slot.disturbed(error)
    }
    return this.#translate(error)
  }

  /** One PC_to_RDR_Secure, and the card's answer to it. */
  async #exchangeOnPad(
    template: PinTemplate,
    what: keyof PinPad,
    options: TransmitOptions,
  ): Promise<Uint8Array> {
    try {
      // Few readers have keys; pages whose reader has none never load it.
      const { exchangeOnPad } = await import('./pin-pad.ts')
      const { activation } = this.#card
      return withStatusWord(
        await exchangeOnPad(this.#slot, activation, template, what, this.#withCap(options)),
      )
    } catch (error) {
      throw this.#translateTpdu(error)
    }
  }

  #block(chain: ChainParameter, data: Uint8Array, options: ExchangeOptions): Promise<Answer> {
    const message = encodeXfrBlock({ slot: this.#slot.number, chain, data })
    return this.#slot.reader.ask(message, RdrToPc.dataBlock, 'XfrBlock', options)
  }

  /** CCID 1.1, 6.1.4: the parts of a command; the reader asks for the next by an empty block. */
  async #chain(command: Uint8Array, capacityBytes: number, options: ExchangeOptions): Promise<Answer> {
    for (let offset = 0; ; offset += capacityBytes) {
      const last = offset + capacityBytes >= command.length
      const chain = last
        ? ChainParameter.ends
        : offset === 0
          ? ChainParameter.begins
          : ChainParameter.continues
      const answer = await this.#block(chain, command.subarray(offset, offset + capacityBytes), options)
      if (last) return answer
      if (answer.parameter !== ChainParameter.expectsMore || answer.data.length > 0) {
        // It answers in the middle of the command: the parts still to come would be a new command to it.
        throw new MalformedError('answer to XfrBlock', `bChainParameter ${answer.parameter} within a command`)
      }
    }
  }

  /** The parts of a response; each is asked for by an empty block. */
  async #collect(first: Answer, firstChain: ChainParameter, options: ExchangeOptions): Promise<Uint8Array> {
    if (firstChain !== ChainParameter.begins) {
      throw new MalformedError(
        'answer to XfrBlock',
        `bChainParameter ${firstChain} at the beginning of a response`,
      )
    }
    const parts = [first.data]
    let totalBytes = first.data.length
    for (let chain: ChainParameter = firstChain; chain !== ChainParameter.ends; ) {
      const answer = await this.#block(ChainParameter.expectsMore, nothing, options)
      chain = chainParameter(answer.parameter)
      if (chain !== ChainParameter.continues && chain !== ChainParameter.ends) {
        throw new MalformedError('answer to XfrBlock', `bChainParameter ${chain} within a response`)
      }
      // A part without bytes brings the end no nearer; a reader could send such for ever.
      if (answer.data.length === 0 && chain !== ChainParameter.ends) {
        throw new MalformedError('answer to XfrBlock', 'an empty part within a response')
      }
      totalBytes += answer.data.length
      if (totalBytes > MAX_RESPONSE_BYTES) {
        throw new MalformedError('response APDU', `more than ${MAX_RESPONSE_BYTES} bytes`)
      }
      parts.push(answer.data)
    }
    return concatBytes(...parts)
  }

  #translate(error: unknown): Error {
    if (error instanceof ReaderRefusedError) {
      if (error.bError === CcidError.ICC_MUTE && (error.bStatus & 3) === IccStatus.active) {
        return new CardSilentError(undefined, { cause: error })
      }
      const status = (error.bStatus & 3) as IccStatus
      // A mute card that has no power either is told as what it is now: gone.
      if (status === IccStatus.absent) {
        this.#slot.sawCard(status)
        return new CardGoneError('removed', { cause: error })
      }
      if (status === IccStatus.inactive) return new CardGoneError('reset', { cause: error })
    }
    return error as Error
  }

  async reset(kind: 'warm' | 'cold'): Promise<Uint8Array> {
    this.#card = await this.#slot.resetCard(kind)
    return this.#card.atr
  }

  release(): Promise<void> {
    return this.#slot.powerOff()
  }
}

/** The byte is RFU at short level, but some readers chain their answers there too. */
function chainOf({ parameter }: Answer, level: ExchangeLevel): ChainParameter {
  if (level === 'extended') return chainParameter(parameter)
  return parameter === ChainParameter.begins ? ChainParameter.begins : ChainParameter.whole
}

function withStatusWord(response: Uint8Array): Uint8Array {
  if (response.length >= 2) return response
  throw new MalformedError('response APDU', `${response.length} bytes, a status word has 2`)
}

const nothing = new Uint8Array(0)
