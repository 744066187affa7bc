/** The port between the two ICCD versions and the control pipe. */

/** Fetches the response to what was sent, however long the card takes. */
export type FetchResponse = () => Promise<void>

/** The part of the pipe that an ICCD version uses for one message. */
export interface IccdWire {
  readonly isOpen: boolean
  /** Sends a class request. Overwrites `data` afterwards. */
  out(request: number, value: number, data?: Uint8Array<ArrayBuffer>): Promise<void>
  in(request: number, lengthBytes: number): Promise<Uint8Array>
  wait(delayMs: number): Promise<void>
  /**
   * Responds to the message as a CCID reader would: bMessageType, bStatus, bError, the byte before abData, abData.
   */
  respond(type: number, status: number, error?: number, parameter?: number, data?: Uint8Array): void
}
