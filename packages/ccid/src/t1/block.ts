/** T=1 blocks: prologue, information field and epilogue (ISO/IEC 7816-3:2006, 11.3). */
import { MalformedError } from '@webtoki/apdu'

/** What guards a block: one byte of exclusive-or, or two of a CRC (11.4.4). */
export type ErrorDetection = 'LRC' | 'CRC'

/** Kinds of S-blocks; each comes as request and as response (11.3.2.2). */
export const Supervisory = { resynch: 0x00, ifs: 0x01, abort: 0x02, wtx: 0x03 } as const
/** Lower bits of the PCB of an S-block. */
export type Supervisory = (typeof Supervisory)[keyof typeof Supervisory]

/** Why an R-block asks for a repetition (11.3.2.2). */
export const ReceiveError = { none: 0, errorDetection: 1, other: 2 } as const
/** Lowest bits of the PCB of an R-block. */
export type ReceiveError = (typeof ReceiveError)[keyof typeof ReceiveError]

/** A block's meaning, without its node address. */
export type T1Block =
  | { readonly kind: 'I'; readonly sequence: 0 | 1; readonly more: boolean; readonly data: Uint8Array }
  | { readonly kind: 'R'; readonly expects: 0 | 1; readonly error: number }
  | {
      readonly kind: 'S'
      readonly what: Supervisory
      readonly isResponse: boolean
      /** IFS: bytes; WTX: multiplier; else 0. */
      readonly value: number
    }

/** What came, or why it is no block. */
export type DecodedBlock = T1Block | { readonly kind: 'invalid'; readonly error: ReceiveError }

/** Longest information field (11.4.2): FF is reserved. */
export const MAX_INFORMATION_BYTES = 254
/** NAD, PCB, LEN. */
export const PROLOGUE_BYTES = 3

const none = new Uint8Array(0)
const invalid: DecodedBlock = { kind: 'invalid', error: ReceiveError.other }
const garbled: DecodedBlock = { kind: 'invalid', error: ReceiveError.errorDetection }

/** Bytes of the epilogue. */
export function epilogueBytes(detection: ErrorDetection): 1 | 2 {
  return detection === 'LRC' ? 1 : 2
}

/** Writes a whole block. */
export function encodeBlock(block: T1Block, nad: number, detection: ErrorDetection): Uint8Array {
  const data =
    block.kind === 'I' ? block.data : block.kind === 'S' && carriesValue(block.what) ? [block.value] : none
  if (data.length > MAX_INFORMATION_BYTES) {
    throw new MalformedError('T=1 block', `an information field of ${data.length} bytes`)
  }
  const end = PROLOGUE_BYTES + data.length
  const bytes = new Uint8Array(end + epilogueBytes(detection))
  bytes[0] = nad
  bytes[1] = pcbOf(block)
  bytes[2] = data.length
  bytes.set(data, PROLOGUE_BYTES)
  if (detection === 'LRC') {
    bytes[end] = lrc(bytes, end)
  } else {
    const check = crc(bytes, end)
    bytes[end] = check >> 8
    bytes[end + 1] = check & 0xff
  }
  return bytes
}

/**
 * Reads a block and never throws: what is no block is a block that must come again (11.6.3). `nad` is the one that
 * the other side has to send. A field longer than the agreed IFSD passes, as long as it is guarded: some cards begin
 * with their full length.
 */
export function decodeBlock(bytes: Uint8Array, nad: number, detection: ErrorDetection): DecodedBlock {
  const lengthBytes = bytes[2] ?? 0xff
  const end = PROLOGUE_BYTES + lengthBytes
  if (bytes.length < PROLOGUE_BYTES || bytes.length !== end + epilogueBytes(detection)) return invalid
  const check = detection === 'LRC' ? lrc(bytes, end) : crc(bytes, end)
  const came = detection === 'LRC' ? bytes[end] : ((bytes[end] as number) << 8) | (bytes[end + 1] as number)
  if (check !== came) return garbled
  if (bytes[0] !== nad || lengthBytes > MAX_INFORMATION_BYTES) return invalid
  const pcb = bytes[1] as number
  if ((pcb & 0x80) === 0) {
    if (pcb & 0x1f) return invalid
    const data = bytes.subarray(PROLOGUE_BYTES, end)
    return { kind: 'I', sequence: pcb & 0x40 ? 1 : 0, more: (pcb & 0x20) !== 0, data }
  }
  if ((pcb & 0x40) === 0) {
    if (pcb & 0x20 || lengthBytes !== 0) return invalid
    return { kind: 'R', expects: pcb & 0x10 ? 1 : 0, error: pcb & 0x0f }
  }
  const what = pcb & 0x1f
  if (what > Supervisory.wtx) return invalid
  const kind = what as Supervisory
  if (lengthBytes !== (carriesValue(kind) ? 1 : 0)) return invalid
  const value = carriesValue(kind) ? (bytes[PROLOGUE_BYTES] as number) : 0
  if (kind === Supervisory.ifs && (value === 0 || value > MAX_INFORMATION_BYTES)) return invalid
  return { kind: 'S', what: kind, isResponse: (pcb & 0x20) !== 0, value }
}

function carriesValue(what: Supervisory): boolean {
  return what === Supervisory.ifs || what === Supervisory.wtx
}

function pcbOf(block: T1Block): number {
  switch (block.kind) {
    case 'I':
      return (block.sequence << 6) | (block.more ? 0x20 : 0)
    case 'R':
      return 0x80 | (block.expects << 4) | block.error
    case 'S':
      return 0xc0 | (block.isResponse ? 0x20 : 0) | block.what
  }
}

function lrc(bytes: Uint8Array, end: number): number {
  let sum = 0
  for (let i = 0; i < end; i++) sum ^= bytes[i] as number
  return sum
}

/** ISO/IEC 13239, 16 bits, reflected, from FFFF. Real cards send it without the final complement, high byte first. */
function crc(bytes: Uint8Array, end: number): number {
  let sum = 0xffff
  for (let i = 0; i < end; i++) {
    sum ^= bytes[i] as number
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x8408 : sum >>> 1
  }
  return sum
}
