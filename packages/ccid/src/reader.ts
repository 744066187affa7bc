/**
 * Drives one CCID interface: runs the only read loop, matches responses to requests by slot and sequence number,
 * enforces time-outs and recovers the reader. CCID 1.1, 6.
 */
import { type Clock, withTimeout } from '@webtoki/device'
import {
  MalformedError,
  ReaderGoneError,
  ReaderRefusedError,
  ReaderTimeoutError,
  WebtokiError,
  TransferError,
} from '@webtoki/apdu'
import type { CorrectedInterface } from './corrected.ts'
import type { CcidDescriptor } from './descriptors.ts'
import {
  type CcidResponse,
  CcidError,
  CommandStatus,
  ccidErrorName,
  decodeResponse,
  decodeInterruptMessage,
  encodeAbort,
  HEADER_BYTES,
  type MessageOptions,
  IccStatus,
  PcToRdr,
  RdrToPc,
  READER_TIMEOUT_MS,
  timeExtensionBudget,
  type SlotChange,
} from './messages.ts'
import type { CcidPipe } from './pipe.ts'

/** Default limit for a reader's silence during a command to the card. */
export const DEFAULT_TIMEOUT_MS = 30_000
const RECOVERY_STEP_MS = 2_000
/**
 * How long the response of a removed card may still take. A reader that lost the response would block the slot for
 * the whole time-out.
 */
const REMOVED_CARD_MS = 1_000
/**
 * A reader that reports "busy" has not accepted the message, so sending it again is safe. The retries end after one
 * second.
 */
const BUSY_PAUSE_MS = 100
const MAX_BUSY_RESPONSES = 10

/** Events that a reader reports to its slots. */
export interface SlotListener {
  /** The interrupt endpoint, or the status of a response, reported a change. */
  cardChanged(change: SlotChange): void
  /** The card's state is unknown, because an exchange with it was interrupted. */
  disturbed(): void
  /** The reader cannot be reached through this claim any more. */
  readerFailed(error: WebtokiError): void
}

interface PendingRequest {
  readonly message: Uint8Array<ArrayBuffer>
  readonly slot: number
  readonly responseType: number
  readonly command: string
  readonly options: MessageOptions
  readonly onTimeExtension: () => number
  readonly timeoutMs: number
  readonly resolve: (response: CcidResponse) => void
  readonly reject: (error: Error) => void
  sequence: number
  startedMs: number
  timer: unknown
  busyResponses: number
  /** The card was removed during the exchange, so further time extensions are ignored. */
  isCardRemoved: boolean
  /** Number of users of the message: the transfers that carry it, and the request, which may send it again. */
  references: number
}

/** Opens a pipe. With `reset` the device is reset first. */
export type PipeOpener = (reset: boolean) => Promise<CcidPipe>

/** The USB device and interface of a reader, for its quirks and for requests on the control pipe. */
export interface ReaderOrigin {
  readonly device: USBDevice
  readonly usbInterface: CorrectedInterface
}

/** One CCID interface. Exists while its device is plugged in; the pipe may be closed and opened again. */
export class CcidReader {
  readonly descriptor: CcidDescriptor
  readonly clock: Clock
  readonly origin: ReaderOrigin
  /** Number of responses without a request, and of malformed interrupt messages. */
  unsolicitedResponses = 0
  readonly #openPipe: PipeOpener
  readonly #listeners: SlotListener[] = []
  readonly #inFlight: (PendingRequest | undefined)[] = []
  #inFlightCount = 0
  /**
   * Requests that wait because their slot is busy or the reader has reached bMaxCCIDBusySlots. This queue is not a
   * lock.
   */
  readonly #queued: PendingRequest[] = []
  #pipe: CcidPipe | undefined
  #opening: Promise<void> | undefined
  #reading = false
  #reportsCardChanges = false
  #sequence = 0xff
  #recovering: Promise<void> | undefined
  /** Slots whose request timed out and has yet to be aborted. */
  readonly #timedOutSlots: number[] = []
  #closeError: WebtokiError | undefined

  constructor(descriptor: CcidDescriptor, clock: Clock, openPipe: PipeOpener, origin: ReaderOrigin) {
    this.origin = origin
    this.descriptor = descriptor
    this.clock = clock
    this.#openPipe = openPipe
  }

  /** Registers a slot. Slots register in the order of their numbers. */
  attach(listener: SlotListener): void {
    this.#listeners.push(listener)
  }

  /** True if the interrupt endpoint reports card changes, so the slots need not be polled. */
  get reportsCardChanges(): boolean {
    return this.#reportsCardChanges
  }

  /** True if an exchange would have to wait. */
  get busy(): boolean {
    return this.#inFlightCount > 0 || this.#recovering !== undefined || this.#pipe === undefined
  }

  /** Resolves when the reader accepts requests: after a recovery, and with the pipe reopened if it had failed. */
  async ready(): Promise<void> {
    await this.#recovering
    this.#checkNotClosed()
    if (this.#pipe !== undefined) return
    this.#opening ??= this.#open(false).finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  /** Closes the pipe if the reader is idle; `ready` opens it again. Resolves to false if the reader is busy. */
  async closeIfIdle(): Promise<boolean> {
    if (this.#inFlightCount > 0 || this.#recovering !== undefined || this.#opening !== undefined) return false
    await this.#detachPipe()?.close()
    return true
  }

  /** Takes the pipe out of use and returns it. The caller closes it. */
  #detachPipe(): CcidPipe | undefined {
    const pipe = this.#pipe
    this.#pipe = undefined
    this.#reading = false
    this.#reportsCardChanges = false
    return pipe
  }

  #checkNotClosed(): void {
    if (this.#closeError !== undefined) throw this.#closeError
  }

  async #open(reset: boolean): Promise<void> {
    const pipe = await withTimeout(
      this.clock,
      RECOVERY_STEP_MS + READER_TIMEOUT_MS,
      'opening the reader',
      this.#openPipe(reset),
      (late) => late.close(),
    )
    if (this.#closeError !== undefined) {
      await pipe.close()
      throw this.#closeError
    }
    this.#pipe = pipe
    this.#reportsCardChanges = pipe.interruptMessages$ !== undefined
    pipe.interruptMessages$?.subscribe({
      next: (bytes) => this.#onInterruptMessage(bytes),
      complete: () => {
        if (this.#pipe === pipe) this.#reportsCardChanges = false
      },
    })
    void pipe.ended.then((end) => {
      if (this.#pipe === pipe && end.reason === 'gone') this.#failPipe(end.error)
    })
  }

  /**
   * Sends one message and resolves to its response. Takes ownership of `message`: writes its sequence number and, if
   * the options say `sensitive`, overwrites its bytes after the transfer and the response. Rejects with
   * ReaderRefusedError if the reader reports that the command failed.
   */
  exchange(
    message: Uint8Array<ArrayBuffer>,
    responseType: number,
    command: string,
    options: MessageOptions,
    timeoutMs: number = options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
  ): Promise<CcidResponse> {
    const onTimeExtension = options.onTimeExtension ?? timeExtensionBudget(options, this.clock)
    // A time-out set by the caller overrides the quirk's minimum.
    const leastMs = options.timeoutMs === undefined ? (this.origin.usbInterface.quirk.timeoutMs ?? 0) : 0
    const fields = {
      message,
      responseType,
      command,
      options,
      onTimeExtension,
      timeoutMs: Math.max(timeoutMs, leastMs),
    }
    return createRequest(fields, (request) => {
      if (this.#pipe === undefined && this.#recovering === undefined) this.#rejectUnsent(request)
      else if (this.#mayStart(request.slot)) this.#start(request)
      else this.#queued.push(request)
    })
  }

  #rejectUnsent(request: PendingRequest): void {
    wipeMessage(request)
    request.reject(this.#closeError ?? new ReaderGoneError())
  }

  #mayStart(slot: number): boolean {
    return (
      this.#recovering === undefined &&
      this.#inFlight[slot] === undefined &&
      this.#inFlightCount < Math.max(1, this.descriptor.maxBusySlots)
    )
  }

  #start(request: PendingRequest, sequence: number = this.#nextSequence()): void {
    const pipe = this.#pipe
    if (pipe === undefined) {
      this.#rejectUnsent(request)
      return
    }
    request.sequence = sequence
    request.message[6] = sequence
    request.startedMs = this.clock.now()
    request.timer = this.clock.setTimeout(() => this.#onTimeout(request), request.timeoutMs)
    this.#inFlight[request.slot] = request
    this.#inFlightCount++
    request.references++
    pipe.send(request.message).then(
      () => releaseMessage(request),
      (error: Error) => {
        releaseMessage(request)
        if (this.#pipe === pipe && this.#inFlight[request.slot] === request) this.#onTransferError(error)
      },
    )
    if (!this.#reading) void this.#read(pipe)
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) & 0xff
    return this.#sequence
  }

  /**
   * The only read loop on bulk-IN. It reads only while a request is pending. An unsolicited response stays in the
   * reader until then.
   */
  async #read(pipe: CcidPipe): Promise<void> {
    this.#reading = true
    try {
      while (this.#inFlightCount > 0 && this.#pipe === pipe) {
        const bytes = await pipe.receive()
        if (this.#pipe === pipe) this.#onResponse(bytes)
      }
      if (this.#pipe === pipe) this.#reading = false
    } catch (error) {
      if (this.#pipe === pipe) {
        this.#reading = false
        this.#onTransferError(error as Error)
      }
    }
  }

  #onResponse(bytes: Uint8Array): void {
    if (bytes.length < HEADER_BYTES) {
      // The message is too short to name its slot. If only one request is pending, this is its truncated response.
      // That request fails, because sending it again could make the card execute a command twice.
      const pending =
        this.#inFlightCount === 1 ? this.#inFlight.find((request) => request !== undefined) : undefined
      if (pending === undefined) this.unsolicitedResponses++
      else
        this.#fail(
          pending,
          new MalformedError(
            `response to ${pending.command}`,
            `${bytes.length} bytes instead of at least 10`,
          ),
        )
      return
    }
    const request = this.#inFlight[bytes[5] as number]
    if (request === undefined || request.sequence !== bytes[6]) {
      this.unsolicitedResponses++
      return
    }
    let response: CcidResponse
    try {
      response = decodeResponse(bytes)
    } catch (error) {
      this.#fail(request, error as Error)
      return
    }
    if (response.commandStatus === CommandStatus.timeExtension) {
      // Without an interrupt endpoint, this status is the only report that the card was removed.
      if (response.iccStatus === IccStatus.absent) this.#onCardRemoved(request.slot)
      this.#extendTime(request, response.error)
      return
    }
    if (response.commandStatus === CommandStatus.failed) {
      // A failed command with a DataBlock response may return SlotStatus instead.
      this.#onFailedCommand(request, response.bStatus, response.error)
      return
    }
    if (response.type !== request.responseType) {
      this.#fail(
        request,
        new MalformedError(`response to ${request.command}`, `bMessageType ${response.type}`),
      )
      return
    }
    this.#endRequest(request)
    request.resolve(response)
    if (this.#queued.length > 0) this.#startQueued()
  }

  #onFailedCommand(request: PendingRequest, bStatus: number, bError: number): void {
    const isBusy = bError === CcidError.CMD_SLOT_BUSY || bError === CcidError.BUSY_WITH_AUTO_SEQUENCE
    // Sensitive messages are never sent again: a reader that reports "busy" wrongly would present a PIN to the card
    // twice.
    if (isBusy && !request.options.sensitive && request.busyResponses++ < MAX_BUSY_RESPONSES) {
      // The slot stays occupied during the pause.
      this.clock.clearTimeout(request.timer)
      request.timer = this.clock.setTimeout(() => {
        this.#freeSlot(request)
        this.#start(request)
      }, BUSY_PAUSE_MS)
      return
    }
    this.#fail(request, new ReaderRefusedError(request.command, bStatus, bError, ccidErrorName(bError)))
  }

  #freeSlot(request: PendingRequest): void {
    this.clock.clearTimeout(request.timer)
    this.#inFlight[request.slot] = undefined
    this.#inFlightCount--
  }

  #endRequest(request: PendingRequest): void {
    this.#freeSlot(request)
    releaseMessage(request)
  }

  #fail(request: PendingRequest, error: Error): void {
    this.#endRequest(request)
    request.reject(error)
    this.#startQueued()
  }

  #startQueued(): void {
    for (let i = 0; i < this.#queued.length; ) {
      const request = this.#queued[i] as PendingRequest
      if (this.#mayStart(request.slot)) {
        this.#queued.splice(i, 1)
        this.#start(request)
      } else i++
    }
  }

  /**
   * bError is a multiplier of the time-out (CCID 1.1, 6.2.6). Users have seen 322670 s result from it, so the
   * extension is capped.
   */
  #extendTime(request: PendingRequest, multiplier: number): void {
    if (request.isCardRemoved) return
    this.clock.clearTimeout(request.timer)
    const waitMs = Math.min(request.timeoutMs * Math.max(1, multiplier), request.onTimeExtension())
    request.timer = this.clock.setTimeout(() => this.#onTimeout(request), waitMs)
  }

  #onTimeout(request: PendingRequest): void {
    if (this.#inFlight[request.slot] !== request) return
    const waitedMs = Math.round(this.clock.now() - request.startedMs)
    // Frees the slot first: the recovery sends its ABORT there, and no other request starts before it ends.
    this.#endRequest(request)
    request.reject(new ReaderTimeoutError(request.command, waitedMs))
    this.#listeners[request.slot]?.disturbed()
    this.#timedOutSlots.push(request.slot)
    this.#recover(false)
  }

  /** A transfer failed permanently. Pending requests fail now, and the recovery claims the interface again. */
  #onTransferError(error: Error): void {
    if (!(error instanceof TransferError)) {
      this.#failPipe(
        error instanceof WebtokiError ? error : new TransferError(error.message, { cause: error }),
      )
      return
    }
    this.#failInFlight(error)
    this.#recover(true)
  }

  #failInFlight(error: Error): void {
    for (const request of this.#inFlight) {
      if (request === undefined) continue
      this.#endRequest(request)
      request.reject(error)
    }
  }

  #recover(mustReopen: boolean): void {
    if (this.#recovering !== undefined || this.#closeError !== undefined) return
    this.#recovering = this.#recovery(mustReopen)
      .catch((error: unknown) => {
        // The next `ready` opens the pipe again. Until then every request fails with this error.
        this.#failAll(
          error instanceof WebtokiError
            ? error
            : new TransferError('The reader did not recover; plug it in again.'),
        )
      })
      .then(() => {
        this.#recovering = undefined
        this.#startQueued()
      })
  }

  async #recovery(mustReopen: boolean): Promise<void> {
    let isLost = mustReopen
    // Another slot may time out during an abort.
    for (let slot; !isLost && (slot = this.#timedOutSlots.shift()) !== undefined; )
      isLost = !(await this.#abort(slot))
    if (!isLost) return
    this.#timedOutSlots.length = 0
    this.#checkNotClosed()
    for (const listener of this.#listeners) listener.disturbed()
    const old = this.#detachPipe()
    this.#failInFlight(new TransferError('The exchange ended because the reader had to be reset.'))
    // A close that hangs must not prevent the reset.
    if (old !== undefined) {
      await withTimeout(this.clock, RECOVERY_STEP_MS, 'closing the reader', old.close()).catch(() => {})
    }
    this.#checkNotClosed()
    await this.#open(true)
  }

  /** CCID 1.1, 5.3.1 and 6.1.13: the class request and the message carry the same slot and sequence number. */
  async #abort(slot: number): Promise<boolean> {
    const sequence = this.#nextSequence()
    const pipe = this.#pipe
    if (pipe === undefined) return false
    // Not awaited: the two may arrive in either order, and the message's time-out covers both.
    pipe.abort(slot, sequence).catch(() => {})
    try {
      const message = encodeAbort({ slot })
      const fields = {
        message,
        responseType: RdrToPc.slotStatus,
        command: 'Abort',
        options: {},
        onTimeExtension: () => 0,
        timeoutMs: RECOVERY_STEP_MS,
      }
      await createRequest(fields, (request) => this.#start(request, sequence))
      return true
    } catch {
      return false
    }
  }

  #onInterruptMessage(bytes: Uint8Array): void {
    try {
      const message = decodeInterruptMessage(bytes)
      if (message.type === 'slot-change') {
        for (const [slot, listener] of this.#listeners.entries()) {
          const change = message.slots[slot]
          if (change === undefined) continue
          if (change.present) listener.cardChanged(change)
          else this.#onCardRemoved(slot)
        }
        return
      }
      // The response may never come; if it does, it counts as unsolicited (CCID 1.1, 6.3.2).
      const request = this.#inFlight[message.slot]
      if (request?.sequence === message.sequence)
        this.#onFailedCommand(request, CommandStatus.failed, CcidError.HW_ERROR)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.unsolicitedResponses++
    }
  }

  /** Limits the wait for a response from the removed card, so that the slot can serve the next card. */
  #onCardRemoved(slot: number): void {
    this.#listeners[slot]?.cardChanged({ present: false, changed: true })
    const request = this.#inFlight[slot]
    if (request?.responseType !== RdrToPc.dataBlock || request.message[0] === PcToRdr.iccPowerOn) return
    if (request.isCardRemoved) return
    request.isCardRemoved = true
    this.clock.clearTimeout(request.timer)
    request.timer = this.clock.setTimeout(() => this.#onTimeout(request), REMOVED_CARD_MS)
  }

  #failPipe(error: WebtokiError): void {
    void this.#detachPipe()?.close()
    this.#failAll(error)
  }

  #failAll(error: WebtokiError): void {
    for (const listener of this.#listeners) listener.readerFailed(error)
    this.#failInFlight(error)
    for (const request of this.#queued.splice(0)) {
      wipeMessage(request)
      request.reject(error)
    }
  }

  /** Closes the reader permanently, because the device was unplugged or its source was closed. */
  async close(error: WebtokiError): Promise<void> {
    if (this.#closeError !== undefined) return
    this.#closeError = error
    const pipe = this.#detachPipe()
    this.#failAll(error)
    await pipe?.close()
    await this.#recovering
  }
}

/** Returns a promise for the response of a new request; `begin` sends or queues the request. */
function createRequest(
  fields: Pick<
    PendingRequest,
    'message' | 'responseType' | 'command' | 'options' | 'onTimeExtension' | 'timeoutMs'
  >,
  begin: (request: PendingRequest) => void,
): Promise<CcidResponse> {
  return new Promise((resolve, reject) =>
    begin({
      ...fields,
      slot: fields.message[5] as number,
      resolve,
      reject,
      sequence: 0,
      startedMs: 0,
      timer: undefined,
      busyResponses: 0,
      isCardRemoved: false,
      references: 1,
    }),
  )
}

/** The last user of the message overwrites it. */
function releaseMessage(request: PendingRequest): void {
  if (--request.references === 0) wipeMessage(request)
}

/** Overwrites a sensitive message, so that secrets do not stay in memory. */
function wipeMessage(request: PendingRequest): void {
  if (request.options.sensitive) request.message.fill(0, HEADER_BYTES)
}
