/** CCID messages over the bulk and interrupt endpoints of a WebUSB device (CCID 1.1, 4.3; WebUSB). */
import { claim, releaseDevice, translateUsbError } from '@webtoki/device'
import { ReaderGoneError, ReaderNotSupportedError, TransferError, viewOf } from '@webtoki/apdu'
import { Observable, type Subscriber } from 'rxjs'
import type { CcidInterface, Endpoint } from './descriptors.ts'
import { declaredMessageBytes, HEADER_BYTES } from './messages.ts'
import type { CcidPipe, PipeEnd } from './pipe.ts'

/** Consecutive stalls or empty packets that are forgiven: more is no accident. */
const MAX_STALLS = 2
const MAX_EMPTY_READS = 8
/** A device that is there and whose transfers fail at once would keep the page busy for ever. */
const MAX_BROKEN_OFF = 100
/** A failed transfer may have lost part of an answer. A notice that was lost is found when somebody asks. */
const BEGUN_AGAIN = { bulk: /^AbortError$/, interrupt: /^(Abort|Network)Error$/ }

/** Some descriptors state less than the reader sends; a longer answer than asked for is lost as `babble`. */
const MIN_READ_BYTES = 271
/** Longest extended APDU with its header; a descriptor may claim 4 GB. */
const MAX_READ_BYTES = 65_544 + HEADER_BYTES

/** How a pipe is opened. */
export interface PipeOptions {
  /** Reset the device first: the way out where it no longer answers. */
  readonly reset: boolean
  /** Whether the page still has the device; its source looks, and lets its readers go if not. */
  readonly isThere: () => Promise<boolean>
}

/** One claimed CCID interface. */
export class WebUsbPipe implements CcidPipe {
  readonly ended: Promise<PipeEnd>
  readonly notices$: Observable<Uint8Array> | undefined
  readonly #device: USBDevice
  readonly #interfaceNumber: number
  readonly #in: Endpoint
  readonly #out: Endpoint
  readonly #readBytes: number
  readonly #isThere: PipeOptions['isThere']
  #end: PipeEnd | undefined
  #tellEnd!: (end: PipeEnd) => void
  #closing: Promise<void> | undefined
  #rest: Uint8Array | undefined

  private constructor(
    device: USBDevice,
    face: CcidInterface,
    bulkIn: Endpoint,
    bulkOut: Endpoint,
    isThere: PipeOptions['isThere'],
  ) {
    this.#device = device
    this.#isThere = isThere
    this.#interfaceNumber = face.interfaceNumber
    this.#in = bulkIn
    this.#out = bulkOut
    // A whole number of packets, or the last packet of the longest message would babble. An answer that ends on a
    // packet boundary short of this ends by the reader's zero-length packet. A reader that sends none leaves the
    // read pending until its next packet: that exchange runs into its time-out, and `receive` parts what comes glued.
    const wantedBytes = Math.min(Math.max(face.descriptor.maxMessageBytes, MIN_READ_BYTES), MAX_READ_BYTES)
    this.#readBytes = Math.ceil(wantedBytes / bulkIn.packetBytes) * bulkIn.packetBytes
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
    const interrupt = face.endpoints.find(
      (e) => e.type === 'interrupt' && e.direction === 'in' && e.packetBytes > 0,
    )
    if (interrupt !== undefined) {
      this.notices$ = new Observable((subscriber) => void this.#listen(interrupt, subscriber))
    }
  }

  /** Opens, configures and claims. Rejects with a typed error, and then nothing stays claimed. */
  static async open(device: USBDevice, face: CcidInterface, options: PipeOptions): Promise<WebUsbPipe> {
    const bulk = (direction: 'in' | 'out'): Endpoint | undefined =>
      face.endpoints.find((e) => e.type === 'bulk' && e.direction === direction && e.packetBytes > 0)
    const bulkIn = bulk('in')
    const bulkOut = bulk('out')
    if (bulkIn === undefined || bulkOut === undefined) {
      throw new ReaderNotSupportedError('The reader has no bulk endpoints, and says nothing of another way.')
    }
    await claim(device, face, options.reset)
    return new WebUsbPipe(device, face, bulkIn, bulkOut, options.isThere)
  }

  async send(message: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      for (let stalls = 0; ; ) {
        const result = await this.#device.transferOut(this.#out.number, message)
        if (result.status === 'ok') return
        // A stalled OUT has not delivered the message whole, so the reader cannot have acted on it: sending it
        // again cannot make the card do anything twice. Where the count says otherwise, it is not sent again.
        if (result.bytesWritten >= message.length || ++stalls > MAX_STALLS) {
          throw new TransferError(
            `The reader refused a message of ${message.length} bytes (${result.status}).`,
          )
        }
        await this.#device.clearHalt('out', this.#out.number)
      }
    } catch (error) {
      throw this.#failed(error)
    }
  }

  async receive(): Promise<Uint8Array> {
    if (this.#rest !== undefined) return this.#cut(this.#rest)
    try {
      for (let stalls = 0, empty = 0; ; ) {
        const { status, data } = await this.#transferIn('bulk', this.#in.number, this.#readBytes)
        if (status === 'ok') {
          // The zero-length packet behind an answer that filled its last packet.
          if (data !== undefined && data.byteLength > 0) {
            return this.#cut(viewOf(data))
          }
          if (++empty > MAX_EMPTY_READS)
            throw new TransferError('The reader sends nothing but empty packets.')
        } else if (status === 'babble') {
          throw new TransferError(`The reader sent more than ${this.#readBytes} bytes at once.`)
        } else {
          if (++stalls > MAX_STALLS) throw new TransferError('The reader stalls whenever its answer is read.')
          await this.#device.clearHalt('in', this.#in.number)
        }
      }
    } catch (error) {
      throw this.#failed(error)
    }
  }

  /**
   * Parts messages that came in one transfer: an answer of exactly n packets, for which a reader sent no
   * zero-length packet, and the next one behind it. Nowhere else can two messages meet.
   */
  #cut(bytes: Uint8Array): Uint8Array {
    this.#rest = undefined
    if (bytes.length <= this.#in.packetBytes || bytes.length < HEADER_BYTES) return bytes
    const messageBytes = declaredMessageBytes(bytes)
    if (messageBytes >= bytes.length || messageBytes % this.#in.packetBytes !== 0) return bytes
    this.#rest = bytes.subarray(messageBytes)
    return bytes.subarray(0, messageBytes)
  }

  async abort(slot: number, sequence: number): Promise<void> {
    try {
      const result = await this.#device.controlTransferOut({
        requestType: 'class',
        recipient: 'interface',
        request: 0x01,
        value: (sequence << 8) | slot,
        index: this.#interfaceNumber,
      })
      if (result.status !== 'ok') throw new TransferError(`The reader refused ABORT (${result.status}).`)
    } catch (error) {
      throw this.#failed(error)
    }
  }

  close(): Promise<void> {
    this.#finish({ why: 'closed', error: new ReaderGoneError() })
    this.#closing ??= releaseDevice(this.#device, this.#interfaceNumber)
    return this.#closing
  }

  /** The interrupt endpoint's own loop: its transfer is pending until the reader has something to tell. */
  async #listen(endpoint: Endpoint, notices: Subscriber<Uint8Array>): Promise<void> {
    let failures = 0
    try {
      while (this.#end === undefined && failures <= MAX_STALLS) {
        const { status, data } = await this.#transferIn('interrupt', endpoint.number, endpoint.packetBytes)
        if (status === 'ok' && data !== undefined && data.byteLength > 0) {
          failures = 0
          notices.next(viewOf(data))
        } else {
          failures++
          if (status !== 'ok') await this.#device.clearHalt('in', endpoint.number)
        }
      }
    } catch (error) {
      // Without notices the reader is polled; only a device that has left ends the pipe.
      if (this.#end === undefined && !(await this.#isThere())) this.#failed(error)
    }
    notices.complete()
  }

  /**
   * Chromium on Windows cancels a transfer that has been pending for long (whatwg/usb#176), and sleep may fail it. If the
   * device is there all the same it is begun again: a read asks nothing of the card, and what the reader has to say waits for it.
   */
  async #transferIn(
    type: keyof typeof BEGUN_AGAIN,
    endpoint: number,
    bytes: number,
  ): Promise<USBInTransferResult> {
    for (let brokenOff = 0; ; brokenOff++) {
      try {
        return await this.#device.transferIn(endpoint, bytes)
      } catch (error) {
        const isOver = !BEGUN_AGAIN[type].test((error as Error).name) || this.#end !== undefined
        if (isOver || !(await this.#isThere())) throw error
        // The pipe outlives that: who waits for a card polls from now on, who waits for an answer is told.
        if (brokenOff >= MAX_BROKEN_OFF)
          throw new TransferError('The browser breaks off each transfer.', { cause: error })
      }
    }
  }

  /** Translates, and ends the pipe where the device is gone. */
  #failed(error: unknown): Error {
    const translated = translateUsbError('transfer', error)
    if (translated instanceof ReaderGoneError) this.#finish({ why: 'gone', error: translated })
    return translated
  }

  #finish(end: PipeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#tellEnd(end)
    // No event tells of a permission taken back: the transfers fail, as if the reader was unplugged.
    if (end.why === 'gone') void this.#isThere()
  }
}
