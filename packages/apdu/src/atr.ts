/** Decodes the answer to reset (ATR), ISO/IEC 7816-3:2006 clause 8. */
import { isByteSource } from './bytes.ts'
import { capabilityBytes, objectsIn, TAG_CAPABILITIES } from './compact-tlv.ts'
import { MalformedError } from './errors.ts'

/** A fault of an ATR. `decodeAtr` throws for each of them unless `lenient` is set. */
export type AtrFault =
  /** TS is neither 3B nor 3F. */
  | 'unknown-convention'
  /** Bytes that T0 and the TD bytes indicate are missing. */
  | 'truncated'
  /** More than the 33 bytes that clause 8.2.1 allows. */
  | 'too-long'
  /** Bytes follow the end of the ATR. */
  | 'surplus-bytes'
  /** A protocol other than T=0 is indicated, but the check byte is missing. */
  | 'tck-missing'
  /** The check byte does not make the exclusive-or of T0 to TCK zero. */
  | 'tck-wrong'
  /** T=15, which is not a protocol, is indicated first, or the protocols are not in ascending order (clause 8.2.3). */
  | 'protocol-order'
  /** A value that is reserved: Fi, Di, IFSC, BWI or WI. */
  | 'reserved-value'

/** The interface bytes TA, TB, TC and TD with the same index. Absent bytes are undefined. */
export interface InterfaceGroup {
  /** T of the previous TD byte, to which the group belongs; undefined in the first group. */
  readonly protocol: number | undefined
  readonly ta?: number
  readonly tb?: number
  readonly tc?: number
  readonly td?: number
}

/** TA2: the card starts in this protocol without negotiation. */
export interface SpecificMode {
  readonly protocol: number
  /** True if the card can change to negotiable mode. */
  readonly canChange: boolean
  /** True if Fi and Di are not those of TA1 but implicitly known. */
  readonly implicitParameters: boolean
}

/** Transmission parameters of T=1, clause 11.4. */
export interface T1Parameters {
  /** Longest information field that the card can receive, in bytes. */
  readonly ifscBytes: number
  /** Block waiting time integer. */
  readonly bwi: number
  /** Character waiting time integer. */
  readonly cwi: number
  readonly errorDetection: 'LRC' | 'CRC'
}

/** A decoded ATR. Absent interface bytes have their default values. */
export interface Atr {
  /** The received bytes. */
  readonly bytes: Uint8Array
  readonly convention: 'direct' | 'inverse'
  /** TA1 to TD1, TA2 to TD2 and so on. */
  readonly interfaceBytes: readonly InterfaceGroup[]
  /** T of each protocol that the card offers, in its order, without duplicates. Never empty; never contains 15. */
  readonly protocols: readonly number[]
  /** The protocol of specific mode, otherwise the first one offered. */
  readonly defaultProtocol: number
  readonly specificMode?: SpecificMode
  /** Clock rate conversion integer; undefined if TA1 has a reserved value. */
  readonly fi: number | undefined
  /** Highest clock frequency for Fi, in kHz; undefined if TA1 has a reserved value. */
  readonly maxClockKHz: number | undefined
  /** Baud rate adjustment integer; undefined if TA1 has a reserved value. */
  readonly di: number | undefined
  /** Extra guard time integer N. 255 means the minimum that the protocol allows. */
  readonly extraGuardTime: number
  /** TA of T=15: whether the clock may stop, and in which state. */
  readonly clockStop: 'not-supported' | 'low' | 'high' | 'no-preference'
  /** TA of T=15: classes of operating conditions: A 5 V, B 3 V, C 1.8 V. */
  readonly classes: readonly ('A' | 'B' | 'C')[]
  /** Waiting time integer of T=0; undefined if T=0 is not offered. */
  readonly wi: number | undefined
  /** Parameters of T=1; undefined if T=1 is not offered. */
  readonly t1: T1Parameters | undefined
  /** A view of the historical bytes, for `decodeHistoricalBytes`. */
  readonly historicalBytes: Uint8Array
  /** The check byte; undefined if it is absent. */
  readonly tck: number | undefined
  /** Empty unless lenient decoding found faults. */
  readonly faults: readonly AtrFault[]
}

/** Options of `decodeAtr`. */
export interface AtrOptions {
  /** True: faults are listed in `faults` and not thrown. Fewer than two bytes still throw. */
  readonly lenient?: boolean
}

/** Clause 8.2.1: TS and at most 32 more. */
const MAX_ATR_BYTES = 33
/** Table 7, indexed by the high nibble of TA1: Fi and the highest clock frequency in kHz. */
const clockRates: readonly (readonly [fi: number, maxClockKHz: number] | undefined)[] = [
  [372, 4000],
  [372, 5000],
  [558, 6000],
  [744, 8000],
  [1116, 12000],
  [1488, 16000],
  [1860, 20000],
  undefined,
  undefined,
  [512, 5000],
  [768, 7500],
  [1024, 10000],
  [1536, 15000],
  [2048, 20000],
]
/** Table 8, indexed by the low nibble of TA1: Di. */
const baudRates: readonly (number | undefined)[] = [undefined, 1, 2, 4, 8, 16, 32, 64, 12, 20]
const clockStops = ['not-supported', 'low', 'high', 'no-preference'] as const
/** T=15 marks parameters of the whole card. */
const GLOBAL = 15
const DEFAULT_TA1 = 0x11
const DEFAULT_WI = 10
const DEFAULT_T1 = { ifscBytes: 32, bwi: 4, cwi: 13 } as const

/** Decodes an ATR. Throws MalformedError; with `lenient` only if there are fewer than two bytes. */
export function decodeAtr(bytes: Uint8Array, options: AtrOptions = {}): Atr {
  const [ts, t0] = bytes
  if (ts === undefined || t0 === undefined) throw malformed(`${bytes.length} bytes instead of at least 2`)
  const faults = new Set<AtrFault>()
  if (ts !== 0x3b && ts !== 0x3f) faults.add('unknown-convention')
  if (bytes.length > MAX_ATR_BYTES) faults.add('too-long')

  const { groups, end } = readInterfaceBytes(bytes, t0)
  if (end > bytes.length) faults.add('truncated')
  const historicalEnd = end + (t0 & 0x0f)
  const historicalBytes = bytes.subarray(Math.min(end, bytes.length), historicalEnd)
  if (historicalEnd > bytes.length) faults.add('truncated')

  const indicated = groups.flatMap(({ td }) => (td === undefined ? [] : [td & 0x0f]))
  if (!isOrdered(indicated)) faults.add('protocol-order')
  // Clause 8.2.5: TCK is absent only if T=0 alone is indicated, by a TD byte or by default.
  const needsTck = indicated.some((protocol) => protocol !== 0)
  const tck = needsTck ? bytes[historicalEnd] : undefined
  if (needsTck && tck === undefined) faults.add('tck-missing')
  if (tck !== undefined && bytes.subarray(1, historicalEnd + 1).reduce((sum, byte) => sum ^ byte, 0) !== 0) {
    faults.add('tck-wrong')
  }
  if (bytes.length > historicalEnd + (needsTck ? 1 : 0)) faults.add('surplus-bytes')

  const offered = [...new Set(indicated.filter((protocol) => protocol !== GLOBAL))]
  const protocols = offered.length === 0 ? [0] : offered
  const parameters = readParameters(groups, protocols, faults)
  if (options.lenient !== true && faults.size > 0) {
    throw malformed(`${bytes.length} bytes with faults: ${[...faults].join(', ')}`)
  }
  return {
    bytes,
    convention: ts === 0x3f ? 'inverse' : 'direct',
    interfaceBytes: groups,
    protocols,
    defaultProtocol: parameters.specificMode?.protocol ?? protocols[0] ?? 0,
    ...parameters,
    historicalBytes,
    tck,
    faults: [...faults],
  }
}

/**
 * Returns true if the card capabilities in the ATR state extended Lc and Le fields, and false for a malformed ATR. The reader
 * has to support them too: use `CardChannel.limits` for commands.
 */
export function atrStatesExtended(atr: Atr | Uint8Array): boolean {
  return (thirdByte(atr) & 0x40) !== 0
}

/**
 * Returns true if the ATR has the third software function byte, and so states whether the card supports extended lengths.
 */
export function atrStatesLengths(atr: Atr): boolean {
  const { objects } = objectsIn(atr.historicalBytes)
  return objects.some(({ tag, value }) => tag === TAG_CAPABILITIES && value.length === 3)
}

/** Returns true if the card capabilities in the ATR state command chaining, and false for a malformed ATR. */
export function atrStatesChaining(atr: Atr | Uint8Array): boolean {
  return (thirdByte(atr) & 0x80) !== 0
}

/** Returns the third software function byte (ISO/IEC 7816-4:2013, table 119), or 0 if it is absent. */
function thirdByte(atr: Atr | Uint8Array): number {
  return capabilityBytes(objectsIn(parsed(atr)?.historicalBytes ?? new Uint8Array(0)).objects)[2] ?? 0
}

function parsed(atr: Atr | Uint8Array): Atr | undefined {
  if (!isByteSource(atr)) return atr
  try {
    return decodeAtr(atr)
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}

function readInterfaceBytes(bytes: Uint8Array, t0: number): { groups: InterfaceGroup[]; end: number } {
  const groups: InterfaceGroup[] = []
  let at = 2
  let protocol: number | undefined
  let indicator: number | undefined = t0
  while (indicator !== undefined && at <= bytes.length) {
    const group: { -readonly [Key in keyof InterfaceGroup]: InterfaceGroup[Key] } = { protocol }
    if (indicator & 0x10) take('ta')
    if (indicator & 0x20) take('tb')
    if (indicator & 0x40) take('tc')
    if (indicator & 0x80) take('td')
    function take(name: 'ta' | 'tb' | 'tc' | 'td'): void {
      const byte = bytes[at++]
      if (byte !== undefined) group[name] = byte
    }
    if (Object.keys(group).length > 1) groups.push(group)
    indicator = group.td
    protocol = group.td === undefined ? undefined : group.td & 0x0f
  }
  return { groups, end: at }
}

type Parameters = Pick<
  Atr,
  'specificMode' | 'fi' | 'maxClockKHz' | 'di' | 'extraGuardTime' | 'clockStop' | 'classes' | 'wi' | 't1'
>

function readParameters(
  groups: readonly InterfaceGroup[],
  protocols: readonly number[],
  faults: Set<AtrFault>,
): Parameters {
  const [first, second] = groups
  const ta1 = first?.ta ?? DEFAULT_TA1
  const rate = clockRates[ta1 >> 4]
  const di = baudRates[ta1 & 0x0f]
  const ta2 = second?.ta
  // TB1, TB2 and TC2 have a fixed meaning. From the third group on, the bytes belong to the protocol of the previous TD.
  const later = groups.slice(2)
  const classByte = later.find((group) => group.protocol === GLOBAL && group.ta !== undefined)?.ta
  const wi = protocols.includes(0) ? (second?.tc ?? DEFAULT_WI) : undefined
  const t1 = protocols.includes(1) ? readT1(later.filter((group) => group.protocol === 1)) : undefined
  if (
    rate === undefined ||
    di === undefined ||
    wi === 0 ||
    (t1 !== undefined && (t1.ifscBytes === 0 || t1.ifscBytes === 0xff || t1.bwi > 9))
  ) {
    faults.add('reserved-value')
  }
  return {
    ...(ta2 !== undefined && {
      specificMode: {
        protocol: ta2 & 0x0f,
        canChange: (ta2 & 0x80) === 0,
        implicitParameters: (ta2 & 0x10) !== 0,
      },
    }),
    fi: rate?.[0],
    maxClockKHz: rate?.[1],
    di,
    extraGuardTime: first?.tc ?? 0,
    clockStop: clockStops[(classByte ?? 0) >> 6] ?? 'not-supported',
    // Class A is the default (clause 8.3).
    classes: classByte === undefined ? ['A'] : readClasses(classByte),
    wi,
    t1,
  }
}

/** Reads the parameters of T=1 from the first TA, TB and TC for T=1 (clause 11.4). */
function readT1(groups: readonly InterfaceGroup[]): T1Parameters {
  const ta = groups.find((group) => group.ta !== undefined)?.ta
  const tb = groups.find((group) => group.tb !== undefined)?.tb
  const tc = groups.find((group) => group.tc !== undefined)?.tc
  return {
    ifscBytes: ta ?? DEFAULT_T1.ifscBytes,
    bwi: tb === undefined ? DEFAULT_T1.bwi : tb >> 4,
    cwi: tb === undefined ? DEFAULT_T1.cwi : tb & 0x0f,
    errorDetection: tc !== undefined && (tc & 0x01) === 1 ? 'CRC' : 'LRC',
  }
}

function readClasses(classByte: number): ('A' | 'B' | 'C')[] {
  return (['A', 'B', 'C'] as const).filter((_, bit) => (classByte >> bit) & 1)
}

function isOrdered(indicated: readonly number[]): boolean {
  return (
    indicated[0] !== GLOBAL &&
    indicated.every((protocol, i) => i === 0 || protocol >= (indicated[i - 1] ?? 0))
  )
}

function malformed(detail: string): MalformedError {
  return new MalformedError('ATR', detail)
}

/**
 * Decodes an ATR leniently, because cards with a faulty ATR usually work. Returns undefined if there are fewer than two
 * bytes.
 */
export function readAtr(bytes: Uint8Array): Atr | undefined {
  try {
    return decodeAtr(bytes, { lenient: true })
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}
