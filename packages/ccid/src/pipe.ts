/** The port between CCID messages and the USB endpoints that carry them. */
import type { WebtokiError } from '@webtoki/apdu'
import type { Observable } from 'rxjs'

/** Why a pipe has ended. */
export interface PipeEnd {
  readonly reason: 'closed' | 'gone'
  readonly error: WebtokiError
}

/** Carries complete CCID messages in both directions. Handles packets and endpoints, not message types. */
export interface CcidPipe {
  /** Fulfils once with the first cause. Never rejects. */
  readonly ended: Promise<PipeEnd>
  /**
   * Messages of interrupt-IN; undefined if the interface has no such endpoint. Cold: the only subscription starts the
   * reading. Completes when the endpoint can no longer be read.
   */
  readonly interruptMessages$: Observable<Uint8Array> | undefined
  /** Resolves when the whole message has been sent. Rejects with TransferError if it certainly has not. */
  send(message: Uint8Array<ArrayBuffer>): Promise<void>
  /** Resolves to the next message: not decoded, never empty. Only one loop calls this. */
  receive(): Promise<Uint8Array>
  /** Sends the class request ABORT on the control pipe (CCID 1.1, 5.3.1). */
  abort(slot: number, sequence: number): Promise<void>
  /** Releases the interface. Idempotent. */
  close(): Promise<void>
}
