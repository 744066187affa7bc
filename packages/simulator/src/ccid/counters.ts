/** What the bench reads: counted where the bytes pass, by nobody who has an interest in the result. */

/**
 * Command APDUs that reached the card, their bytes and those of the answers, and the bulk transfers completed between
 * the first APDU and the last, theirs included.
 */
export class ReaderCounters {
  #apdus = 0
  #bytesToCard = 0
  #bytesFromCard = 0
  #usbTransfers = 0
  /** Bulk transfers since the reader was made; never set back, so that marks stay good. */
  #transfers = 0
  #transfersBeforeFirst: number | undefined
  readonly #messages = new Map<string, number>()

  get apdus(): number {
    return this.#apdus
  }

  get bytesToCard(): number {
    return this.#bytesToCard
  }

  get bytesFromCard(): number {
    return this.#bytesFromCard
  }

  get usbTransfers(): number {
    return this.#usbTransfers
  }

  /** How often each CCID message came, by the standard's name. */
  get messages(): ReadonlyMap<string, number> {
    return this.#messages
  }

  /** Starts anew. */
  reset(): void {
    this.#apdus = 0
    this.#bytesToCard = 0
    this.#bytesFromCard = 0
    this.#usbTransfers = 0
    this.#transfersBeforeFirst = undefined
    this.#messages.clear()
  }

  /** A message arrived by a bulk-OUT transfer of its own; how many transfers were completed before it. */
  arrived(message: string): number {
    this.#messages.set(message, (this.#messages.get(message) ?? 0) + 1)
    return this.#transfers++
  }

  /** A bulk-IN transfer was completed. */
  transferred(): void {
    this.#transfers++
  }

  /** The card executed a command whose first block came after so many transfers. */
  executed(commandBytes: number, responseBytes: number, transfersBefore: number): void {
    this.#transfersBeforeFirst ??= transfersBefore
    this.#apdus++
    this.#bytesToCard += commandBytes
    this.#bytesFromCard += responseBytes
  }

  /** The host has taken an answer, or a part of one, of the card's. */
  responseTaken(): void {
    if (this.#transfersBeforeFirst !== undefined)
      this.#usbTransfers = this.#transfers - this.#transfersBeforeFirst
  }
}
