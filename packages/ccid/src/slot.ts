/** One slot of a CCID reader as the port CardSlot: presence, power, and the connection to its card. */
import {
  AbortedError,
  type CardConnection,
  type CardSlot,
  CardAbsentError,
  CardSilentError,
  type ConnectOptions,
  LockedConnection,
  MalformedError,
  type Presence,
  ReaderGoneError,
  ReaderInUseError,
  ReaderRefusedError,
  type WebtokiError,
  TransactionError,
  type TransmitOptions,
} from '@webtoki/apdu'
import { type Observable, ReplaySubject } from 'rxjs'
import { activate, isDamaged } from './activation.ts'
import type { Activation } from './activation-port.ts'
import { type ActivatedCard, CcidLink, type PoweredSlot } from './card-link.ts'
import {
  type Answer,
  CcidError,
  encodeEscape,
  encodeGetSlotStatus,
  encodeIccPowerOff,
  encodeIccPowerOn,
  IccStatus,
  PowerSelect,
  RdrToPc,
  READER_TIMEOUT_MS,
  type SlotChange,
} from './messages.ts'
import type { CcidReader, SlotListener } from './reader.ts'

/** Whole answers to power-on and slot messages that came garbled: asking again does no harm there. */
const MAX_REPEATS = 2
/** dwFeatures: the reader powers a card that is put in. */
const ACTIVATES_ON_INSERTION = 0x04
/** dwFeatures: the reader finds the voltage by itself. */
const AUTOMATIC_VOLTAGE = 0x08
const POWER_TIMEOUT_MS = 10_000
/** Cold, warm, and cold once more. */
const MAX_WAKES = 3
/** How a slot is called. */
export interface SlotIdentity {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
}

/** One slot. Made by `ccidSlots`. */
export class CcidSlot implements CardSlot, SlotListener, PoweredSlot {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
  /** Hot; replays the latest; completes when the reader leaves. */
  readonly presence$: Observable<Presence>
  readonly number: number
  readonly reader: CcidReader
  mayTryExtended = true
  readonly #presences = new ReplaySubject<Presence>(1)
  #presence: Presence | undefined
  #connection: LockedConnection | undefined
  /** A cold reset takes the power away, and that is not the card's end. */
  #isResetting = false
  /** The attempt under way; one that its caller gave up is no longer it. */
  #connecting: object | undefined
  /** What must be over before the next connection begins: a closing, or a connect that its caller gave up. */
  #settling: Promise<unknown> = Promise.resolve()
  #mustPowerCycle = false
  /** The voltage that the card is at, which a warm reset leaves as it is; undefined: it is off. */
  #power: PowerSelect | undefined
  #checking: Promise<void> | undefined
  #pollTimer: unknown
  #protocol: ConnectOptions['protocol']
  #onReleaseRequested: ConnectOptions['onReleaseRequested']
  readonly #pads: Map<string, number>
  /** A change was told of which nobody can say whether it was one of cards. */
  #mayBeSwapped = false

  /** `pads`: bPINSupport of slots whose reader turned out to know less than it announces, by their ids. */
  constructor(reader: CcidReader, number: number, identity: SlotIdentity, pads: Map<string, number>) {
    this.#pads = pads
    this.reader = reader
    this.number = number
    this.id = identity.id
    this.name = identity.name
    this.kind = identity.kind
    this.presence$ = this.#presences.asObservable()
    reader.attach(this)
  }

  get pinSupport(): number {
    return this.#pads.get(this.id) ?? this.reader.descriptor.pinSupport
  }

  set pinSupport(pinSupport: number) {
    this.#pads.set(this.id, pinSupport)
  }

  /** A card that is put in has no power until we give it, unless the reader does: then its notice must tell. */
  get vouchesForCard(): boolean {
    const { descriptor, hearsChanges } = this.reader
    const isPoweredByReader = descriptor.features & ACTIVATES_ON_INSERTION
    return !isPoweredByReader || (hearsChanges && !this.#mayBeSwapped)
  }

  get #isEmpty(): boolean {
    return this.#presence === 'empty'
  }

  /** Learns the first presence, and polls from now on where the reader does not tell by itself. */
  async watch(pollMs: number): Promise<void> {
    await this.check()
    this.#poll(pollMs)
  }

  /** Somebody else holds the reader. */
  markInUse(by: ReaderInUseError['by']): void {
    this.#show({ inUse: by })
  }

  /** Somebody else wants the reader: an owner who does not need the card may close its connection. Never rejects. */
  async release(): Promise<void> {
    if (!this.#connection?.busy) this.#onReleaseRequested?.()
    await Promise.allSettled([this.#settling, this.#checking])
  }

  /** Whether a card is held here, or about to be. */
  get isUsed(): boolean {
    return this.#connecting !== undefined || this.#connection !== undefined
  }

  /** Somebody else holds the reader. */
  get isInUse(): boolean {
    return typeof this.#presence === 'object'
  }

  /** The reader left for good. */
  leave(): void {
    this.reader.clock.clearTimeout(this.#pollTimer)
    this.#lose(new ReaderGoneError())
    this.#presences.complete()
  }

  /** Ends the connection, if one is open, and takes the power from its card. */
  async shut(): Promise<void> {
    await this.#connection?.close()
    await this.#settling
  }

  connect(options: ConnectOptions = {}): Promise<CardConnection> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    if (this.#connecting !== undefined || this.#connection !== undefined)
      return Promise.reject(new ReaderInUseError())
    const attempt = {}
    const over = (): void => {
      if (this.#connecting === attempt) this.#connecting = undefined
    }
    this.#connecting = attempt
    const run = this.#connect(options).finally(over)
    if (signal === undefined) return run
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        // The caller has its answer now; the card is put to rest when the reader has given its own.
        over()
        this.#settling = run.then(
          (connection) => connection.close(),
          () => {},
        )
        reject(new AbortedError({ cause: signal.reason }))
      }
      signal.addEventListener('abort', abort, { once: true })
      run
        .finally(() => signal.removeEventListener('abort', abort))
        .then(resolve, (error: unknown) => reject(error as Error))
    })
  }

  async #connect(options: ConnectOptions): Promise<CardConnection> {
    await this.#settling
    try {
      await this.reader.ready()
    } catch (error) {
      if (error instanceof ReaderInUseError) this.markInUse(error.by)
      throw error
    }
    // The notice of a card may have been lost: somebody wants it now, so the reader is asked.
    if (this.#isEmpty) {
      await this.check()
      if (this.#isEmpty) throw new CardAbsentError()
    }
    if (this.#mustPowerCycle) await this.powerOff()
    const atr = await this.powerOn()
    this.#mayBeSwapped = false
    this.#protocol = options.protocol
    const activation = await this.#activated(atr)
    this.#show('present')
    this.#onReleaseRequested = options.onReleaseRequested
    const connection: LockedConnection = new LockedConnection(new CcidLink(this, { atr, activation }), {
      clock: this.reader.clock,
      onEnd: (rest) => this.#released(connection, rest),
    })
    this.#connection = connection
    return connection
  }

  /**
   * Cold where the card was off, warm where it was on; resolves to the ATR. Again where that failed or the ATR came
   * damaged: warm where the reader left the card on, then cold. A card just pushed in answers "absent or mute" at
   * first. One that is odd twice is odd for good, and used as it is.
   */
  async powerOn(): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      try {
        const atr = await this.#powerOnce()
        if (attempt > 1 || !isDamaged(atr)) return atr
      } catch (error) {
        if (!(error instanceof ReaderRefusedError || error instanceof MalformedError)) throw error
        if ((await this.#readStatus()) === IccStatus.absent) {
          this.sawCard(IccStatus.absent)
          throw new CardAbsentError({ cause: error })
        }
        if (attempt === MAX_WAKES) {
          this.#show('unreadable')
          throw error instanceof ReaderRefusedError && isSilence(error)
            ? new CardSilentError(undefined, { cause: error })
            : error
        }
        if (attempt > 1) await this.powerOff()
      }
    }
  }

  async #powerOnce(): Promise<Uint8Array> {
    const { isoEscape, powersOffFirst } = this.reader.origin.usbInterface.quirk
    if (powersOffFirst) await this.powerOff()
    let mayEscape = isoEscape !== undefined
    const voltages = this.#power === undefined ? this.#voltages() : [this.#power]
    for (let at = 0; ; at++) {
      const power = voltages[at] as PowerSelect
      try {
        const answer = await this.#askAgain(
          () => encodeIccPowerOn({ slot: this.number, power }),
          RdrToPc.dataBlock,
          'IccPowerOn',
          POWER_TIMEOUT_MS,
        )
        this.#mustPowerCycle = false
        this.#power = power
        if (answer.data.length < 2) throw new MalformedError('ATR', `${answer.data.length} bytes`)
        return answer.data.slice()
      } catch (error) {
        if (mayEscape && error instanceof ReaderRefusedError && error.bError === isoEscape?.bError) {
          mayEscape = false
          const message = encodeEscape({ slot: this.number, data: Uint8Array.from(isoEscape.escape) })
          await this.reader.ask(message, RdrToPc.escape, 'Escape', {}, READER_TIMEOUT_MS)
          at--
          continue
        }
        // A card that lives at another voltage is silent at this one, or says what nobody can read.
        if (!(error instanceof ReaderRefusedError) || at + 1 >= voltages.length) throw error
        const status = error.bStatus & 3
        if (status === IccStatus.absent) throw error
        // Off between two voltages (ISO/IEC 7816-3:2006, 6.2.3).
        if (status === IccStatus.active) await this.powerOff()
      }
    }
  }

  /** Automatic, or what the reader can, lowest first: a card must survive a voltage that it does not know. */
  #voltages(): readonly PowerSelect[] {
    const { features, voltageSupport } = this.reader.descriptor
    if (features & AUTOMATIC_VOLTAGE) return [PowerSelect.automatic]
    const voltages: PowerSelect[] = []
    if (voltageSupport & 4) voltages.push(PowerSelect.volts1v8)
    if (voltageSupport & 2) voltages.push(PowerSelect.volts3)
    if (voltageSupport & 1) voltages.push(PowerSelect.volts5)
    // MySmartPad (09BE:0002) says none: every reader has the voltage of class A.
    return voltages.length > 0 ? voltages : [PowerSelect.volts5]
  }

  async powerOff(): Promise<void> {
    this.#power = undefined
    await this.#askAgain(
      () => encodeIccPowerOff({ slot: this.number }),
      RdrToPc.slotStatus,
      'IccPowerOff',
      POWER_TIMEOUT_MS,
    )
  }

  /** Only for messages that change nothing when they are sent twice; never for what goes to the card. */
  async #askAgain(
    encode: () => Uint8Array<ArrayBuffer>,
    expects: RdrToPc,
    command: string,
    timeoutMs: number,
  ): Promise<Answer> {
    for (let repeats = 0; ; repeats++) {
      try {
        return await this.reader.ask(encode(), expects, command, {}, timeoutMs)
      } catch (error) {
        if (!(error instanceof MalformedError) || repeats >= MAX_REPEATS) throw error
      }
    }
  }

  /** A card that cannot be activated is left without power, so that the next attempt begins anew. */
  async #activated(atr: Uint8Array): Promise<Activation> {
    try {
      return await activate(this, atr, this.#protocol)
    } catch (error) {
      this.#mustPowerCycle = true
      throw error
    }
  }

  /** A reset of a connected card, which is then spoken to in the protocol that its connection asked for. */
  async resetCard(kind: 'warm' | 'cold'): Promise<ActivatedCard> {
    this.#isResetting = true
    try {
      if (kind === 'cold') await this.powerOff()
      const atr = await this.powerOn()
      return { atr, activation: await this.#activated(atr) }
    } finally {
      this.#isResetting = false
    }
  }

  async escape(data: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    const message = encodeEscape({ slot: this.number, data })
    return (await this.askAlone(message, RdrToPc.escape, 'Escape', options)).data
  }

  /** One message that may touch the card: within the card's lock where a connection is open, so never inside a transaction of it. */
  async askAlone(
    message: Uint8Array<ArrayBuffer>,
    expects: number,
    command: string,
    options: TransmitOptions,
  ): Promise<Answer> {
    if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
    await this.reader.ready()
    // Between power-on and the first APDU there is no lock to wait for yet.
    if (this.#connecting !== undefined)
      throw new TransactionError('The card is being connected; ask when that is done.')
    const ask = (): Promise<Answer> => this.reader.ask(message, expects, command, options)
    return this.#connection?.transaction({}, ask, options) ?? ask()
  }

  /** The card's end, told by an answer of the reader. */
  sawCard(status: IccStatus): void {
    if (status !== IccStatus.active) this.#power = undefined
    if (status === IccStatus.absent) {
      this.#show('empty')
      this.#connection?.lost('removed')
    } else if (this.#presence !== 'unreadable') this.#show('present')
  }

  /** A connection has ended; `rest` is done when its card is at rest. */
  #released(connection: LockedConnection, rest: Promise<void>): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#onReleaseRequested = undefined
    this.#settling = rest
  }

  changed({ present, changed }: SlotChange): void {
    if (!present) {
      this.#power = undefined
      this.#show('empty')
      this.#connection?.lost('removed')
      return
    }
    if (changed || this.#presence !== 'unreadable') this.#show('present')
    // "Changed" and present: out and in again, or the notice of a card that lay there when the reader was opened.
    // A card put in again has no power, unless the reader powers cards itself; one that was there all the time has.
    if (changed && this.#connection !== undefined) {
      this.#mayBeSwapped = true
      void this.check()
    }
  }

  disturbed(cause?: Error): void {
    this.#mustPowerCycle = true
    this.#connection?.lost('reset', cause)
  }

  /** Out and in again, or the reader switched it off. What it knew is lost. */
  lostPower(): void {
    this.#connection?.lost('reset')
  }

  ended(error: WebtokiError): void {
    this.#lose(error)
    if (this.#presence !== undefined) this.#show('unreadable')
  }

  #lose(error: WebtokiError): void {
    this.#connection?.lost('reader-gone', error)
  }

  /** Asks the slot's state; the answer may end the connection. Never rejects. */
  check(): Promise<void> {
    this.#checking ??= this.#checkOnce().finally(() => {
      this.#checking = undefined
    })
    return this.#checking
  }

  async #checkOnce(): Promise<void> {
    const connection = this.#connection
    try {
      const status = await this.#readStatus()
      this.sawCard(status)
      if (status === IccStatus.inactive && connection !== undefined && connection === this.#connection) {
        if (!this.#isResetting) connection.lost('removed')
      }
    } catch {
      // What keeps the reader from answering is told to the next exchange.
      if (this.#presence === undefined) this.#show('unreadable')
    }
  }

  async #readStatus(): Promise<IccStatus> {
    try {
      const answer = await this.#askAgain(
        () => encodeGetSlotStatus({ slot: this.number }),
        RdrToPc.slotStatus,
        'GetSlotStatus',
        READER_TIMEOUT_MS,
      )
      return answer.iccStatus
    } catch (error) {
      // Some readers call it a failure that no card is there; the state stands in the answer all the same.
      if (error instanceof ReaderRefusedError) return (error.bStatus & 3) as IccStatus
      throw error
    }
  }

  /** Only while nothing is asked of reader and card: a poll must not stand in an APDU's way. */
  #poll(pollMs: number): void {
    this.#pollTimer = this.reader.clock.setTimeout(() => {
      const idle = !this.reader.busy && this.#connecting === undefined && !this.#connection?.busy
      const done = idle && !this.reader.hearsChanges ? this.check() : Promise.resolve()
      void done.then(() => {
        if (!this.#presences.isStopped) this.#poll(pollMs)
      })
    }, pollMs)
  }

  #show(presence: Presence): void {
    const latest = this.#presence
    if (
      presence === latest ||
      (typeof presence === 'object' && typeof latest === 'object' && presence.inUse === latest.inUse)
    )
      return
    this.#presence = presence
    if (presence === 'empty') this.mayTryExtended = true
    this.#presences.next(presence)
  }
}

/** "Absent or mute": what a reader says of a card that is not there, not right, or not yet awake. */
function isSilence(error: ReaderRefusedError): boolean {
  return error.bError === CcidError.ICC_MUTE || (error.bStatus & 3) === IccStatus.absent
}
