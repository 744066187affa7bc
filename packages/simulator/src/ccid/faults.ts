/** What can go wrong between a host and a card, where it strikes, and how it ends. */
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
  remaining: number
}

/** Faults waiting to strike, in the order they were scheduled. */
export class FaultSchedule {
  #scheduled: Scheduled[] = []

  /** Strikes the next XfrBlock, or as the target says. */
  schedule(fault: Fault, { skip = 0, on = 'XfrBlock' }: FaultTarget = {}): void {
    const strikesLeft = { once: 1, twice: 2, 'until-reset': Number.POSITIVE_INFINITY }[fault.ends]
    this.#scheduled.push({ fault, on, skip, hasBegun: false, remaining: strikesLeft })
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
    first.remaining--
    if (first.remaining === 0) this.#scheduled = this.#scheduled.filter((other) => other !== first)
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

/** The reader that a fault strikes, as far as the fault reaches. */
export interface FaultyReader {
  insert(card: VirtualCard, slot: number): void
  remove(slot: number): void
  reinsert(slot: number): void
  unplug(): void
  suspend(): void
}

/** A command as a fault sees it. */
export interface FaultyCommand {
  readonly name: MessageName | 'unknown'
  readonly slot: number
  readonly sequence: number
}

/** Whether the card or the cable is pulled at this moment. */
export function isPulledAt(fault: Fault | undefined, moment: FaultMoment): boolean {
  return (fault?.kind === 'card-pulled' || fault?.kind === 'unplugged') && fault.moment === moment
}

/** The card or the whole reader goes; true if nobody is left to answer. */
export function applyRemoval(fault: Fault | undefined, slot: number, reader: FaultyReader): boolean {
  if (fault?.kind === 'card-pulled') reader.remove(slot)
  if (fault?.kind !== 'unplugged') return false
  reader.unplug()
  return true
}

/** Before a command is run; true if nobody is left to answer. */
export function applyBefore(
  fault: Fault | undefined,
  { name, slot }: FaultyCommand,
  reader: FaultyReader,
): boolean {
  // Only an APDU gives the card something to be pulled from.
  if (isPulledAt(fault, 'before') || (isPulledAt(fault, 'during') && name !== 'XfrBlock'))
    return applyRemoval(fault, slot, reader)
  if (fault?.kind === 'reinserted') reader.reinsert(slot)
  if (fault?.kind === 'card-swapped') reader.insert(fault.card, slot)
  if (fault?.kind !== 'suspended') return false
  reader.suspend()
  return true
}

/** Whether the command runs later than it came. */
export function isSlow(fault: Fault | undefined): boolean {
  return fault?.kind === 'slow-card' || fault?.kind === 'time-extension'
}

/** What a slow card waits for; `extend` asks the host for more time, and says whether somebody still waits. */
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

/** Faults that end a command with an error of its own, and the error (table 6.2-2). */
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

/** The bError that a command ends with, by the moment: `during`, the card has executed it. */
export function errorOf(fault: Fault | undefined, moment?: 'during'): number | undefined {
  const isDuring = fault !== undefined && 'moment' in fault && fault.moment === 'during'
  return moment === 'during' && !isDuring ? undefined : faultErrors.get(fault?.kind)
}

/** Whether the card executes the command before the fault strikes. */
export function appliesDuring(fault: Fault | undefined, { name }: FaultyCommand): boolean {
  return name === 'XfrBlock' && errorOf(fault, 'during') !== undefined
}

/** A hardware error told on the interrupt endpoint (6.3.2). */
export function hardwareNotificationOf(
  fault: Fault | undefined,
  { slot, sequence }: FaultyCommand,
): { readonly notice: Uint8Array; readonly isAlone: boolean } | undefined {
  if (fault?.kind !== 'hardware-notice' && fault?.kind !== 'hardware-notice-alone') return undefined
  const notice = Uint8Array.of(HARDWARE_ERROR, slot, sequence, OVERCURRENT)
  return { notice, isAlone: fault.kind === 'hardware-notice-alone' }
}

/** The ATR as it arrives; undefined: the reader finds it bad. */
export function applyToAtr(fault: Fault | undefined, atr: Uint8Array): Uint8Array | undefined {
  if (fault?.kind === 'bad-atr') return undefined
  return fault?.kind === 'damaged-atr'
    ? atr.map((byte, at) => byte ^ (at === atr.length - 1 ? 0xff : 0))
    : atr
}

/** The card's answer: its last byte alone, or as it is. Between two parts of a command it has none, and then gets one. */
export function applyToResponse(fault: Fault | undefined, response: Uint8Array): Uint8Array {
  if (fault?.kind !== 'one-byte-response') return response
  return response.length === 0 ? new Uint8Array(1) : response.slice(-1)
}

/** An answer on its way to the host, and what comes before and behind it. */
export function deliver(
  fault: Fault | undefined,
  { slot, sequence }: FaultyCommand,
  message: Uint8Array,
  queue: InQueue,
  sendsEmptyPackets: boolean,
  taken: () => void,
): void {
  if (fault?.kind === 'stall-in') queue.sendStall()
  if (fault?.kind === 'empty-packet') queue.sendPacket(new Uint8Array(0))
  if (fault?.kind === 'stale-answer') {
    for (let before = fault.frames ?? 1; before > 0; before--) {
      const stale = { slot, sequence: (sequence - before) & 0xff }
      queue.sendMessage(encodeResponse(stale, DATA_BLOCK, 0, 0, 0, Uint8Array.of(0x90, 0)), false)
    }
  }
  queue.sendMessage(damaged(fault, message), sendsEmptyPackets && fault?.kind !== 'no-empty-packet', taken)
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
