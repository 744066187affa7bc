/** Faults that tests inject between a host and a card: their kinds, when they apply and how they end (CCID 1.1, 6). */
import { join, uint32le } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import type { InQueue } from '../usb/in-queue.ts'
import {
  CcidError,
  DATA_BLOCK,
  encodeResponse,
  HARDWARE_ERROR,
  HEADER_BYTES,
  type MessageName,
  OVERCURRENT,
} from './messages.ts'

/**
 * When a card or reader is removed: before the card executes the command, during it (the response is lost), or after
 * the response.
 */
export type FaultMoment = 'before' | 'during' | 'after'

/** How long a fault lasts. A reset is a power-on, a bus reset or a reconnection of the reader. */
export type FaultEnd = 'once' | 'twice' | 'until-reset'

/** A fault. If a card is to be removed during a message other than XfrBlock, it is removed before it. */
export type Fault = { readonly ends: FaultEnd } & (
  | {
      readonly kind: /** The IN endpoint stalls. The response follows after the host clears the halt. */
        | 'stall-in'
        /** The OUT endpoint stalls. The reader does not accept the message. */
        | 'stall-out'
        /** The card does not respond and does not execute the command. */
        | 'mute-card'
        /** The response is shorter than its declared length. */
        | 'truncated-message'
        /** The response declares five bytes more than it has. */
        | 'wrong-length'
        /** The response declares a length of 4 GB. */
        | 'huge-length'
        /** The response message is one byte long. */
        | 'one-byte-message'
        /** The card's response APDU is one byte long. */
        | 'one-byte-response'
        /** An empty packet precedes the response. */
        | 'empty-packet'
        /** An empty packet follows the response, regardless of its length. */
        | 'extra-empty-packet'
        /** No empty packet follows a response that ends with a full packet. */
        | 'no-empty-packet'
        /** CMD_SLOT_BUSY: the slot is busy and rejects the message. */
        | 'slot-busy'
        /** BUSY_WITH_AUTO_SEQUENCE: the reader is still activating the card and rejects the message. */
        | 'auto-sequence'
        /** The card was removed and inserted again. It has no power and is mute at the first power-on. */
        | 'reinserted'
        /**
         * The computer was suspended. As at a bus reset, pending transfers fail; the claim is kept, and the message is
         * lost.
         */
        | 'suspended'
        /** The last byte of the ATR is wrong. Affects IccPowerOn only. */
        | 'damaged-atr'
        /** The reader rejects the ATR with BAD_ATR_TS. Affects IccPowerOn only. */
        | 'bad-atr'
        /** The card executes the command, and the reader never responds. */
        | 'silent-reader'
    }
  | { readonly kind: 'card-pulled' | 'unplugged'; readonly moment: FaultMoment }
  | {
      readonly kind: /** XFR_OVERRUN between reader and card. */
        | 'overrun'
        /** XFR_PARITY_ERROR between reader and card. */
        | 'parity-error'
        /** HW_ERROR in the response. */
        | 'hardware-error'
        /** A HardwareError notification on the interrupt endpoint (6.3.2), and HW_ERROR in the response. */
        | 'hardware-notice'
        /** Only the HardwareError notification, without a response. */
        | 'hardware-notice-alone'
      /**
       * 'before': the command was damaged and the card did not execute it. 'during': the card executed it and its
       * response was damaged.
       */
      readonly moment: 'before' | 'during'
    }
  | {
      /** Messages with earlier sequence numbers precede the response. */
      readonly kind: 'stale-response'
      /** Number of stale messages. Default 1. */
      readonly frames?: number
    }
  | {
      readonly kind: 'time-extension'
      /** Number of time extension requests before the response. Default 3. */
      readonly frames?: number
      /** bError of each request: the multiplier of the waiting time. Default 1. */
      readonly multiplier?: number
      /** Delay after each request, in milliseconds. Default 0. */
      readonly delayMs?: number
    }
  | { readonly kind: 'slow-card'; readonly delayMs: number }
  /** Another card is in the slot when the message arrives, exchanged faster than the host can notice. */
  | { readonly kind: 'card-swapped'; readonly card: VirtualCard }
)

/** The kinds of fault. */
export type FaultKind = Fault['kind']

/** The message to which a fault applies. */
export interface FaultTarget {
  /** Number of matching messages to skip. Default 0. */
  readonly skip?: number
  /** The type of message. Default 'XfrBlock'. */
  readonly on?: MessageName | 'any'
}

interface Scheduled {
  readonly fault: Fault
  readonly on: MessageName | 'any'
  skip: number
  hasBegun: boolean
  remaining: number
}

/**
 * The pending faults of a reader, in the order in which they were scheduled.
 *
 * ```ts
 * reader.faults.schedule({ kind: 'mute-card', ends: 'once' }, { skip: 2 })
 * ```
 */
export class FaultSchedule {
  #scheduled: Scheduled[] = []

  /** Schedules a fault for the next XfrBlock, or for another message given by the target. */
  schedule(fault: Fault, { skip = 0, on = 'XfrBlock' }: FaultTarget = {}): void {
    const remaining = { once: 1, twice: 2, 'until-reset': Number.POSITIVE_INFINITY }[fault.ends]
    this.#scheduled.push({ fault, on, skip, hasBegun: false, remaining })
  }

  /** Number of pending faults. */
  get waiting(): number {
    return this.#scheduled.length
  }

  /** Returns the fault for the next message of this type, if any, and counts it. */
  next(message: MessageName | 'unknown' = 'XfrBlock'): Fault | undefined {
    const first = this.#scheduled.find(({ on }) => on === message || on === 'any')
    if (first === undefined) return undefined
    if (first.skip > 0) {
      first.skip--
      return undefined
    }
    first.hasBegun = true
    first.remaining--
    if (first.remaining === 0) this.#scheduled = this.#scheduled.filter((other) => other !== first)
    return first.fault
  }

  /** Removes all pending faults. */
  clear(): void {
    this.#scheduled = []
  }

  /**
   * Called after a reset. Ends the faults that last until a reset and have begun. Powering a card ends only faults of
   * XfrBlock.
   */
  wasReset(by: 'bus' | 'power' = 'bus'): void {
    this.#scheduled = this.#scheduled.filter(
      ({ fault, on, hasBegun }) =>
        fault.ends !== 'until-reset' || !hasBegun || (by === 'power' && on !== 'XfrBlock'),
    )
  }
}

/** The operations of a reader that faults need. */
export interface FaultyReader {
  insert(card: VirtualCard, slot: number): void
  remove(slot: number): void
  reinsert(slot: number): void
  unplug(): void
  suspend(): void
}

/** The properties of a command that faults need. */
export interface FaultyCommand {
  readonly name: MessageName | 'unknown'
  readonly slot: number
  readonly sequence: number
}

/** Returns true if the fault removes the card or the reader at this moment. */
export function isPulledAt(fault: Fault | undefined, moment: FaultMoment): boolean {
  return (fault?.kind === 'card-pulled' || fault?.kind === 'unplugged') && fault.moment === moment
}

/** Removes the card or unplugs the reader. Returns true if the reader is gone and cannot respond. */
export function applyRemoval(fault: Fault | undefined, slot: number, reader: FaultyReader): boolean {
  if (fault?.kind === 'card-pulled') reader.remove(slot)
  if (fault?.kind !== 'unplugged') return false
  reader.unplug()
  return true
}

/** Applies a fault before a command is executed. Returns true if the reader cannot respond any more. */
export function applyBefore(
  fault: Fault | undefined,
  { name, slot }: FaultyCommand,
  reader: FaultyReader,
): boolean {
  // Only in an XfrBlock does the card execute something during which it can be removed.
  if (isPulledAt(fault, 'before') || (isPulledAt(fault, 'during') && name !== 'XfrBlock'))
    return applyRemoval(fault, slot, reader)
  if (fault?.kind === 'reinserted') reader.reinsert(slot)
  if (fault?.kind === 'card-swapped') reader.insert(fault.card, slot)
  if (fault?.kind !== 'suspended') return false
  reader.suspend()
  return true
}

/** Returns true if the fault delays the command. */
export function isSlow(fault: Fault | undefined): boolean {
  return fault?.kind === 'slow-card' || fault?.kind === 'time-extension'
}

/**
 * Waits as long as the fault requires. `extend` requests a time extension and returns false if the command was aborted.
 */
export async function applyDelay(
  fault: Fault | undefined,
  wait: (delayMs: number) => Promise<void>,
  extend: (multiplier: number) => boolean,
): Promise<void> {
  if (fault?.kind === 'slow-card') await wait(fault.delayMs)
  if (fault?.kind !== 'time-extension') return
  for (let sent = 0; sent < (fault.frames ?? 3) && extend(fault.multiplier ?? 1); sent++)
    await wait(fault.delayMs ?? 0)
}

/** The bError of each fault that fails a command (table 6.2-2). */
const faultErrors: ReadonlyMap<FaultKind | undefined, number> = new Map([
  ['mute-card', CcidError.ICC_MUTE],
  ['slot-busy', CcidError.CMD_SLOT_BUSY],
  ['auto-sequence', CcidError.BUSY_WITH_AUTO_SEQUENCE],
  ['overrun', CcidError.XFR_OVERRUN],
  ['parity-error', CcidError.XFR_PARITY_ERROR],
  ['hardware-error', CcidError.HW_ERROR],
  ['hardware-notice', CcidError.HW_ERROR],
  ['hardware-notice-alone', CcidError.HW_ERROR],
])

/**
 * Returns the bError with which the fault fails a command. With 'during', only for faults after the card has executed
 * the command.
 */
export function errorOf(fault: Fault | undefined, moment?: 'during'): number | undefined {
  const isDuring = fault !== undefined && 'moment' in fault && fault.moment === 'during'
  return moment === 'during' && !isDuring ? undefined : faultErrors.get(fault?.kind)
}

/** Returns true if the card executes the command before the fault applies. */
export function appliesDuring(fault: Fault | undefined, { name }: FaultyCommand): boolean {
  return name === 'XfrBlock' && errorOf(fault, 'during') !== undefined
}

/** Returns the HardwareError notification of a fault (6.3.2), and whether it replaces the response. */
export function hardwareNotificationOf(
  fault: Fault | undefined,
  { slot, sequence }: FaultyCommand,
): { readonly notice: Uint8Array; readonly isAlone: boolean } | undefined {
  if (fault?.kind !== 'hardware-notice' && fault?.kind !== 'hardware-notice-alone') return undefined
  const notice = Uint8Array.of(HARDWARE_ERROR, slot, sequence, OVERCURRENT)
  return { notice, isAlone: fault.kind === 'hardware-notice-alone' }
}

/** Returns the ATR as the host receives it, or undefined if the reader rejects it. */
export function applyToAtr(fault: Fault | undefined, atr: Uint8Array): Uint8Array | undefined {
  if (fault?.kind === 'bad-atr') return undefined
  return fault?.kind === 'damaged-atr'
    ? atr.map((byte, at) => byte ^ (at === atr.length - 1 ? 0xff : 0))
    : atr
}

/**
 * Returns the card's response as the reader forwards it. With 'one-byte-response', an empty response becomes one byte
 * too.
 */
export function applyToResponse(fault: Fault | undefined, response: Uint8Array): Uint8Array {
  if (fault?.kind !== 'one-byte-response') return response
  return response.length === 0 ? new Uint8Array(1) : response.slice(-1)
}

/** Sends a response to the host, with the packets that the fault adds before and after it. */
export function deliver(
  fault: Fault | undefined,
  { slot, sequence }: FaultyCommand,
  message: Uint8Array,
  queue: InQueue,
  sendsEmptyPackets: boolean,
  delivered: () => void,
): void {
  if (fault?.kind === 'stall-in') queue.sendStall()
  if (fault?.kind === 'empty-packet') queue.sendPacket(new Uint8Array(0))
  if (fault?.kind === 'stale-response') {
    for (let before = fault.frames ?? 1; before > 0; before--) {
      const stale = { slot, sequence: (sequence - before) & 0xff }
      queue.sendMessage(encodeResponse(stale, DATA_BLOCK, 0, 0, 0, Uint8Array.of(0x90, 0)), false)
    }
  }
  queue.sendMessage(
    damaged(fault, message),
    sendsEmptyPackets && fault?.kind !== 'no-empty-packet',
    delivered,
  )
  if (fault?.kind === 'extra-empty-packet') queue.sendPacket(new Uint8Array(0))
}

function damaged(fault: Fault | undefined, message: Uint8Array): Uint8Array {
  const declaring = (bytes: number): Uint8Array =>
    join(message.slice(0, 1), uint32le(bytes), message.slice(5))
  switch (fault?.kind) {
    case 'truncated-message':
      return message.slice(0, -1)
    case 'wrong-length':
      return declaring(message.length - HEADER_BYTES + 5)
    case 'huge-length':
      return declaring(0xffff_ffff)
    case 'one-byte-message':
      return message.slice(0, 1)
    default:
      return message
  }
}
