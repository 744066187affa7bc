/** What can go wrong between a host and a card, and how it ends. */

/** Where a pulled card or cable strikes: before the card works, while it does (its answer is lost), or after its answer. */
export type FaultMoment = 'before' | 'during' | 'after'

/** How long a fault lasts; a reset is a power-on, a bus reset, or a new plugging-in. */
export type FaultEnd = 'once' | 'twice' | 'until-reset'

/** One fault. Each strikes an XfrBlock. */
export type Fault = { readonly ends: FaultEnd } & (
  | {
      readonly kind: /** The IN endpoint stalls; the answer waits behind the halt. */
        | 'stall-in'
        /** The OUT endpoint stalls; the message is not taken. */
        | 'stall-out'
        /** The card does not answer, and has executed nothing. */
        | 'mute-card'
        /** A frame with a foreign sequence number comes before the answer. */
        | 'stale-answer'
        /** The answer ends before its declared length. */
        | 'truncated-message'
        /** The answer declares five bytes more than it has. */
        | 'wrong-length'
        /** The answer declares 4 GB. */
        | 'huge-length'
        /** One byte comes in place of a message. */
        | 'one-byte-message'
        /** The card's answer is one byte long. */
        | 'one-byte-response'
        /** An empty packet comes before the answer. */
        | 'empty-packet'
        /** The card executes, the reader never answers. */
        | 'silent-reader'
    }
  | { readonly kind: 'card-pulled' | 'unplugged'; readonly moment: FaultMoment }
  | {
      readonly kind: 'time-extension'
      /** How many frames ask for more time before the answer. Default 3. */
      readonly frames?: number
      /** bError of each. Default 1. */
      readonly multiplier?: number
      /** Between two frames, in milliseconds. Default 0. */
      readonly delayMs?: number
    }
  | { readonly kind: 'slow-card'; readonly delayMs: number }
)

/** The kinds of fault. */
export type FaultKind = Fault['kind']

interface Scheduled {
  readonly fault: Fault
  skip: number
  strikesLeft: number
}

/** Faults waiting to strike, in the order they were scheduled. */
export class FaultSchedule {
  #scheduled: Scheduled[] = []

  /** Strikes the next XfrBlock, or the one after `skip` others. */
  schedule(fault: Fault, options: { readonly skip?: number } = {}): void {
    const strikes = { once: 1, twice: 2, 'until-reset': Number.POSITIVE_INFINITY }[fault.ends]
    this.#scheduled.push({ fault, skip: options.skip ?? 0, strikesLeft: strikes })
  }

  /** How many are still to strike. */
  get waiting(): number {
    return this.#scheduled.length
  }

  /** The fault that strikes this XfrBlock. */
  next(): Fault | undefined {
    const [first] = this.#scheduled
    if (first === undefined) return undefined
    if (first.skip > 0) {
      first.skip--
      return undefined
    }
    first.strikesLeft--
    if (first.strikesLeft === 0) this.#scheduled.shift()
    return first.fault
  }

  /** A reset happened: what lasts until then is over, if it has begun. */
  wasReset(): void {
    this.#scheduled = this.#scheduled.filter(({ fault, skip }) => fault.ends !== 'until-reset' || skip > 0)
  }
}
