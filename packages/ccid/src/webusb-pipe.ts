/** A `CcidPipe` over the bulk and interrupt endpoints of a WebUSB device. CCID 1.1, 4.3; WebUSB. */
import { claim, releaseDevice, translateUsbError } from '@webtoki/device'
import { ReaderGoneError, ReaderNotSupportedError, TransferError, viewOf } from '@webtoki/apdu'
import { Observable, type Subscriber } from 'rxjs'
import type { CcidInterface, Endpoint } from './descriptors.ts'
import { declaredMessageBytes, HEADER_BYTES } from './messages.ts'
import type { CcidPipe, PipeEnd } from './pipe.ts'

/** Limits for consecutive stalls and consecutive empty packets. */
const MAX_STALLS = 2
const MAX_EMPTY_READS = 8
/** Without a limit, a device whose transfers fail at once would keep the page busy forever. */
const MAX_RETRIES = 100
/**
 * On bulk-IN a NetworkError may have lost part of a response, so only AbortError is retried. A lost interrupt message
 * is made up for by the next status request.
 */
const RETRIED_ERRORS = { bulk: /^AbortError$/, interrupt: /^(Abort|Network)Error$/ }

/** Some descriptors state less than the reader sends, and a response longer than requested is lost as `babble`. */
const MIN_READ_BYTES = 271
/** The longest extended APDU with its header. A descriptor may claim 4 GB. */
const MAX_READ_BYTES = 65_544 + HEADER_BYTES

/** Options for opening a pipe. */
export interface PipeOptions {
  /** Reset the device first, because it no longer responds. */
  readonly reset: boolean
  /** Resolves to whether the page may still use the device. If not, the source removes the device's readers. */
  readonly isAvailable: () => Promise<boolean>
}

/** One claimed CCID interface. */
export class WebUsbPipe implements CcidPipe {
  readonly ended: Promise<PipeEnd>
  readonly interruptMessages$: Observable<Uint8Array> | undefined
  readonly #device: USBDevice
  readonly #interfaceNumber: number
  readonly #in: Endpoint
  readonly #out: Endpoint
  readonly #readBytes: number
  readonly #isAvailable: PipeOptions['isAvailable']
  #end: PipeEnd | undefined
  #resolveEnded!: (end: PipeEnd) => void
  #closing: Promise<void> | undefined
  #remaining: Uint8Array | undefined

  private constructor(
    device: USBDevice,
    usbInterface: CcidInterface,
    bulkIn: Endpoint,
    bulkOut: Endpoint,
    isAvailable: PipeOptions['isAvailable'],
  ) {
    this.#device = device
    this.#isAvailable = isAvailable
    this.#interfaceNumber = usbInterface.interfaceNumber
    this.#in = bulkIn
    this.#out = bulkOut
    // Reads whole packets, because a partial last packet would babble. A shorter response that ends on a packet
    // boundary is followed by the reader's zero-length packet. If a reader sends none, the read stays pending until
    // the next packet: the exchange times out, and `receive` splits what arrives together.
    const readBytes = Math.min(
      Math.max(usbInterface.descriptor.maxMessageBytes, MIN_READ_BYTES),
      MAX_READ_BYTES,
    )
    this.#readBytes = Math.ceil(readBytes / bulkIn.packetBytes) * bulkIn.packetBytes
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    const interrupt = usbInterface.endpoints.find(
      (e) => e.type === 'interrupt' && e.direction === 'in' && e.packetBytes > 0,
    )
    if (interrupt !== undefined) {
      this.interruptMessages$ = new Observable((subscriber) => void this.#listen(interrupt, subscriber))
    }
  }

  /** Opens the device and claims the interface. Rejects with a typed error, and then leaves nothing claimed. */
  static async open(
    device: USBDevice,
    usbInterface: CcidInterface,
    options: PipeOptions,
  ): Promise<WebUsbPipe> {
    const bulk = (direction: 'in' | 'out'): Endpoint | undefined =>
      usbInterface.endpoints.find((e) => e.type === 'bulk' && e.direction === direction && e.packetBytes > 0)
    const bulkIn = bulk('in')
    const bulkOut = bulk('out')
    if (bulkIn === undefined || bulkOut === undefined) {
      throw new ReaderNotSupportedError('The reader has no bulk endpoints and is not an ICCD device.')
    }
    await claim(device, usbInterface, options.reset)
    return new WebUsbPipe(device, usbInterface, bulkIn, bulkOut, options.isAvailable)
  }

  async send(message: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      for (let stalls = 0; ; ) {
        const result = await this.#device.transferOut(this.#out.number, message)
        if (result.status === 'ok') return
        // A stalled OUT transfer has not delivered the whole message, so the reader cannot have acted on it, and
        // sending it again is safe. If the count says that all bytes were written, it is not sent again.
        if (result.bytesWritten >= message.length || ++stalls > MAX_STALLS) {
          throw new TransferError(
            `The reader did not accept a message of ${message.length} bytes (${result.status}).`,
          )
        }
        await this.#device.clearHalt('out', this.#out.number)
      }
    } catch (error) {
      throw this.#onTransferError(error)
    }
  }

  async receive(): Promise<Uint8Array> {
    if (this.#remaining !== undefined) return this.#splitMessage(this.#remaining)
    try {
      for (let stalls = 0, empty = 0; ; ) {
        const { status, data } = await this.#transferIn('bulk', this.#in.number, this.#readBytes)
        if (status === 'ok') {
          // A zero-length packet follows a response that filled its last packet.
          if (data !== undefined && data.byteLength > 0) {
            return this.#splitMessage(viewOf(data))
          }
          if (++empty > MAX_EMPTY_READS)
            throw new TransferError('The reader sends only empty packets; plug it in again.')
        } else if (status === 'babble') {
          throw new TransferError(`The reader sent more than ${this.#readBytes} bytes in one transfer.`)
        } else {
          if (++stalls > MAX_STALLS)
            throw new TransferError('The reader stalls each time a response is read; plug it in again.')
          await this.#device.clearHalt('in', this.#in.number)
        }
      }
    } catch (error) {
      throw this.#onTransferError(error)
    }
  }

  /**
   * Splits messages that arrived in one transfer: a response of exactly n packets, for which the reader sent no
   * zero-length packet, and the next response. Two messages cannot meet in any other way.
   */
  #splitMessage(bytes: Uint8Array): Uint8Array {
    this.#remaining = undefined
    if (bytes.length <= this.#in.packetBytes || bytes.length < HEADER_BYTES) return bytes
    const messageBytes = declaredMessageBytes(bytes)
    if (messageBytes >= bytes.length || messageBytes % this.#in.packetBytes !== 0) return bytes
    this.#remaining = bytes.subarray(messageBytes)
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
      if (result.status !== 'ok') throw new TransferError(`The reader rejected ABORT (${result.status}).`)
    } catch (error) {
      throw this.#onTransferError(error)
    }
  }

  close(): Promise<void> {
    this.#finish({ reason: 'closed', error: new ReaderGoneError() })
    this.#closing ??= releaseDevice(this.#device, this.#interfaceNumber)
    return this.#closing
  }

  /** The read loop of the interrupt endpoint. Its transfer is pending until the reader reports something. */
  async #listen(endpoint: Endpoint, subscriber: Subscriber<Uint8Array>): Promise<void> {
    let failures = 0
    try {
      while (this.#end === undefined && failures <= MAX_STALLS) {
        const { status, data } = await this.#transferIn('interrupt', endpoint.number, endpoint.packetBytes)
        if (status === 'ok' && data !== undefined && data.byteLength > 0) {
          failures = 0
          subscriber.next(viewOf(data))
        } else {
          failures++
          if (status !== 'ok') await this.#device.clearHalt('in', endpoint.number)
        }
      }
    } catch (error) {
      // Without interrupt messages the slots are polled. The pipe ends only if the device is gone.
      if (this.#end === undefined && !(await this.#isAvailable())) this.#onTransferError(error)
    }
    subscriber.complete()
  }

  /**
   * Chromium on Windows cancels a transfer that has been pending for long (https://github.com/whatwg/usb/issues/176),
   * and sleep may also end it. If the device is still there, the transfer is repeated: reading does not affect the
   * card, and the reader keeps its message until then.
   */
  async #transferIn(
    type: keyof typeof RETRIED_ERRORS,
    endpoint: number,
    bytes: number,
  ): Promise<USBInTransferResult> {
    for (let retries = 0; ; retries++) {
      try {
        return await this.#device.transferIn(endpoint, bytes)
      } catch (error) {
        const isOver = !RETRIED_ERRORS[type].test((error as Error).name) || this.#end !== undefined
        if (isOver || !(await this.#isAvailable())) throw error
        // The pipe survives this error. On the interrupt endpoint, polling takes over; on bulk-IN, the request fails.
        if (retries >= MAX_RETRIES)
          throw new TransferError('The browser cancels each transfer; plug the reader in again.', {
            cause: error,
          })
      }
    }
  }

  /** Translates the error, and ends the pipe if the device is gone. */
  #onTransferError(error: unknown): Error {
    const translated = translateUsbError('transfer', error)
    if (translated instanceof ReaderGoneError) this.#finish({ reason: 'gone', error: translated })
    return translated
  }

  #finish(end: PipeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#resolveEnded(end)
    // The browser sends no event when a permission is revoked: the transfers fail as if the reader had been
    // unplugged.
    if (end.reason === 'gone') void this.#isAvailable()
  }
}
