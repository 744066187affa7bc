/**
 * Chooses the protocol and its parameters from the ATR, the reader and the caller's request (ISO/IEC 7816-3:2006,
 * 6.3.1, 9, 10.2).
 */
import { type Atr, NotSupportedError, type T1Parameters } from '@webtoki/apdu'
import { CcidFeature } from '../ccid-feature.ts'
import type { CcidDescriptor } from '../descriptors.ts'

/** The parameters to establish before the first command. */
export interface CardParameters {
  readonly protocol: 0 | 1
  /** Fi and Di, encoded as in TA1. 0x11 is the default. */
  readonly fiDi: number
  /** Data of SetParameters (CCID 1.1, 6.1.7); undefined if the reader needs none. */
  readonly setParameters: Uint8Array | undefined
  /** The PPS request that the host must send; undefined if the reader sends it, or all values are the default. */
  readonly pps: Uint8Array | undefined
}

const DEFAULT_FI_DI = 0x11
/** By the nibbles of TA1 (ISO/IEC 7816-3:2006, tables 7 and 8). */
const fiByNibble: readonly number[] = [372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048]
const diByNibble: readonly number[] = [0, 1, 2, 4, 8, 16, 32, 64, 12, 20]
const ROUNDING_BPS = 2
/** Encoded Di values, the fastest first. A card accepts any between its own and 1 (9.2). */
const slowerDis: readonly number[] = [7, 6, 9, 5, 8, 4, 3, 2, 1]

/**
 * Chooses protocol and speed. `ratesBps`: the data rates that the reader lists; if absent, every rate up to
 * dwMaxDataRate counts as possible. Throws NotSupportedError if card, reader and caller have no protocol in common.
 */
export function chooseParameters(
  atr: Atr,
  descriptor: CcidDescriptor,
  requested: 'T=0' | 'T=1' | undefined,
  ratesBps?: readonly number[],
): CardParameters {
  const { features } = descriptor
  const protocol = chooseProtocol(atr, descriptor, requested)
  // The reader negotiated before it returned the ATR ("proprietary" negotiation).
  if (features & CcidFeature.automaticNegotiation) {
    return { protocol, fiDi: DEFAULT_FI_DI, setParameters: undefined, pps: undefined }
  }
  const fiDi = chooseSpeed(atr, descriptor, ratesBps)
  const isDefault = protocol === atr.defaultProtocol && fiDi === DEFAULT_FI_DI
  const needsPps = atr.specificMode === undefined && !isDefault && !(features & CcidFeature.automaticPps)
  return {
    protocol,
    fiDi,
    setParameters: protocol === 1 ? t1Parameters(atr, fiDi) : t0Parameters(atr, fiDi),
    pps: needsPps ? ppsRequest(protocol, fiDi) : undefined,
  }
}

function chooseProtocol(
  atr: Atr,
  { protocols }: CcidDescriptor,
  requested: 'T=0' | 'T=1' | undefined,
): 0 | 1 {
  const offered = atr.specificMode === undefined ? atr.protocols : [atr.specificMode.protocol]
  // Some readers state no protocol. They support both.
  const known = protocols & 3 || 3
  const usable = ([0, 1] as const).filter((each) => offered.includes(each) && known & (1 << each))
  const order = [
    requested === undefined ? undefined : Number(requested.slice(2)),
    atr.defaultProtocol,
    ...usable,
  ]
  const chosen = requested === undefined ? order.slice(1) : order.slice(0, 1)
  for (const each of chosen) if ((each === 0 || each === 1) && usable.includes(each)) return each
  const reader = [1, 2].flatMap((bit, at) => (known & bit ? [`T=${at}`] : [])).join(' and ')
  throw new NotSupportedError(
    `The card offers ${offered.map((each) => `T=${each}`).join(' and ')}, the reader supports ${reader}` +
      `${requested === undefined ? '' : `, and ${requested} was requested`}.`,
  )
}

/** Returns the card's own speed if the reader supports it, else the next slower one. */
function chooseSpeed(
  atr: Atr,
  { defaultClockKHz, maxDataRateBps }: CcidDescriptor,
  ratesBps: readonly number[] | undefined,
): number {
  const ta1 = atr.interfaceBytes[0]?.ta
  if (ta1 === undefined || ta1 === DEFAULT_FI_DI) return DEFAULT_FI_DI
  if (atr.specificMode?.implicitParameters === true) return DEFAULT_FI_DI
  const fi = fiByNibble[ta1 >> 4] ?? 0
  const di = diByNibble[ta1 & 0x0f] ?? 0
  if (fi === 0 || di === 0) return DEFAULT_FI_DI
  const rate = (d: number): number => (defaultClockKHz * 1000 * d) / fi
  const defaultRate = (defaultClockKHz * 1000) / 372
  const isPossible = (d: number): boolean =>
    rate(d) <= maxDataRateBps + ROUNDING_BPS &&
    // Readers truncate or round the rates that they list.
    (ratesBps?.some((each) => Math.abs(each - rate(d)) < ROUNDING_BPS) ?? true)
  if (isPossible(di)) return ta1
  // In specific mode nothing can be negotiated: the reader must use this speed or fail.
  if (atr.specificMode !== undefined) return ta1
  for (const nibble of slowerDis) {
    const slower = diByNibble[nibble] as number
    // A negotiated speed below the default would be useless.
    if (slower < di && isPossible(slower) && rate(slower) > defaultRate) return (ta1 & 0xf0) | nibble
  }
  return DEFAULT_FI_DI
}

/** Encodes PPSS, PPS0, PPS1 if the speed is not the default, and PCK (ISO/IEC 7816-3:2006, 9.2). */
function ppsRequest(protocol: 0 | 1, fiDi: number): Uint8Array {
  const bytes = fiDi === DEFAULT_FI_DI ? [0xff, protocol] : [0xff, 0x10 | protocol, fiDi]
  return Uint8Array.of(
    ...bytes,
    bytes.reduce((sum, byte) => sum ^ byte, 0),
  )
}

/**
 * Returns what the card accepted: the echoed request, or the default speed if PPS1 is missing (9.3). Undefined if it
 * refused.
 */
export function acceptedPps(
  request: Uint8Array,
  response: Uint8Array,
): { readonly fiDi: number } | undefined {
  if (response.length < 3 || response.reduce((sum, byte) => sum ^ byte, 0) !== 0) return undefined
  if (response[0] !== 0xff || ((response[1] ?? 0) & 0x0f) !== ((request[1] ?? 0) & 0x0f)) return undefined
  if (((response[1] ?? 0) & 0x10) === 0) return response.length === 3 ? { fiDi: DEFAULT_FI_DI } : undefined
  if (response.length !== 4 || response[2] !== request[2]) return undefined
  return { fiDi: response[2] as number }
}

/** bmFindexDindex, bmTCCKST0, bGuardTimeT0, bWaitingIntegerT0, bClockStop (CCID 1.1, 6.1.7). */
function t0Parameters(atr: Atr, fiDi: number): Uint8Array {
  return Uint8Array.of(fiDi, conventionBit(atr), atr.extraGuardTime, atr.wi ?? 10, 0)
}

/** bmFindexDindex, bmTCCKST1, bGuardTimeT1, bmWaitingIntegersT1, bClockStop, bIFSC, bNadValue (CCID 1.1, 6.1.7). */
function t1Parameters(atr: Atr, fiDi: number): Uint8Array {
  const { bwi, cwi, ifscBytes, errorDetection } = t1Of(atr)
  const checks = 0x10 | conventionBit(atr) | (errorDetection === 'CRC' ? 1 : 0)
  return Uint8Array.of(fiDi, checks, atr.extraGuardTime, (bwi << 4) | cwi, 0, ifscBytes, 0)
}

const T1_DEFAULTS: T1Parameters = { ifscBytes: 32, bwi: 4, cwi: 13, errorDetection: 'LRC' }

/**
 * Returns the T=1 parameters of the ATR, with defaults for reserved values (11.4): an IFSC of 0 could not carry a
 * command, and a BWI of 15 would mean a wait of an hour.
 */
export function t1Of(atr: Atr): T1Parameters {
  const stated = atr.t1 ?? T1_DEFAULTS
  return {
    ...stated,
    ifscBytes: stated.ifscBytes === 0 || stated.ifscBytes === 255 ? T1_DEFAULTS.ifscBytes : stated.ifscBytes,
    bwi: stated.bwi > 9 ? T1_DEFAULTS.bwi : stated.bwi,
  }
}

function conventionBit(atr: Atr): number {
  return atr.convention === 'inverse' ? 2 : 0
}

/** The range of a card's clock in kHz (5.2.3). Some descriptors state the clock in other units. */
const MIN_CLOCK_KHZ = 1_000
const MAX_CLOCK_KHZ = 20_000
const DEFAULT_CLOCK_KHZ = 3_580
/** NAD, PCB, LEN, 254 bytes and a CRC. */
const LONGEST_BLOCK = 259
/**
 * Upper limit, because no real card takes its whole CWT before each character. The reader ends such a block itself.
 */
const MAX_LINE_MS = 10_000

function clockKHzOf({ defaultClockKHz }: CcidDescriptor): number {
  const isSane = defaultClockKHz >= MIN_CLOCK_KHZ && defaultClockKHz <= MAX_CLOCK_KHZ
  return isSane ? defaultClockKHz : DEFAULT_CLOCK_KHZ
}

function etuMs(fiDi: number, descriptor: CcidDescriptor): number {
  return (fiByNibble[fiDi >> 4] || 372) / (diByNibble[fiDi & 0x0f] || 1) / clockKHzOf(descriptor)
}

/** WWT of T=0 in milliseconds: WI × 960 × Fi clock cycles (ISO/IEC 7816-3:2006, 10.2). */
export function workWaitingMs(atr: Atr, fiDi: number, descriptor: CcidDescriptor): number {
  return ((atr.wi || 10) * 960 * (fiByNibble[fiDi >> 4] || 372)) / clockKHzOf(descriptor)
}

/** BWT of T=1 in milliseconds: 11 etu and 2^BWI × 960 × 372 clock cycles (ISO/IEC 7816-3:2006, 11.4.3). */
export function blockWaitingMs(atr: Atr, fiDi: number, descriptor: CcidDescriptor): number {
  return 11 * etuMs(fiDi, descriptor) + (2 ** t1Of(atr).bwi * 960 * 372) / clockKHzOf(descriptor)
}

/**
 * The duration of the longest blocks on the line in addition to BWT. Host to card: 12 etu + N per character (11 etu
 * for N = 255; 11.2). Card to host: CWT, 11 + 2^CWI etu, per character (11.4.3). BGT in between: 22 etu.
 */
export function lineMs(atr: Atr, fiDi: number, descriptor: CcidDescriptor): number {
  const guardEtu = atr.extraGuardTime === 255 ? 11 : 12 + atr.extraGuardTime
  const characterEtu = 11 + 2 ** t1Of(atr).cwi
  const etu = LONGEST_BLOCK * (guardEtu + characterEtu) + 22
  return Math.min(MAX_LINE_MS, etu * etuMs(fiDi, descriptor))
}
