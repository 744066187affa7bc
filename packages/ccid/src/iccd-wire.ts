/** The port between the two versions of ICCD and the control pipe. */

/** Fetches the answer to what was sent, however long the card works. */
export type IccdFetch = () => Promise<void>

/** What either version asks of the pipe, for one message. */
export interface IccdWire {
  readonly isOpen: boolean
  /** A class request with data out, which are overwritten once they have left. */
  out(request: number, value: number, data?: Uint8Array<ArrayBuffer>): Promise<void>
  in(request: number, lengthBytes: number): Promise<Uint8Array>
  wait(delayMs: number): Promise<void>
  /** Answers the message as a CCID would have: bMessageType, bStatus, bError, the byte behind it, abData. */
  tell(type: number, status: number, error?: number, parameter?: number, data?: Uint8Array): void
}
