/**
 * One slot of a CCID reader as a `CardSlot`: presence, power, and the connection to its card. CCID 1.1, 6.1.1 to
 * 6.1.3.
 */
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
  type CcidResponse,
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

/** Malformed responses to power and status messages: repeating these messages is harmless. */
const MAX_REPEATS = 2
/** dwFeatures: the reader powers a card when it is inserted. */
const ACTIVATES_ON_INSERTION = 0x04
/** dwFeatures: the reader selects the voltage. */
const AUTOMATIC_VOLTAGE = 0x08
const POWER_TIMEOUT_MS = 10_000
/** A cold reset, a warm one, and a second cold one. */
const MAX_POWER_ON_ATTEMPTS = 3
/** A slot's id, name and kind. */
export interface SlotIdentity {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
}

/** One slot of a CCID reader. Created by `ccidSlots`. */
export class CcidSlot implements CardSlot, SlotListener, PoweredSlot {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
  /** Hot. Replays the latest value. Completes when the reader is removed. */
  readonly presence$: Observable<Presence>
  readonly number: number
  readonly reader: CcidReader
  mayTryExtended = true
  readonly #presences = new ReplaySubject<Presence>(1)
  #presence: Presence | undefined
  #connection: LockedConnection | undefined
  /** True during a reset. A cold reset removes the power, which does not end the connection. */
  #isResetting = false
  /** The current connection attempt. An attempt that its caller aborted is no longer current. */
  #connecting: object | undefined
  /** Work that must finish before the next connection: a close, or an aborted connect(). */
  #pendingCleanup: Promise<unknown> = Promise.resolve()
  #mustPowerCycle = false
  /** The voltage of the card, which a warm reset keeps. Undefined: the card is off. */
  #power: PowerSelect | undefined
  #checking: Promise<void> | undefined
  #pollTimer: unknown
  #protocol: ConnectOptions['protocol']
  #onReleaseRequested: ConnectOptions['onReleaseRequested']
  readonly #pinSupports: Map<string, number>
  /** True if the reader reported a change that may have been a card swap. */
  #mayBeSwapped = false

  /** `pinSupports`: bPINSupport by slot id, for readers that support less than they announce. */
  constructor(reader: CcidReader, number: number, identity: SlotIdentity, pinSupports: Map<string, number>) {
    this.#pinSupports = pinSupports
    this.reader = reader
    this.number = number
    this.id = identity.id
    this.name = identity.name
    this.kind = identity.kind
    this.presence$ = this.#presences.asObservable()
    reader.attach(this)
  }

  get pinSupport(): number {
    return this.#pinSupports.get(this.id) ?? this.reader.descriptor.pinSupport
  }

  set pinSupport(pinSupport: number) {
    this.#pinSupports.set(this.id, pinSupport)
  }

  /**
   * An inserted card has no power until this driver powers it. If the reader powers it, only the interrupt endpoint
   * can report a swap.
   */
  get vouchesForCard(): boolean {
    const { descriptor, reportsCardChanges } = this.reader
    const isPoweredByReader = descriptor.features & ACTIVATES_ON_INSERTION
    return !isPoweredByReader || (reportsCardChanges && !this.#mayBeSwapped)
  }

  get #isEmpty(): boolean {
    return this.#presence === 'empty'
  }

  /** Reads the first presence, and polls from then on if the reader reports no changes. */
  async watch(pollMs: number): Promise<void> {
    await this.check()
    this.#poll(pollMs)
  }

  /** Another tab, page or program has the reader. */
  markInUse(by: ReaderInUseError['by']): void {
    this.#setPresence({ inUse: by })
  }

  /**
   * Notifies the owner of the connection that the reader is requested, and waits for cleanup that is under way. Never
   * rejects.
   */
  async requestRelease(): Promise<void> {
    if (!this.#connection?.busy) this.#onReleaseRequested?.()
    await Promise.allSettled([this.#pendingCleanup, this.#checking])
  }

  /** True if a connection is open or being opened. */
  get isUsed(): boolean {
    return this.#connecting !== undefined || this.#connection !== undefined
  }

  /** True if another tab, page or program has the reader. */
  get isInUse(): boolean {
    return typeof this.#presence === 'object'
  }

  /** The reader was removed. */
  detach(): void {
    this.reader.clock.clearTimeout(this.#pollTimer)
    this.#endConnection(new ReaderGoneError())
    this.#presences.complete()
  }

  /** Closes the connection, if one is open, which powers the card off. */
  async close(): Promise<void> {
    await this.#connection?.close()
    await this.#pendingCleanup
  }

  connect(options: ConnectOptions = {}): Promise<CardConnection> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    if (this.#connecting !== undefined || this.#connection !== undefined)
      return Promise.reject(new ReaderInUseError())
    const attempt = {}
    const clearAttempt = (): void => {
      if (this.#connecting === attempt) this.#connecting = undefined
    }
    this.#connecting = attempt
    const run = this.#connect(options).finally(clearAttempt)
    if (signal === undefined) return run
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        // The caller's promise rejects now. The card is powered off after the reader has responded.
        clearAttempt()
        this.#pendingCleanup = run.then(
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
    await this.#pendingCleanup
    try {
      await this.reader.ready()
    } catch (error) {
      if (error instanceof ReaderInUseError) this.markInUse(error.by)
      throw error
    }
    // The report of an inserted card may have been lost, so the reader's state is read before the refusal.
    if (this.#isEmpty) {
      await this.check()
      if (this.#isEmpty) throw new CardAbsentError()
    }
    if (this.#mustPowerCycle) await this.powerOff()
    const atr = await this.powerOn()
    this.#mayBeSwapped = false
    this.#protocol = options.protocol
    const activation = await this.#activated(atr)
    this.#setPresence('present')
    this.#onReleaseRequested = options.onReleaseRequested
    const connection: LockedConnection = new LockedConnection(new CcidLink(this, { atr, activation }), {
      clock: this.reader.clock,
      onEnd: (rest) => this.#onConnectionEnd(connection, rest),
    })
    this.#connection = connection
    return connection
  }

  /**
   * Performs a cold reset if the card is off, otherwise a warm one, and resolves to the ATR. Repeats after a failure
   * or a damaged ATR: a warm reset if the reader left the card powered, then a cold one. A card that was just
   * inserted may return "absent or mute" at first. An ATR that is damaged twice is used as it is.
   */
  async powerOn(): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      try {
        const atr = await this.#tryPowerOn()
        if (attempt > 1 || !isDamaged(atr)) return atr
      } catch (error) {
        if (!(error instanceof ReaderRefusedError || error instanceof MalformedError)) throw error
        if ((await this.#readStatus()) === IccStatus.absent) {
          this.updateCardState(IccStatus.absent)
          throw new CardAbsentError({ cause: error })
        }
        if (attempt === MAX_POWER_ON_ATTEMPTS) {
          this.#setPresence('unreadable')
          throw error instanceof ReaderRefusedError && isMuteOrAbsent(error)
            ? new CardSilentError(undefined, { cause: error })
            : error
        }
        if (attempt > 1) await this.powerOff()
      }
    }
  }

  async #tryPowerOn(): Promise<Uint8Array> {
    const { isoEscape, powersOffFirst } = this.reader.origin.usbInterface.quirk
    if (powersOffFirst) await this.powerOff()
    let mayEscape = isoEscape !== undefined
    const voltages = this.#power === undefined ? this.#voltages() : [this.#power]
    for (let at = 0; ; at++) {
      const power = voltages[at] as PowerSelect
      try {
        const response = await this.#exchangeRepeatable(
          () => encodeIccPowerOn({ slot: this.number, power }),
          RdrToPc.dataBlock,
          'IccPowerOn',
          POWER_TIMEOUT_MS,
        )
        this.#mustPowerCycle = false
        this.#power = power
        if (response.data.length < 2) throw new MalformedError('ATR', `${response.data.length} bytes`)
        return response.data.slice()
      } catch (error) {
        if (mayEscape && error instanceof ReaderRefusedError && error.bError === isoEscape?.bError) {
          mayEscape = false
          const message = encodeEscape({ slot: this.number, data: Uint8Array.from(isoEscape.escape) })
          await this.reader.exchange(message, RdrToPc.escape, 'Escape', {}, READER_TIMEOUT_MS)
          at--
          continue
        }
        // A card that needs another voltage is mute at this one, or sends an unreadable ATR.
        if (!(error instanceof ReaderRefusedError) || at + 1 >= voltages.length) throw error
        const status = error.bStatus & 3
        if (status === IccStatus.absent) throw error
        // The card is powered off between two voltages (ISO/IEC 7816-3:2006, 6.2.3).
        if (status === IccStatus.active) await this.powerOff()
      }
    }
  }

  /**
   * Automatic selection, or the reader's voltages with the lowest first. A card must survive a voltage that it does not
   * support.
   */
  #voltages(): readonly PowerSelect[] {
    const { features, voltageSupport } = this.reader.descriptor
    if (features & AUTOMATIC_VOLTAGE) return [PowerSelect.automatic]
    const voltages: PowerSelect[] = []
    if (voltageSupport & 4) voltages.push(PowerSelect.volts1v8)
    if (voltageSupport & 2) voltages.push(PowerSelect.volts3)
    if (voltageSupport & 1) voltages.push(PowerSelect.volts5)
    // MySmartPad (09BE:0002) announces no voltage. Every reader provides class A (5 V).
    return voltages.length > 0 ? voltages : [PowerSelect.volts5]
  }

  async powerOff(): Promise<void> {
    this.#power = undefined
    await this.#exchangeRepeatable(
      () => encodeIccPowerOff({ slot: this.number }),
      RdrToPc.slotStatus,
      'IccPowerOff',
      POWER_TIMEOUT_MS,
    )
  }

  /** Only for messages that are harmless when sent twice; never for a message that reaches the card. */
  async #exchangeRepeatable(
    encode: () => Uint8Array<ArrayBuffer>,
    responseType: RdrToPc,
    command: string,
    timeoutMs: number,
  ): Promise<CcidResponse> {
    for (let repeats = 0; ; repeats++) {
      try {
        return await this.reader.exchange(encode(), responseType, command, {}, timeoutMs)
      } catch (error) {
        if (!(error instanceof MalformedError) || repeats >= MAX_REPEATS) throw error
      }
    }
  }

  /** After a failed activation the card is powered off before the next attempt. */
  async #activated(atr: Uint8Array): Promise<Activation> {
    try {
      return await activate(this, atr, this.#protocol)
    } catch (error) {
      this.#mustPowerCycle = true
      throw error
    }
  }

  /** Resets the card of a connection and activates it with the protocol that the connection requested. */
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
    return (await this.exchangeLocked(message, RdrToPc.escape, 'Escape', options)).data
  }

  /**
   * Exchanges one message that may affect the card. If a connection is open, waits for the card's lock, so it must
   * not be awaited inside a transaction.
   */
  async exchangeLocked(
    message: Uint8Array<ArrayBuffer>,
    responseType: number,
    command: string,
    options: TransmitOptions,
  ): Promise<CcidResponse> {
    if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
    await this.reader.ready()
    // Between power-on and the first APDU there is no lock to wait for yet.
    if (this.#connecting !== undefined)
      throw new TransactionError('The card is being connected; wait until connect() has settled.')
    const exchange = (): Promise<CcidResponse> =>
      this.reader.exchange(message, responseType, command, options)
    return this.#connection?.transaction({}, exchange, options) ?? exchange()
  }

  /** Updates the presence from the status in a response; ends the connection if the card is absent. */
  updateCardState(status: IccStatus): void {
    if (status !== IccStatus.active) this.#power = undefined
    if (status === IccStatus.absent) {
      this.#setPresence('empty')
      this.#connection?.lost('removed')
    } else if (this.#presence !== 'unreadable') this.#setPresence('present')
  }

  /** `released` fulfils after the card has been powered off. */
  #onConnectionEnd(connection: LockedConnection, released: Promise<void>): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#onReleaseRequested = undefined
    this.#pendingCleanup = released
  }

  cardChanged({ present, changed }: SlotChange): void {
    if (!present) {
      this.#power = undefined
      this.#setPresence('empty')
      this.#connection?.lost('removed')
      return
    }
    if (changed || this.#presence !== 'unreadable') this.#setPresence('present')
    // "Changed" and present: the card was removed and inserted, or was present when the reader was opened. A
    // reinserted card has no power unless the reader supplies it; a card that stayed has. The status distinguishes
    // the two.
    if (changed && this.#connection !== undefined) {
      this.#mayBeSwapped = true
      void this.check()
    }
  }

  disturbed(cause?: Error): void {
    this.#mustPowerCycle = true
    this.#connection?.lost('reset', cause)
  }

  /** The card was reinserted, or the reader powered it off. Its security state is lost. */
  cardLostPower(): void {
    this.#connection?.lost('reset')
  }

  readerFailed(error: WebtokiError): void {
    this.#endConnection(error)
    if (this.#presence !== undefined) this.#setPresence('unreadable')
  }

  #endConnection(error: WebtokiError): void {
    this.#connection?.lost('reader-gone', error)
  }

  /** Reads the slot's state, which may end the connection. Never rejects. */
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
      this.updateCardState(status)
      if (status === IccStatus.inactive && connection !== undefined && connection === this.#connection) {
        if (!this.#isResetting) connection.lost('removed')
      }
    } catch {
      // The next exchange reports the failure.
      if (this.#presence === undefined) this.#setPresence('unreadable')
    }
  }

  async #readStatus(): Promise<IccStatus> {
    try {
      const response = await this.#exchangeRepeatable(
        () => encodeGetSlotStatus({ slot: this.number }),
        RdrToPc.slotStatus,
        'GetSlotStatus',
        READER_TIMEOUT_MS,
      )
      return response.iccStatus
    } catch (error) {
      // Some readers report an absent card as a failure. The response states the card's status all the same.
      if (error instanceof ReaderRefusedError) return (error.bStatus & 3) as IccStatus
      throw error
    }
  }

  /** Polls only while the reader and the card are idle, so that a poll never delays an APDU. */
  #poll(pollMs: number): void {
    this.#pollTimer = this.reader.clock.setTimeout(() => {
      const idle = !this.reader.busy && this.#connecting === undefined && !this.#connection?.busy
      const done = idle && !this.reader.reportsCardChanges ? this.check() : Promise.resolve()
      void done.then(() => {
        if (!this.#presences.isStopped) this.#poll(pollMs)
      })
    }, pollMs)
  }

  #setPresence(presence: Presence): void {
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

/** ICC_MUTE or an absent card: the card is missing, inserted wrongly, or not ready yet. */
function isMuteOrAbsent(error: ReaderRefusedError): boolean {
  return error.bError === CcidError.ICC_MUTE || (error.bStatus & 3) === IccStatus.absent
}
