/** A source that has been begun. A chunk is good until the next one is pulled. */
export interface Chunks {
  next(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  /** Lets the source go: it need give no more. */
  stop(): void
}
