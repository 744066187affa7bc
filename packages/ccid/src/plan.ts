/** What the driver will do with a reader, worked out of its descriptors before it is asked anything. */
import { CcidFeature } from './ccid-feature.ts'
import { type CcidDescriptor, type CcidInterface, type ExchangeLevel } from './descriptors.ts'
import { HEADER_BYTES } from './messages.ts'
import { type PadQuirk, padQuirkOf } from './pad-quirks.ts'
import { type QuirkReason, quirkReasons } from './quirk-reasons.ts'
import { quirkOf, type ReaderQuirk } from './quirks.ts'

/** LEN 255 is reserved in T=1 (ISO/IEC 7816-3:2006, 11.3.2.3). */
const MAX_IFSD_BYTES = 254
/** bInterfaceProtocol of the two versions of ICCD. */
export const ICCD_A = 1
/** bInterfaceProtocol of ICCD version B. */
export const ICCD_B = 2
/** A whole T=0 command, with the header of a message. */
const SHORT_MESSAGE_BYTES = 271
/** A block's prologue and LRC. */
const BLOCK_OVERHEAD_BYTES = 4

/** A reader as its device shows it. */
export interface PlannedReader {
  readonly vendorId: number
  readonly productId: number
  readonly face: Pick<CcidInterface, 'descriptor' | 'interfaceProtocol' | 'endpoints'>
}

/** One reader's plan. */
export interface ReaderPlan {
  /** Bulk endpoints, or the two kinds of devices on the control pipe (ICCD). */
  readonly transport: 'ccid' | 'iccd-a' | 'iccd-b'
  readonly level: ExchangeLevel
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
  readonly presence: 'interrupt' | 'polling'
  readonly pinPad: readonly ('verify' | 'modify')[]
  readonly slots: number
  readonly busySlots: number
  readonly quirk: (ReaderQuirk & QuirkReason) | undefined
  /** What its keys want otherwise; undefined: nothing, or there are none. */
  readonly padQuirk: PadQuirk | undefined
  /** Why this driver does not drive it; undefined: it does. */
  readonly refusal: string | undefined
}

/** The descriptor as the reader should have had it. */
export function correctedDescriptor(
  vendorId: number,
  productId: number,
  given: CcidDescriptor,
  interfaceProtocol: number,
): CcidDescriptor {
  let told = given
  // ICCD version B parts long APDUs by bLevelParameter at the short level too.
  if (interfaceProtocol === ICCD_B && given.level === 'short') told = { ...given, level: 'extended' }
  // Version A sends a T=0 header, then its data, and the device speaks with the card: our pipe takes TPDUs apart.
  if (interfaceProtocol === ICCD_A && given.level === 'character')
    told = { ...given, level: 'tpdu', maxMessageBytes: Math.max(SHORT_MESSAGE_BYTES, given.maxMessageBytes) }
  const quirk = quirkOf(vendorId, productId)
  if (quirk === undefined) return told
  const { maxIfsdBytes = told.maxIfsdBytes, maxDataRateBps = told.maxDataRateBps } = quirk
  return {
    ...told,
    maxIfsdBytes,
    maxDataRateBps: Math.min(maxDataRateBps, told.maxDataRateBps),
    pinSupport: quirk.noPinPad === true ? 0 : told.pinSupport,
    level: quirk.isExtended === true && told.level === 'short' ? 'extended' : told.level,
  }
}

/** Works the plan out. Nothing is asked of the reader, and nothing throws. */
export function planFor({ vendorId, productId, face }: PlannedReader): ReaderPlan {
  const descriptor = correctedDescriptor(vendorId, productId, face.descriptor, face.interfaceProtocol)
  const { features, level, protocols, maxMessageBytes } = descriptor
  const quirk = quirkOf(vendorId, productId)
  const transport = transportOf(face.interfaceProtocol)
  const known = protocols & 3 || 3
  const roomBytes = maxMessageBytes - HEADER_BYTES - BLOCK_OVERHEAD_BYTES
  const ifsdBytes = Math.max(
    1,
    Math.min(descriptor.maxIfsdBytes || MAX_IFSD_BYTES, MAX_IFSD_BYTES, roomBytes),
  )
  return {
    transport,
    level,
    protocols: ([0, 1] as const).filter((each) => known & (1 << each)).map((each) => `T=${each}` as const),
    negotiation: negotiationOf(features, level),
    ifsd:
      (level === 'tpdu' || level === 'character') && known & 2
        ? { bytes: ifsdBytes, by: features & CcidFeature.automaticIfsd ? 'reader' : 'host' }
        : undefined,
    clockKHz: descriptor.defaultClockKHz,
    maxDataRateBps: descriptor.maxDataRateBps,
    messageBytes: maxMessageBytes,
    presence: face.endpoints.some((each) => each.type === 'interrupt') ? 'interrupt' : 'polling',
    pinPad: (['verify', 'modify'] as const).filter((_, bit) => descriptor.pinSupport & (1 << bit)),
    slots: descriptor.maxSlotIndex + 1,
    busySlots: Math.max(1, descriptor.maxBusySlots),
    quirk: quirk === undefined ? undefined : { ...quirk, ...quirkReasons[quirk.name] },
    padQuirk: descriptor.pinSupport === 0 ? undefined : padQuirkOf({ vendorId, productId }),
    refusal: refusalOf(descriptor),
  }
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

/** Why this driver does not drive it; undefined: it does. */
export function refusalOf({ maxMessageBytes }: CcidDescriptor): string | undefined {
  if (maxMessageBytes <= HEADER_BYTES + BLOCK_OVERHEAD_BYTES)
    return `messages of ${maxMessageBytes} bytes have no room for a command`
  return undefined
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

/** The plan in lines that a person can read. */
export function describePlan(plan: ReaderPlan): string[] {
  const lines = [
    `exchange      ${levels[plan.level]} over ${plan.transport === 'ccid' ? 'bulk endpoints' : 'the control pipe'}`,
    `protocols     ${plan.protocols.join(' and ')}`,
    `negotiation   ${negotiations[plan.negotiation]}`,
    ...(plan.ifsd === undefined
      ? []
      : [`IFSD          ${plan.ifsd.bytes} bytes, told by the ${plan.ifsd.by}`]),
    `line          ${plan.clockKHz} kHz, at most ${plan.maxDataRateBps} bits a second`,
    `messages      ${plan.messageBytes} bytes at most`,
    `cards         noticed by ${plan.presence === 'interrupt' ? 'the interrupt endpoint' : 'polling'}`,
    `PIN pad       ${plan.pinPad.length === 0 ? 'none' : plan.pinPad.join(' and ')}`,
    `slots         ${plan.slots}, ${plan.busySlots} at work at once`,
  ]
  if (plan.quirk !== undefined) lines.push(`quirk         ${plan.quirk.why} (${plan.quirk.source})`)
  if (plan.padQuirk !== undefined) lines.push(`PIN pad quirk ${plan.padQuirk.why} (${plan.padQuirk.source})`)
  if (plan.refusal !== undefined) lines.push(`not driven    ${plan.refusal}`)
  return lines
}
