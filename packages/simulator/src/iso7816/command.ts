/** Parses command APDUs as a card does: the seven encodings of ISO/IEC 7816-4, 5.2. */

/** A parsed command APDU. `le` is absent in cases 1 and 3, and 256 or 65536 if all bytes of the field are zero. */
export interface CommandApdu {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  readonly data: Uint8Array
  readonly le?: number
  readonly extended: boolean
}

/** Parses a command APDU. Returns undefined if its length matches none of the encodings; the card then returns 6700. */
export function readCommand(bytes: Uint8Array): CommandApdu | undefined {
  const [cla, ins, p1, p2, first] = bytes
  if (cla === undefined || ins === undefined || p1 === undefined || p2 === undefined) return undefined
  const total = bytes.length
  const make = (extended: boolean, data: Uint8Array, le?: number): CommandApdu => ({
    cla,
    ins,
    p1,
    p2,
    data,
    extended,
    ...(le === undefined ? {} : { le }),
  })
  const none = new Uint8Array(0)
  if (first === undefined) return make(false, none)
  if (total === 5) return make(false, none, first || 256)
  if (first !== 0) {
    if (total === 5 + first) return make(false, bytes.slice(5))
    if (total === 6 + first) return make(false, bytes.slice(5, 5 + first), bytes[5 + first] || 256)
    return undefined
  }
  if (total < 7) return undefined
  const number = ((bytes[5] ?? 0) << 8) | (bytes[6] ?? 0)
  if (total === 7) return make(true, none, number || 65536)
  if (number === 0) return undefined
  if (total === 7 + number) return make(true, bytes.slice(7))
  if (total === 9 + number) {
    const le = ((bytes[7 + number] ?? 0) << 8) | (bytes[8 + number] ?? 0)
    return make(true, bytes.slice(7, 7 + number), le || 65536)
  }
  return undefined
}
