/** One CCID interface at work: a single reading loop, answers that find their question, time-outs, recovery. */
import { type Clock, within } from '@webtoki/device'
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
  type Answer,
  CcidError,
  CommandStatus,
  ccidErrorName,
  decodeAnswer,
  decodeNotice,
  encodeAbort,
  HEADER_BYTES,
  type Patience,
  IccStatus,
  PcToRdr,
  RdrToPc,
  READER_TIMEOUT_MS,
  sharedCap,
  type SlotChange,
} from './messages.ts'
import type { CcidPipe } from './pipe.ts'

/** How long the reader may be silent to a card's command, where the caller does not say. */
export const DEFAULT_TIMEOUT_MS = 30_000
const RECOVERY_STEP_MS = 2_000
/** How long the answer of a card that was pulled may still come: a reader that lost it would hold the slot for the whole time-out. */
const PULLED_MS = 1_000
/** A reader that says "busy" has taken nothing, so that asking again does nothing twice; it says so for a second at most. */
const BUSY_PAUSE_MS = 100
const MAX_BUSY_ANSWERS = 10

/** What the reader tells its slots without being asked. */
export interface SlotListener {
  /** The interrupt endpoint spoke. */
  changed(change: SlotChange): void
  /** The card's state is unknown: the exchange with it was broken off. */
  disturbed(): void
  /** The reader can no longer be reached by this claim. */
  ended(error: WebtokiError): void
}

interface Question {
  readonly message: Uint8Array<ArrayBuffer>
  readonly slot: number
  readonly expects: number
  readonly name: string
  readonly patience: Patience
  readonly extend: () => number
  readonly timeoutMs: number
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
  sequence: number
  startedMs: number
  timer: unknown
  busyAnswers: number
  /** The card that it was for has gone: no more time is granted. */
  isPulled: boolean
  /** Who still needs the message: the transfers that carry it, and whoever may have to send it again. */
  holds: number
}

/** Opens a pipe; `reset` asks for the hard way. */
export type PipeOpener = (reset: boolean) => Promise<CcidPipe>

/** Where a reader stands on USB: for what is known of its product, and for requests on the control pipe. */
export interface ReaderOrigin {
  readonly device: USBDevice
  readonly usbInterface: CorrectedInterface
}

/** One CCID interface. Lives as long as its device is plugged in; its pipe may be opened anew. */
export class CcidReader {
  readonly descriptor: CcidDescriptor
  readonly clock: Clock
  readonly origin: ReaderOrigin
  /** Answers nobody had asked for, and notices nobody can read. */
  unsolicitedResponses = 0
  readonly #openPipe: PipeOpener
  readonly #listeners: SlotListener[] = []
  readonly #inFlight: (Question | undefined)[] = []
  #inFlightCount = 0
  /** Not a lock: messages for a slot that is at work, or for a reader that can serve no more slots at once. */
  readonly #waiting: Question[] = []
  #pipe: CcidPipe | undefined
  #opening: Promise<void> | undefined
  #reading = false
  #hearing = false
  #sequence = 0xff
  #recovering: Promise<void> | undefined
  /** Slots whose question ran out of time, still to be aborted. */
  readonly #silent: number[] = []
  #gone: WebtokiError | undefined

  constructor(descriptor: CcidDescriptor, clock: Clock, openPipe: PipeOpener, origin: ReaderOrigin) {
    this.origin = origin
    this.descriptor = descriptor
    this.clock = clock
    this.#openPipe = openPipe
  }

  /** Slots announce themselves in the order of their numbers. */
  attach(listener: SlotListener): void {
    this.#listeners.push(listener)
  }

  /** Whether the interrupt endpoint tells of cards, so that nobody need poll. */
  get hearsChanges(): boolean {
    return this.#hearing
  }

  /** Whether an exchange would wait. */
  get busy(): boolean {
    return this.#inFlightCount > 0 || this.#recovering !== undefined || this.#pipe === undefined
  }

  /** Resolves when the reader can be asked: after a recovery, and with its pipe opened again where it had failed. */
  async ready(): Promise<void> {
    await this.#recovering
    this.#checkNotGone()
    if (this.#pipe !== undefined) return
    this.#opening ??= this.#open(false).finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  /** Closes the pipe, unless something is asked of the reader; `ready` opens it anew. False: it is at work. */
  async rest(): Promise<boolean> {
    if (this.#inFlightCount > 0 || this.#recovering !== undefined || this.#opening !== undefined) return false
    await this.#partFromPipe()?.close()
    return true
  }

  /** Nobody uses it any more; whoever asks for it sees to its closing. */
  #partFromPipe(): CcidPipe | undefined {
    const pipe = this.#pipe
    this.#pipe = undefined
    this.#reading = false
    this.#hearing = false
    return pipe
  }

  #checkNotGone(): void {
    if (this.#gone !== undefined) throw this.#gone
  }

  async #open(reset: boolean): Promise<void> {
    const pipe = await within(
      this.clock,
      RECOVERY_STEP_MS + READER_TIMEOUT_MS,
      'opening the reader',
      this.#openPipe(reset),
      (late) => late.close(),
    )
    if (this.#gone !== undefined) {
      await pipe.close()
      throw this.#gone
    }
    this.#pipe = pipe
    this.#hearing = pipe.notices$ !== undefined
    pipe.notices$?.subscribe({
      next: (bytes) => this.#heard(bytes),
      complete: () => {
        if (this.#pipe === pipe) this.#hearing = false
      },
    })
    void pipe.ended.then((end) => {
      if (this.#pipe === pipe && end.why === 'gone') this.#dropPipe(end.error)
    })
  }

  /**
   * Sends one message and resolves to its answer. `message` is the caller's gift: its sequence number is written
   * here, and where the patience says `sensitive` its bytes are overwritten once they have left and the answer came.
   * Rejects with ReaderRefusedError where the reader says that the command failed.
   */
  ask(
    message: Uint8Array<ArrayBuffer>,
    expects: number,
    name: string,
    patience: Patience,
    timeoutMs: number = patience.timeoutMs ?? DEFAULT_TIMEOUT_MS,
  ): Promise<Answer> {
    const extend = patience.extend ?? sharedCap(patience, this.clock)
    // A caller's own time-out is the caller's.
    const leastMs = patience.timeoutMs === undefined ? (this.origin.usbInterface.quirk.timeoutMs ?? 0) : 0
    const asked = { message, expects, name, patience, extend, timeoutMs: Math.max(timeoutMs, leastMs) }
    return asking(asked, (question) => {
      if (this.#pipe === undefined && this.#recovering === undefined) this.#refuse(question)
      else if (this.#mayStart(question.slot)) this.#start(question)
      else this.#waiting.push(question)
    })
  }

  #refuse(question: Question): void {
    wipe(question)
    question.reject(this.#gone ?? new ReaderGoneError())
  }

  #mayStart(slot: number): boolean {
    return (
      this.#recovering === undefined &&
      this.#inFlight[slot] === undefined &&
      this.#inFlightCount < Math.max(1, this.descriptor.maxBusySlots)
    )
  }

  #start(question: Question, sequence: number = this.#nextSequence()): void {
    const pipe = this.#pipe
    if (pipe === undefined) {
      this.#refuse(question)
      return
    }
    question.sequence = sequence
    question.message[6] = sequence
    question.startedMs = this.clock.now()
    question.timer = this.clock.setTimeout(() => this.#expired(question), question.timeoutMs)
    this.#inFlight[question.slot] = question
    this.#inFlightCount++
    question.holds++
    pipe.send(question.message).then(
      () => release(question),
      (error: Error) => {
        release(question)
        if (this.#pipe === pipe && this.#inFlight[question.slot] === question) this.#broken(error)
      },
    )
    if (!this.#reading) void this.#read(pipe)
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) & 0xff
    return this.#sequence
  }

  /** The one loop on bulk-IN. It reads while something is asked; what nobody asked for waits until then. */
  async #read(pipe: CcidPipe): Promise<void> {
    this.#reading = true
    try {
      while (this.#inFlightCount > 0 && this.#pipe === pipe) {
        const bytes = await pipe.receive()
        if (this.#pipe === pipe) this.#arrived(bytes)
      }
      if (this.#pipe === pipe) this.#reading = false
    } catch (error) {
      if (this.#pipe === pipe) {
        this.#reading = false
        this.#broken(error as Error)
      }
    }
  }

  #arrived(bytes: Uint8Array): void {
    if (bytes.length < HEADER_BYTES) {
      // Too short to say whose it is. Where one question is open it is that one's answer cut short; asking again
      // could make the card do a thing twice, so that question fails.
      const open =
        this.#inFlightCount === 1 ? this.#inFlight.find((question) => question !== undefined) : undefined
      if (open === undefined) this.unsolicitedResponses++
      else
        this.#fail(
          open,
          new MalformedError(`answer to ${open.name}`, `${bytes.length} bytes, a header has 10`),
        )
      return
    }
    const question = this.#inFlight[bytes[5] as number]
    if (question === undefined || question.sequence !== bytes[6]) {
      this.unsolicitedResponses++
      return
    }
    let answer: Answer
    try {
      answer = decodeAnswer(bytes)
    } catch (error) {
      this.#fail(question, error as Error)
      return
    }
    if (answer.commandStatus === CommandStatus.timeExtension) {
      // Of readers without notices the only word that the card was pulled.
      if (answer.iccStatus === IccStatus.absent) this.#pulled(question.slot)
      this.#extend(question, answer.error)
      return
    }
    if (answer.commandStatus === CommandStatus.failed) {
      // A DataBlock command that fails may be answered by SlotStatus.
      this.#refused(question, answer.bStatus, answer.error)
      return
    }
    if (answer.type !== question.expects) {
      this.#fail(question, new MalformedError(`answer to ${question.name}`, `bMessageType ${answer.type}`))
      return
    }
    this.#leave(question)
    question.resolve(answer)
    if (this.#waiting.length > 0) this.#startWaiting()
  }

  #refused(question: Question, bStatus: number, bError: number): void {
    const isBusy = bError === CcidError.CMD_SLOT_BUSY || bError === CcidError.BUSY_WITH_AUTO_SEQUENCE
    // A reader that lies would have the card take a PIN twice, so what is sensitive is never sent again.
    if (isBusy && !question.patience.sensitive && question.busyAnswers++ < MAX_BUSY_ANSWERS) {
      // It keeps its slot meanwhile.
      this.clock.clearTimeout(question.timer)
      question.timer = this.clock.setTimeout(() => {
        this.#free(question)
        this.#start(question)
      }, BUSY_PAUSE_MS)
      return
    }
    this.#fail(question, new ReaderRefusedError(question.name, bStatus, bError, ccidErrorName(bError)))
  }

  #free(question: Question): void {
    this.clock.clearTimeout(question.timer)
    this.#inFlight[question.slot] = undefined
    this.#inFlightCount--
  }

  #leave(question: Question): void {
    this.#free(question)
    release(question)
  }

  #fail(question: Question, error: Error): void {
    this.#leave(question)
    question.reject(error)
    this.#startWaiting()
  }

  #startWaiting(): void {
    for (let i = 0; i < this.#waiting.length; ) {
      const question = this.#waiting[i] as Question
      if (this.#mayStart(question.slot)) {
        this.#waiting.splice(i, 1)
        this.#start(question)
      } else i++
    }
  }

  /** bError is a multiplier of the time allowed; users have seen 322670 s come of it, so it is capped. */
  #extend(question: Question, multiplier: number): void {
    if (question.isPulled) return
    this.clock.clearTimeout(question.timer)
    const waitMs = Math.min(question.timeoutMs * Math.max(1, multiplier), question.extend())
    question.timer = this.clock.setTimeout(() => this.#expired(question), waitMs)
  }

  #expired(question: Question): void {
    if (this.#inFlight[question.slot] !== question) return
    const waitedMs = Math.round(this.clock.now() - question.startedMs)
    // The slot is made free first: the recovery asks in its place, and nobody else until that is done.
    this.#leave(question)
    question.reject(new ReaderTimeoutError(question.name, waitedMs))
    this.#listeners[question.slot]?.disturbed()
    this.#silent.push(question.slot)
    this.#recover(false)
  }

  /** A transfer failed for good: the questions fail now, and the claim is made anew behind their backs. */
  #broken(error: Error): void {
    if (!(error instanceof TransferError)) {
      this.#dropPipe(
        error instanceof WebtokiError ? error : new TransferError(error.message, { cause: error }),
      )
      return
    }
    this.#failInFlight(error)
    this.#recover(true)
  }

  #failInFlight(error: Error): void {
    for (const question of this.#inFlight) {
      if (question === undefined) continue
      this.#leave(question)
      question.reject(error)
    }
  }

  #recover(mustReopen: boolean): void {
    if (this.#recovering !== undefined || this.#gone !== undefined) return
    this.#recovering = this.#recovery(mustReopen)
      .catch((error: unknown) => {
        // The next `ready` opens it again; until then everybody is told why not.
        this.#tellEnded(
          error instanceof WebtokiError ? error : new TransferError('The reader does not recover.'),
        )
      })
      .then(() => {
        this.#recovering = undefined
        this.#startWaiting()
      })
  }

  async #recovery(mustReopen: boolean): Promise<void> {
    let isLost = mustReopen
    // Another slot may run out of time while one is aborted.
    for (let slot; !isLost && (slot = this.#silent.shift()) !== undefined; )
      isLost = !(await this.#abort(slot))
    if (!isLost) return
    this.#silent.length = 0
    this.#checkNotGone()
    for (const listener of this.#listeners) listener.disturbed()
    const old = this.#partFromPipe()
    this.#failInFlight(new TransferError('The reader had to be reset.'))
    // A close that hangs must not keep the reset from happening.
    if (old !== undefined) {
      await within(this.clock, RECOVERY_STEP_MS, 'closing the reader', old.close()).catch(() => {})
    }
    this.#checkNotGone()
    await this.#open(true)
  }

  /** CCID 1.1, 5.3.1 and 6.1.13: the class request and the message name the same slot and sequence number. */
  async #abort(slot: number): Promise<boolean> {
    const sequence = this.#nextSequence()
    const pipe = this.#pipe
    if (pipe === undefined) return false
    // Not awaited: the order of the two is free, and the message's time-out bounds both.
    pipe.abort(slot, sequence).catch(() => {})
    try {
      const message = encodeAbort({ slot })
      const abort = { message, expects: RdrToPc.slotStatus, name: 'Abort', patience: {}, extend: () => 0 }
      await asking({ ...abort, timeoutMs: RECOVERY_STEP_MS }, (question) => this.#start(question, sequence))
      return true
    } catch {
      return false
    }
  }

  #heard(bytes: Uint8Array): void {
    try {
      const notice = decodeNotice(bytes)
      if (notice.type === 'slot-change') {
        for (const [slot, listener] of this.#listeners.entries()) {
          const change = notice.slots[slot]
          if (change === undefined) continue
          if (change.present) listener.changed(change)
          else this.#pulled(slot)
        }
        return
      }
      // Its answer may never come, and would be a stranger if it did (CCID 1.1, 6.3.2).
      const question = this.#inFlight[notice.slot]
      if (question?.sequence === notice.sequence)
        this.#refused(question, CommandStatus.failed, CcidError.HW_ERROR)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      this.unsolicitedResponses++
    }
  }

  /** What went to the card is answered soon or aborted, so that the next card can be used. */
  #pulled(slot: number): void {
    this.#listeners[slot]?.changed({ present: false, changed: true })
    const question = this.#inFlight[slot]
    if (question?.expects !== RdrToPc.dataBlock || question.message[0] === PcToRdr.iccPowerOn) return
    if (question.isPulled) return
    question.isPulled = true
    this.clock.clearTimeout(question.timer)
    question.timer = this.clock.setTimeout(() => this.#expired(question), PULLED_MS)
  }

  #dropPipe(error: WebtokiError): void {
    void this.#partFromPipe()?.close()
    this.#tellEnded(error)
  }

  #tellEnded(error: WebtokiError): void {
    for (const listener of this.#listeners) listener.ended(error)
    this.#failInFlight(error)
    for (const question of this.#waiting.splice(0)) {
      wipe(question)
      question.reject(error)
    }
  }

  /** The device is unplugged, or its source closes: for good. */
  async end(error: WebtokiError): Promise<void> {
    if (this.#gone !== undefined) return
    this.#gone = error
    const pipe = this.#partFromPipe()
    this.#tellEnded(error)
    await pipe?.close()
    await this.#recovering
  }
}

/** A question, and its answer; `begin` sees to its being sent. */
function asking(
  asked: Pick<Question, 'message' | 'expects' | 'name' | 'patience' | 'extend' | 'timeoutMs'>,
  begin: (question: Question) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) =>
    begin({
      ...asked,
      slot: asked.message[5] as number,
      resolve,
      reject,
      sequence: 0,
      startedMs: 0,
      timer: undefined,
      busyAnswers: 0,
      isPulled: false,
      holds: 1,
    }),
  )
}

/** The last one who needed the message overwrites it. */
function release(question: Question): void {
  if (--question.holds === 0) wipe(question)
}

/** A secret stays no longer in memory than it must. */
function wipe(question: Question): void {
  if (question.patience.sensitive) question.message.fill(0, HEADER_BYTES)
}
