/** What the driver will do with a reader, worked out of its descriptors before it is asked anything. */
import { CcidFeature } from './ccid-feature.ts'
import { BLOCK_OVERHEAD_BYTES, corrected, refusalOf } from './corrected.ts'
import type { CcidInterface, ExchangeLevel } from './descriptors.ts'
import { ICCD_A, ICCD_B } from './interface-classes.ts'
import { HEADER_BYTES } from './messages.ts'
import { type ListedQuirk, quirksOf, type ReaderIds } from './quirks.ts'

/** LEN 255 is reserved in T=1 (ISO/IEC 7816-3:2006, 11.3.2.3). */
const MAX_IFSD_BYTES = 254

/** A reader as its device shows it. */
export interface PlannedReader extends ReaderIds {
  /** Without bInterfaceProtocol and endpoints, which stand outside the class descriptor, what follows from them is unknown. */
  readonly face: Pick<CcidInterface, 'descriptor'> &
    Partial<Pick<CcidInterface, 'interfaceProtocol' | 'endpoints'>>
}

/** One reader's plan. */
export interface ReaderPlan {
  /** Bulk endpoints, or the two kinds of devices on the control pipe (ICCD). */
  readonly transport: 'ccid' | 'iccd-a' | 'iccd-b' | 'unknown'
  readonly level: ExchangeLevel
  /** What the level is on the control pipe, if the transport is unknown and that would make another of it. */
  readonly levelOfIccd: ExchangeLevel | undefined
  readonly protocols: readonly ('T=0' | 'T=1')[]
  /** Who agrees with the card on protocol and speed: the host by PPS, the reader after SetParameters, the reader by itself. */
  readonly negotiation: 'host' | 'reader-by-parameters' | 'reader'
  /** Largest block that we take, in bytes, and who tells the card; undefined where no T=1 blocks are ours. */
  readonly ifsd: { readonly bytes: number; readonly by: 'host' | 'reader' } | undefined
  readonly clockKHz: number
  readonly maxDataRateBps: number
  /** Largest message, header included, in bytes. */
  readonly messageBytes: number
  /** How cards are noticed. */
  readonly presence: 'interrupt' | 'polling' | 'unknown'
  readonly pinPad: readonly ('verify' | 'modify')[]
  readonly slots: number
  readonly busySlots: number
  /** What it does otherwise than its descriptor or the standard say. */
  readonly quirks: readonly ListedQuirk[]
  /** Why this driver does not drive it; undefined: it does. */
  readonly refusal: string | undefined
}

/** Works the plan out. Nothing is asked of the reader, and nothing throws. */
export function planFor({ face, ...ids }: PlannedReader): ReaderPlan {
  const { descriptor: told, interfaceProtocol: protocol, endpoints } = face
  const as = (interfaceProtocol: number): ReturnType<typeof corrected> =>
    corrected(ids, { descriptor: told, interfaceProtocol, endpoints: endpoints ?? [] })
  const { descriptor, interfaceProtocol } = as(protocol ?? 0)
  const { features, level, protocols, maxMessageBytes } = descriptor
  const transport = protocol === undefined ? 'unknown' : transportOf(interfaceProtocol)
  const known = protocols & 3 || 3
  const capacityBytes = maxMessageBytes - HEADER_BYTES - BLOCK_OVERHEAD_BYTES
  const ifsdBytes = Math.max(
    1,
    Math.min(descriptor.maxIfsdBytes || MAX_IFSD_BYTES, MAX_IFSD_BYTES, capacityBytes),
  )
  // Version A makes TPDUs of characters, version B extended APDUs of short ones; other levels stay as they are.
  const levelOfIccd = as(level === 'character' ? ICCD_A : ICCD_B).descriptor.level
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

/** At APDU level the reader must do it all, whatever its bits say. */
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
  'reader-by-parameters': 'the reader, as the host sets the parameters',
  reader: 'the reader, by itself',
}

const transports: Readonly<Record<ReaderPlan['transport'], string>> = {
  ccid: 'over bulk endpoints',
  'iccd-a': 'over the control pipe',
  'iccd-b': 'over the control pipe',
  unknown: 'over bulk endpoints or the control pipe: the class descriptor does not say which',
}
const presences: Readonly<Record<ReaderPlan['presence'], string>> = {
  interrupt: 'noticed by the interrupt endpoint',
  polling: 'noticed by polling',
  unknown:
    'noticed by the interrupt endpoint, or by polling if there is none: the class descriptor does not say which',
}

/** The plan in lines that a person can read. */
export function describePlan(plan: ReaderPlan): string[] {
  const { levelOfIccd } = plan
  const otherwise = levelOfIccd === undefined ? '' : ` (${levels[levelOfIccd]} on the control pipe)`
  const lines = [
    `exchange      ${levels[plan.level]}${otherwise} ${transports[plan.transport]}`,
    `protocols     ${plan.protocols.join(' and ')}`,
    `negotiation   ${negotiations[plan.negotiation]}`,
    ...(plan.ifsd === undefined
      ? []
      : [`IFSD          ${plan.ifsd.bytes} bytes, told by the ${plan.ifsd.by}`]),
    `line          ${plan.clockKHz} kHz, at most ${plan.maxDataRateBps} bits a second`,
    `messages      ${plan.messageBytes} bytes at most`,
    `cards         ${presences[plan.presence]}`,
    `PIN pad       ${plan.pinPad.length === 0 ? 'none' : plan.pinPad.join(' and ')}`,
    `slots         ${plan.slots}, ${plan.busySlots} at work at once`,
  ]
  for (const { about, why, source } of plan.quirks)
    lines.push(`${quirkTitles[about].padEnd(13)} ${why} (${source})`)
  if (plan.refusal !== undefined) lines.push(`not driven    ${plan.refusal}`)
  return lines
}

const quirkTitles = { reader: 'quirk', 'PIN pad': 'PIN pad quirk', firmware: 'firmware' } as const
