/**
 * The interface between a virtual reader and a virtual card: power, reset and command APDUs (ISO/IEC 7816-3 and
 * 7816-4).
 */

/** A virtual card, as a virtual reader sees it. */
export interface VirtualCard {
  /** The answer to reset. */
  readonly atr: Uint8Array
  /** Resets the card. It loses its volatile state: selection, verified PINs and unfinished chains. */
  reset(kind: 'cold' | 'warm'): void
  /** Removes the power. The card loses the same state as at a reset. */
  powerOff(): void
  /**
   * Executes one command APDU and resolves to the response data followed by SW1 SW2. Does not reject because of a
   * malformed command.
   */
  process(command: Uint8Array): Promise<Uint8Array>
  /** Length of the longest command APDU that the card accepts, in bytes. Default 65544. */
  readonly maxCommandBytes?: number
}

/** One entry of a card's log: the header of a command that it executed, and the status word that it returned. */
export interface CardLogEntry {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  /** Length of the command's data field, in bytes. */
  readonly dataBytes: number
  readonly sw: number
}
