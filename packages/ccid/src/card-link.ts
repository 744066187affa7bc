/**
 * The link to a powered card in a CCID reader. Sends APDUs as messages, or as the TPDUs that an activation creates.
 */
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
  type CcidResponse,
  CcidError,
  ChainParameter,
  chainParameter,
  encodeXfrBlock,
  HEADER_BYTES,
  IccStatus,
  RdrToPc,
  timeExtensionBudget,
} from './messages.ts'
import type { CcidReader } from './reader.ts'

/** 65536 bytes of data and the status word. */
const MAX_RESPONSE_BYTES = 65_538
/** bPINSupport, bit 0: PIN verification (CCID 1.1, 5.1). */
const VERIFIES_PINS = 1

/** A card after a reset: its ATR and the agreed way to exchange commands. */
export interface ActivatedCard {
  readonly atr: Uint8Array
  readonly activation: Activation
}

/** The slot, as its link uses it. */
export interface PoweredSlot {
  readonly number: number
  readonly reader: CcidReader
  /** bPINSupport without the functions that the reader turned out not to support. */
  pinSupport: number
  /** True if replacing the card would have been noticed. */
  readonly vouchesForCard: boolean
  /** False: the card in this slot failed on an extended APDU. */
  mayTryExtended: boolean
  /** Resets the card. Warm: the power stays on. Cold: the power is off in between. */
  resetCard(kind: 'warm' | 'cold'): Promise<ActivatedCard>
  powerOn(): Promise<Uint8Array>
  powerOff(): Promise<void>
  /** Updates the presence from the card status in a response. */
  updateCardState(status: IccStatus): void
  /** The card lost its power and with it its security state: it was reinserted, or the reader powered it off. */
  cardLostPower(): void
  /** The card's state is unknown. It is powered off before its next use. */
  disturbed(cause: Error): void
}

/** The link to one card. Created by `CcidSlot.connect`. */
export class CcidLink implements CardLink {
  readonly #slot: PoweredSlot
  #card: ActivatedCard
  readonly #budgets = new WeakMap<object, () => number>()

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
      (operation: keyof PinPad): PinPad['verify'] =>
      (template, options = {}) =>
        this.#exchangeOnPad(template, operation, options)
    return { verify: onPad('verify'), modify: onPad('modify') }
  }

  exchange(command: Uint8Array, transmitOptions: TransmitOptions): Promise<Uint8Array> {
    const { transmit } = this.#card.activation
    const options = this.#withBudget(transmitOptions)
    return transmit === undefined
      ? this.#exchangeApdu(command, options)
      : this.#exchangeTpdus(transmit, command, options)
  }

  /** The APDUs, messages, blocks and characters of one exchange share one `maxWaitMs`. */
  #withBudget(options: TransmitOptions): ExchangeOptions {
    const { exchange = {} } = options
    const onTimeExtension =
      this.#budgets.get(exchange) ?? timeExtensionBudget(options, this.#slot.reader.clock)
    this.#budgets.set(exchange, onTimeExtension)
    return { ...options, onTimeExtension }
  }

  async #exchangeApdu(command: Uint8Array, options: ExchangeOptions): Promise<Uint8Array> {
    const { descriptor } = this.#slot.reader
    const capacityBytes = descriptor.maxMessageBytes - HEADER_BYTES
    try {
      const whole = command.length <= capacityBytes
      const dataBlock = whole
        ? await this.#exchangeBlock(ChainParameter.whole, command, options)
        : await this.#sendChain(command, capacityBytes, options)
      const chain = chainOf(dataBlock, descriptor.level)
      const response = withStatusWord(
        chain === ChainParameter.whole ? dataBlock.data : await this.#receiveChain(dataBlock, chain, options),
      )
      if (dataBlock.iccStatus === IccStatus.absent) this.#slot.updateCardState(dataBlock.iccStatus)
      else if (dataBlock.iccStatus === IccStatus.inactive) this.#slot.cardLostPower()
      return response
    } catch (error) {
      // Any failure counts, so that the next connection does not start with an extended APDU again.
      if (isExtended(command)) this.#slot.mayTryExtended = false
      throw this.#translate(error)
    }
  }

  /** For readers at TPDU or character level: T=0 or T=1, one command at a time. */
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

  /** If the protocol has lost its state, only a reset helps. The next connection performs it. */
  #translateTpdu(error: unknown): Error {
    if (error instanceof CardSilentError || error instanceof CardTooSlowError) {
      this.#slot.disturbed(error)
    }
    return this.#translate(error)
  }

  /** Sends one PC_to_RDR_Secure and returns the card's response. */
  async #exchangeOnPad(
    template: PinTemplate,
    operation: keyof PinPad,
    options: TransmitOptions,
  ): Promise<Uint8Array> {
    try {
      // Loaded on demand, because few readers have a PIN pad.
      const { exchangeOnPad } = await import('./pin-pad.ts')
      const { activation } = this.#card
      return withStatusWord(
        await exchangeOnPad(this.#slot, activation, template, operation, this.#withBudget(options)),
      )
    } catch (error) {
      throw this.#translateTpdu(error)
    }
  }

  #exchangeBlock(chain: ChainParameter, data: Uint8Array, options: ExchangeOptions): Promise<CcidResponse> {
    const message = encodeXfrBlock({ slot: this.#slot.number, chain, data })
    return this.#slot.reader.exchange(message, RdrToPc.dataBlock, 'XfrBlock', options)
  }

  /** CCID 1.1, 6.1.4: sends the parts of a command. The reader requests each further part with an empty block. */
  async #sendChain(
    command: Uint8Array,
    capacityBytes: number,
    options: ExchangeOptions,
  ): Promise<CcidResponse> {
    for (let offset = 0; ; offset += capacityBytes) {
      const last = offset + capacityBytes >= command.length
      const chain = last
        ? ChainParameter.ends
        : offset === 0
          ? ChainParameter.begins
          : ChainParameter.continues
      const dataBlock = await this.#exchangeBlock(
        chain,
        command.subarray(offset, offset + capacityBytes),
        options,
      )
      if (last) return dataBlock
      if (dataBlock.parameter !== ChainParameter.expectsMore || dataBlock.data.length > 0) {
        // The reader responded before the command was complete. It would take the remaining parts for a new command.
        throw new MalformedError(
          'response to XfrBlock',
          `bChainParameter ${dataBlock.parameter} before the end of the command`,
        )
      }
    }
  }

  /** Receives the parts of a response. An empty block requests each further part. */
  async #receiveChain(
    first: CcidResponse,
    firstChain: ChainParameter,
    options: ExchangeOptions,
  ): Promise<Uint8Array> {
    if (firstChain !== ChainParameter.begins) {
      throw new MalformedError('response to XfrBlock', `bChainParameter ${firstChain} in the first part`)
    }
    const parts = [first.data]
    let totalBytes = first.data.length
    for (let chain: ChainParameter = firstChain; chain !== ChainParameter.ends; ) {
      const dataBlock = await this.#exchangeBlock(ChainParameter.expectsMore, nothing, options)
      chain = chainParameter(dataBlock.parameter)
      if (chain !== ChainParameter.continues && chain !== ChainParameter.ends) {
        throw new MalformedError('response to XfrBlock', `bChainParameter ${chain} after the first part`)
      }
      // An empty part makes no progress, and a reader could send such parts forever.
      if (dataBlock.data.length === 0 && chain !== ChainParameter.ends) {
        throw new MalformedError('response to XfrBlock', 'an empty part before the last one')
      }
      totalBytes += dataBlock.data.length
      if (totalBytes > MAX_RESPONSE_BYTES) {
        throw new MalformedError('response APDU', `more than ${MAX_RESPONSE_BYTES} bytes`)
      }
      parts.push(dataBlock.data)
    }
    return concatBytes(...parts)
  }

  #translate(error: unknown): Error {
    if (error instanceof ReaderRefusedError) {
      if (error.bError === CcidError.ICC_MUTE && (error.bStatus & 3) === IccStatus.active) {
        return new CardSilentError(undefined, { cause: error })
      }
      const status = (error.bStatus & 3) as IccStatus
      // A mute card without power has been removed.
      if (status === IccStatus.absent) {
        this.#slot.updateCardState(status)
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

/** The byte is RFU at short APDU level, but some readers chain their responses there too. */
function chainOf({ parameter }: CcidResponse, level: ExchangeLevel): ChainParameter {
  if (level === 'extended') return chainParameter(parameter)
  return parameter === ChainParameter.begins ? ChainParameter.begins : ChainParameter.whole
}

function withStatusWord(response: Uint8Array): Uint8Array {
  if (response.length >= 2) return response
  throw new MalformedError('response APDU', `${response.length} bytes instead of at least 2`)
}

const nothing = new Uint8Array(0)
