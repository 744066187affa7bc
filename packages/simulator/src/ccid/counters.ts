/** Counters of a virtual reader for benchmarks. The reader counts, so the driver under test cannot affect the numbers. */

/** Counts the commands that reached the card, their bytes, and the USB transfers that they took. */
export class ReaderCounters {
  #apdus = 0
  #bytesToCard = 0
  #bytesFromCard = 0
  #usbTransfers = 0
  /** Number of bulk transfers since the reader was created. Never reset, so that earlier values stay comparable. */
  #transfers = 0
  #transfersBeforeFirst: number | undefined
  readonly #messages = new Map<string, number>()

  /** Number of command APDUs that the card executed. */
  get apdus(): number {
    return this.#apdus
  }

  /** Total length of the command APDUs, in bytes. */
  get bytesToCard(): number {
    return this.#bytesToCard
  }

  /** Total length of the response APDUs, in bytes. */
  get bytesFromCard(): number {
    return this.#bytesFromCard
  }

  /** Number of bulk transfers from the first block of the first APDU to the last block of the last response. */
  get usbTransfers(): number {
    return this.#usbTransfers
  }

  /** Number of CCID messages received, by name. */
  get messages(): ReadonlyMap<string, number> {
    return this.#messages
  }

  /** Resets all counters. */
  reset(): void {
    this.#apdus = 0
    this.#bytesToCard = 0
    this.#bytesFromCard = 0
    this.#usbTransfers = 0
    this.#transfersBeforeFirst = undefined
    this.#messages.clear()
  }

  /** Counts a bulk-OUT message. Returns the number of transfers that were complete before it. */
  messageReceived(message: string): number {
    this.#messages.set(message, (this.#messages.get(message) ?? 0) + 1)
    return this.#transfers++
  }

  /** Counts a complete bulk-IN transfer. */
  transferCompleted(): void {
    this.#transfers++
  }

  /** Counts a command that the card executed, and whose first block arrived after `transfersBefore` transfers. */
  commandExecuted(commandBytes: number, responseBytes: number, transfersBefore: number): void {
    this.#transfersBeforeFirst ??= transfersBefore
    this.#apdus++
    this.#bytesToCard += commandBytes
    this.#bytesFromCard += responseBytes
  }

  /** Called when the host has received a response of the card or a part of it. */
  responseReceived(): void {
    if (this.#transfersBeforeFirst !== undefined)
      this.#usbTransfers = this.#transfers - this.#transfersBeforeFirst
  }
}
