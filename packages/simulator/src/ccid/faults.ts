/** What can go wrong between a host and a card, where it strikes, and how it ends. */
import type { VirtualCard } from '../card.ts'
import type { MessageName } from './messages.ts'

/** Where a pulled card or cable strikes: before the card works, while it does (its answer is lost), or after its answer. */
export type FaultMoment = 'before' | 'during' | 'after'

/** How long a fault lasts; a reset is a power-on, a bus reset, or a new plugging-in. */
export type FaultEnd = 'once' | 'twice' | 'until-reset'

/** One fault. Struck elsewhere than in an XfrBlock, a card is pulled before the command is run. */
export type Fault = { readonly ends: FaultEnd } & (
  | {
      readonly kind: /** The IN endpoint stalls; the answer waits behind the halt. */
        | 'stall-in'
        /** The OUT endpoint stalls; the message is not taken. */
        | 'stall-out'
        /** The card does not answer, and has executed nothing. */
        | 'mute-card'
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
        /** An empty packet comes behind the answer, whatever its length. */
        | 'extra-empty-packet'
        /** An answer of whole packets is followed by no empty one. */
        | 'no-empty-packet'
        /** CMD_SLOT_BUSY: the slot is at work, and takes nothing. */
        | 'slot-busy'
        /** BUSY_WITH_AUTO_SEQUENCE: the reader is still about the card's activation, and takes nothing. */
        | 'auto-sequence'
        /** The card was out and in again: no power, and mute to the first power-on. */
        | 'reinserted'
        /** The computer slept: as after a bus reset, pending transfers fail, and the claim is kept. The message is lost. */
        | 'suspended'
        /** The ATR arrives with its last byte damaged. Strikes IccPowerOn, and nothing else. */
        | 'damaged-atr'
        /** The reader finds the ATR bad (BAD_ATR_TS). Strikes IccPowerOn, and nothing else. */
        | 'bad-atr'
        /** The card executes, the reader never answers. */
        | 'silent-reader'
    }
  | { readonly kind: 'card-pulled' | 'unplugged'; readonly moment: FaultMoment }
  | {
      readonly kind: /** XFR_OVERRUN between reader and card. */
        | 'overrun'
        /** XFR_PARITY_ERROR between reader and card. */
        | 'parity-error'
        /** HW_ERROR in the answer. */
        | 'hardware-error'
        /** A notice on the interrupt endpoint (6.3.2), and HW_ERROR in the answer. */
        | 'hardware-notice'
        /** The notice alone: the command is never answered. */
        | 'hardware-notice-alone'
      /** What the card got was damaged on its way there (it has executed nothing), or what it said on its way back. */
      readonly moment: 'before' | 'during'
    }
  | {
      /** Frames with foreign sequence numbers come before the answer. */
      readonly kind: 'stale-answer'
      /** How many. Default 1. */
      readonly frames?: number
    }
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
  /** Another card lies in the slot when the message comes, put there quicker than anybody looks. */
  | { readonly kind: 'card-swapped'; readonly card: VirtualCard }
)

/** The kinds of fault. */
export type FaultKind = Fault['kind']

/** When a fault strikes. */
export interface FaultTarget {
  /** How many of these messages pass unharmed before. Default 0. */
  readonly skip?: number
  /** Which message it strikes. Default 'XfrBlock'. */
  readonly on?: MessageName | 'any'
}

interface Scheduled {
  readonly fault: Fault
  readonly on: MessageName | 'any'
  skip: number
  hasBegun: boolean
  strikesLeft: number
}

/** Faults waiting to strike, in the order they were scheduled. */
export class FaultSchedule {
  #scheduled: Scheduled[] = []

  /** Strikes the next XfrBlock, or as the target says. */
  schedule(fault: Fault, { skip = 0, on = 'XfrBlock' }: FaultTarget = {}): void {
    const strikesLeft = { once: 1, twice: 2, 'until-reset': Number.POSITIVE_INFINITY }[fault.ends]
    this.#scheduled.push({ fault, on, skip, hasBegun: false, strikesLeft })
  }

  /** How many are still to strike. */
  get waiting(): number {
    return this.#scheduled.length
  }

  /** The fault that strikes this message. */
  next(message: MessageName | 'unknown' = 'XfrBlock'): Fault | undefined {
    const first = this.#scheduled.find(({ on }) => on === message || on === 'any')
    if (first === undefined) return undefined
    if (first.skip > 0) {
      first.skip--
      return undefined
    }
    first.hasBegun = true
    first.strikesLeft--
    if (first.strikesLeft === 0) this.#scheduled = this.#scheduled.filter((other) => other !== first)
    return first.fault
  }

  /** Takes back what has not struck yet. */
  clear(): void {
    this.#scheduled = []
  }

  /** A reset happened: what lasts until then is over, if it has begun. Powering a card mends exchanges with it, and no more. */
  wasReset(by: 'bus' | 'power' = 'bus'): void {
    this.#scheduled = this.#scheduled.filter(
      ({ fault, on, hasBegun }) =>
        fault.ends !== 'until-reset' || !hasBegun || (by === 'power' && on !== 'XfrBlock'),
    )
  }
}
