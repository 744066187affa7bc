/** Predicts from a reader's descriptors how this driver will use it. */
import { CcidFeature } from './ccid-feature.ts'
import { BLOCK_OVERHEAD_BYTES, corrected, refusalOf } from './corrected.ts'
import type { CcidInterface, ExchangeLevel } from './descriptors.ts'
import { ICCD_A, ICCD_B } from './interface-classes.ts'
import { HEADER_BYTES } from './messages.ts'
import { type ListedQuirk, quirksOf, type ReaderIds } from './quirks.ts'

/** LEN 255 is reserved in T=1 (ISO/IEC 7816-3:2006, 11.3.2.3). */
const MAX_IFSD_BYTES = 254

/** A reader, as its descriptors state it. */
export interface PlannedReader extends ReaderIds {
  /**
   * bInterfaceProtocol and endpoints are not part of the class descriptor. Without them the members that depend on
   * them are 'unknown'.
   */
  readonly usbInterface: Pick<CcidInterface, 'descriptor'> &
    Partial<Pick<CcidInterface, 'interfaceProtocol' | 'endpoints'>>
}

/** How this driver will use a reader. */
export interface ReaderPlan {
  /** Bulk endpoints (CCID), or the control pipe (ICCD version A or B). */
  readonly transport: 'ccid' | 'iccd-a' | 'iccd-b' | 'unknown'
  readonly level: ExchangeLevel
  /** The level on the control pipe, if the transport is unknown and the level depends on it. */
  readonly levelOfIccd: ExchangeLevel | undefined
  readonly protocols: readonly ('T=0' | 'T=1')[]
  /**
   * What agrees on protocol and speed with the card: the host by PPS, the reader after SetParameters, or the reader
   * alone.
   */
  readonly negotiation: 'host' | 'reader-by-parameters' | 'reader'
  /**
   * Largest T=1 information field that this driver accepts, in bytes, and what sends it to the card. Undefined if the
   * reader handles T=1.
   */
  readonly ifsd: { readonly bytes: number; readonly by: 'host' | 'reader' } | undefined
  readonly clockKHz: number
  readonly maxDataRateBps: number
  /** Largest message including its header, in bytes. */
  readonly messageBytes: number
  /** How card changes are detected. */
  readonly presence: 'interrupt' | 'polling' | 'unknown'
  readonly pinPad: readonly ('verify' | 'modify')[]
  readonly slots: number
  readonly busySlots: number
  /** Deviations from the descriptor or the standard that the driver knows. */
  readonly quirks: readonly ListedQuirk[]
  /** Why this driver does not support the reader; undefined if it does. */
  readonly refusal: string | undefined
}

/** Predicts how this driver will use a reader, without access to it. Never throws. */
export function planFor({ usbInterface: face, ...ids }: PlannedReader): ReaderPlan {
  const { descriptor: stated, interfaceProtocol: protocol, endpoints } = face
  const correctedAs = (interfaceProtocol: number): ReturnType<typeof corrected> =>
    corrected(ids, { descriptor: stated, interfaceProtocol, endpoints: endpoints ?? [] })
  const { descriptor, interfaceProtocol } = correctedAs(protocol ?? 0)
  const { features, level, protocols, maxMessageBytes } = descriptor
  const transport = protocol === undefined ? 'unknown' : transportOf(interfaceProtocol)
  const known = protocols & 3 || 3
  const capacityBytes = maxMessageBytes - HEADER_BYTES - BLOCK_OVERHEAD_BYTES
  const ifsdBytes = Math.max(
    1,
    Math.min(descriptor.maxIfsdBytes || MAX_IFSD_BYTES, MAX_IFSD_BYTES, capacityBytes),
  )
  // ICCD version A changes character level to TPDU, version B short APDUs to extended ones.
  const levelOfIccd = correctedAs(level === 'character' ? ICCD_A : ICCD_B).descriptor.level
  return {
    transport,
    level,
    levelOfIccd: transport === 'unknown' && levelOfIccd !== level ? levelOfIccd : undefined,
    protocols: ([0, 1] as const).filter((each) => known & (1 << each)).map((each) => `T=${each}` as const),
    negotiation: negotiationOf(features, level),
    ifsd:
      (level === 'tpdu' || level === 'character') && known & 2
        ? { bytes: ifsdBytes, by: features & CcidFeature.automaticIfsd ? 'reader' : 'host' }
        : undefined,
    clockKHz: descriptor.defaultClockKHz,
    maxDataRateBps: descriptor.maxDataRateBps,
    messageBytes: maxMessageBytes,
    presence: presenceOf(endpoints),
    pinPad: (['verify', 'modify'] as const).filter((_, bit) => descriptor.pinSupport & (1 << bit)),
    slots: descriptor.maxSlotIndex + 1,
    busySlots: Math.max(1, descriptor.maxBusySlots),
    quirks: quirksOf(ids).filter(({ about }) => about !== 'PIN pad' || descriptor.pinSupport !== 0),
    refusal: refusalOf(descriptor),
  }
}

function presenceOf(endpoints: CcidInterface['endpoints'] | undefined): ReaderPlan['presence'] {
  if (endpoints === undefined) return 'unknown'
  return endpoints.some(({ type }) => type === 'interrupt') ? 'interrupt' : 'polling'
}

function transportOf(interfaceProtocol: number): ReaderPlan['transport'] {
  if (interfaceProtocol === ICCD_A) return 'iccd-a'
  return interfaceProtocol === ICCD_B ? 'iccd-b' : 'ccid'
}

/** At APDU level the reader negotiates, whatever its feature bits state. */
function negotiationOf(features: number, level: ExchangeLevel): ReaderPlan['negotiation'] {
  if (level === 'short' || level === 'extended' || features & CcidFeature.automaticNegotiation)
    return 'reader'
  return features & CcidFeature.automaticPps ? 'reader-by-parameters' : 'host'
}

const levels: Readonly<Record<ExchangeLevel, string>> = {
  character: 'characters',
  tpdu: 'TPDUs',
  short: 'short APDUs',
  extended: 'extended APDUs',
}
const negotiations: Readonly<Record<ReaderPlan['negotiation'], string>> = {
  host: 'the host, by PPS',
  'reader-by-parameters': 'the reader, with parameters set by the host',
  reader: 'the reader, by itself',
}

const transports: Readonly<Record<ReaderPlan['transport'], string>> = {
  ccid: 'over bulk endpoints',
  'iccd-a': 'over the control pipe',
  'iccd-b': 'over the control pipe',
  unknown: 'over bulk endpoints or the control pipe: the class descriptor does not state which',
}
const presences: Readonly<Record<ReaderPlan['presence'], string>> = {
  interrupt: 'detected by the interrupt endpoint',
  polling: 'detected by polling',
  unknown:
    'detected by the interrupt endpoint, or by polling if there is none: the class descriptor does not state which',
}

/** Formats a plan as lines of text. */
export function describePlan(plan: ReaderPlan): string[] {
  const { levelOfIccd } = plan
  const otherwise = levelOfIccd === undefined ? '' : ` (${levels[levelOfIccd]} on the control pipe)`
  const lines = [
    `exchange      ${levels[plan.level]}${otherwise} ${transports[plan.transport]}`,
    `protocols     ${plan.protocols.join(' and ')}`,
    `negotiation   ${negotiations[plan.negotiation]}`,
    ...(plan.ifsd === undefined
      ? []
      : [`IFSD          ${plan.ifsd.bytes} bytes, announced by the ${plan.ifsd.by}`]),
    `line          ${plan.clockKHz} kHz, at most ${plan.maxDataRateBps} bits per second`,
    `messages      ${plan.messageBytes} bytes at most`,
    `cards         ${presences[plan.presence]}`,
    `PIN pad       ${plan.pinPad.length === 0 ? 'none' : plan.pinPad.join(' and ')}`,
    `slots         ${plan.slots}, at most ${plan.busySlots} busy at a time`,
  ]
  for (const { about, why, source } of plan.quirks)
    lines.push(`${quirkTitles[about].padEnd(13)} ${why} (${source})`)
  if (plan.refusal !== undefined) lines.push(`not supported ${plan.refusal}`)
  return lines
}

const quirkTitles = { reader: 'quirk', 'PIN pad': 'PIN pad quirk', firmware: 'firmware' } as const
