/** Encodes and decodes T=1 blocks: prologue, information field, epilogue (ISO/IEC 7816-3:2006, 11.3). */

/** N(S) and N(R), modulo 2. */
export type Bit = 0 | 1

/** The kind of a supervisory block (11.3.2.2). */
export type Supervision = 'resynch' | 'ifs' | 'abort' | 'wtx'

/** A block without its NAD, which is constant. */
export type T1Block =
  | { readonly kind: 'I'; readonly sequence: Bit; readonly more: boolean; readonly data: Uint8Array }
  | { readonly kind: 'R'; readonly expected: Bit; readonly error: 'none' | 'detection' | 'other' }
  | {
      readonly kind: 'S'
      readonly about: Supervision
      readonly isResponse: boolean
      /** One byte: the size for `ifs`, the multiplier for `wtx`. Undefined for the others. */
      readonly value: number | undefined
    }

/** The epilogue: LRC has one byte, CRC two (11.3.4). */
export type Detection = 'LRC' | 'CRC'

/** NAD, PCB, LEN. */
const PROLOGUE_BYTES = 3
/** LEN 255 is reserved (11.3.2.3). */
const MAX_INFORMATION_BYTES = 254

const nothing = new Uint8Array(0)
const supervisions: readonly Supervision[] = ['resynch', 'ifs', 'abort', 'wtx']
const errors = ['none', 'detection', 'other'] as const

/** Length of prologue and epilogue, in bytes. */
export function overheadBytes(detection: Detection): number {
  return PROLOGUE_BYTES + (detection === 'LRC' ? 1 : 2)
}

/** Encodes a block with this NAD. */
export function encodeBlock(block: T1Block, nad: number, detection: Detection): Uint8Array {
  const information = informationOf(block)
  const bytes = new Uint8Array(information.length + overheadBytes(detection))
  bytes[0] = nad
  bytes[1] = pcbOf(block)
  bytes[2] = information.length
  bytes.set(information, PROLOGUE_BYTES)
  const end = PROLOGUE_BYTES + information.length
  const epilogue = epilogueOf(bytes, end, detection)
  if (detection === 'CRC') bytes[end] = epilogue >> 8
  bytes[bytes.length - 1] = epilogue
  return bytes
}

/**
 * Decodes a block with this NAD, which is that of the response: source and destination swapped. Returns 'detection'
 * if the epilogue is wrong, and 'other' if the bytes are not a valid block or are for another node (11.3.2.1).
 */
export function decodeBlock(
  bytes: Uint8Array,
  nad: number,
  detection: Detection,
): T1Block | 'detection' | 'other' {
  const lengthBytes = bytes[2]
  if (lengthBytes === undefined || bytes.length < overheadBytes(detection)) return 'other'
  const end = PROLOGUE_BYTES + lengthBytes
  if (lengthBytes > MAX_INFORMATION_BYTES || bytes.length !== lengthBytes + overheadBytes(detection))
    return 'other'
  const last = bytes[bytes.length - 1] as number
  const came = detection === 'LRC' ? last : ((bytes[end] as number) << 8) | last
  if (epilogueOf(bytes, end, detection) !== came) return 'detection'
  if (bytes[0] !== nad) return 'other'
  return blockOf(bytes[1] as number, bytes.slice(PROLOGUE_BYTES, end)) ?? 'other'
}

function informationOf(block: T1Block): Uint8Array {
  if (block.kind === 'I') return block.data
  return block.kind === 'S' && block.value !== undefined ? Uint8Array.of(block.value) : nothing
}

function pcbOf(block: T1Block): number {
  switch (block.kind) {
    case 'I':
      return (block.sequence << 6) | (block.more ? 0x20 : 0)
    case 'R':
      return 0x80 | (block.expected << 4) | errors.indexOf(block.error)
    case 'S':
      return 0xc0 | (block.isResponse ? 0x20 : 0) | supervisions.indexOf(block.about)
  }
}

function blockOf(pcb: number, data: Uint8Array): T1Block | undefined {
  if (pcb < 0x80) {
    if (pcb & 0x1f) return undefined
    return { kind: 'I', sequence: ((pcb >> 6) & 1) as Bit, more: (pcb & 0x20) !== 0, data }
  }
  if (pcb < 0xc0) {
    const error = errors[pcb & 0x0f]
    if (pcb & 0x20 || error === undefined || data.length > 0) return undefined
    return { kind: 'R', expected: ((pcb >> 4) & 1) as Bit, error }
  }
  const about = supervisions[pcb & 0x1f]
  if (about === undefined) return undefined
  const hasValue = about === 'ifs' || about === 'wtx'
  if (data.length !== (hasValue ? 1 : 0)) return undefined
  // 11.4.2: IFS is 1 to 254; 0 and 255 are reserved.
  if (about === 'ifs' && (data[0] === 0 || data[0] === 255)) return undefined
  return { kind: 'S', about, isResponse: (pcb & 0x20) !== 0, value: data[0] }
}

/** Computes the epilogue of the bytes before `end`. Of two bytes, the first to be sent is the high byte. */
function epilogueOf(bytes: Uint8Array, end: number, detection: Detection): number {
  if (detection === 'LRC') {
    let sum = 0
    for (let at = 0; at < end; at++) sum ^= bytes[at] as number
    return sum
  }
  // ISO/IEC 13239: x^16 + x^12 + x^5 + 1, reflected, preset FFFF, complemented, most significant byte first.
  let crc = 0xffff
  for (let at = 0; at < end; at++) {
    crc ^= bytes[at] as number
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x8408 : crc >>> 1
  }
  return crc ^ 0xffff
}
