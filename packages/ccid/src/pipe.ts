/** The port between CCID messages and the wire that carries them. */
import type { WebtokiError } from '@webtoki/apdu'
import type { Observable } from 'rxjs'

/** Why a pipe carries nothing any more. */
export interface PipeEnd {
  readonly why: 'closed' | 'gone'
  readonly error: WebtokiError
}

/** Whole CCID messages out and in. Knows packets and endpoints, knows no message type. */
export interface CcidPipe {
  /** Fulfils once, never rejects: the first cause wins. */
  readonly ended: Promise<PipeEnd>
  /**
   * Interrupt-IN; undefined where the interface has no such endpoint. Subscribed to once, which starts the reading;
   * completes when it can tell no more.
   */
  readonly notices$: Observable<Uint8Array> | undefined
  /** Resolves when the whole message has left. Rejects with TransferError where it certainly has not. */
  send(message: Uint8Array<ArrayBuffer>): Promise<void>
  /** The next message, not yet decoded and never empty. Called by one loop only. */
  receive(): Promise<Uint8Array>
  /** The class request ABORT on the control pipe (CCID 1.1, 5.3.1). */
  abort(slot: number, sequence: number): Promise<void>
  /** Releases everything; idempotent. */
  close(): Promise<void>
}
