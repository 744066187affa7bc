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
  #transfersSinceFirst: number | undefined
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
    this.#transfersSinceFirst = undefined
    this.#messages.clear()
  }

  /** A message arrived by a bulk-OUT transfer of its own. */
  arrived(message: string): void {
    this.#messages.set(message, (this.#messages.get(message) ?? 0) + 1)
    if (message === 'XfrBlock') this.#transfersSinceFirst ??= 0
    this.transferred()
  }

  /** A bulk transfer was completed. */
  transferred(): void {
    if (this.#transfersSinceFirst !== undefined) this.#transfersSinceFirst++
  }

  /** The host has taken an answer that belongs to an APDU. */
  answerTaken(): void {
    this.#usbTransfers = this.#transfersSinceFirst ?? 0
  }

  /** The card executed a command. */
  executed(commandBytes: number, responseBytes: number): void {
    this.#apdus++
    this.#bytesToCard += commandBytes
    this.#bytesFromCard += responseBytes
  }
}
