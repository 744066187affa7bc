/** What a virtual reader may do with a virtual card: power it, and hand it command APDUs. */
export interface VirtualCard {
  readonly atr: Uint8Array
  /** Cold or warm reset: volatile state (selection, verified PINs, chaining) is lost. */
  reset(kind: 'cold' | 'warm'): void
  powerOff(): void
  /** Executes one command APDU; resolves to data and SW1 SW2. Never rejects for what the terminal sends. */
  process(command: Uint8Array): Promise<Uint8Array>
  /** Longest command APDU it takes, in bytes; absent: 65544. */
  readonly maxCommandBytes?: number
}

/** One line of a card's own log: which commands it executed, and how it answered. */
export interface CardLogEntry {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  readonly dataBytes: number
  readonly sw: number
}
