/** A source whose reading has started. A chunk is valid until the next one is pulled. */
export interface Chunks {
  next(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  /** Releases the source; no further chunk is pulled. */
  stop(): void
}
