/** Protocol and parameters selection (ISO/IEC 7816-3:2006, 9). */
import { MalformedError } from '@webtoki/apdu'

/** What is asked for or agreed to. `fidi` is PPS1; undefined: Fd = 372, Dd = 1. */
export interface Pps {
  readonly protocol: number
  readonly fidi?: number
}

/** Writes PPSS, PPS0, PPS1 if there is one, and PCK. */
export function encodePps({ protocol, fidi }: Pps): Uint8Array {
  const bytes = fidi === undefined ? [0xff, protocol] : [0xff, 0x10 | protocol, fidi]
  return Uint8Array.of(...bytes, xor(bytes))
}

/** Reads a request or a response. Throws MalformedError. */
export function decodePps(bytes: Uint8Array): Pps {
  const pps0 = bytes[1] ?? 0
  const count = 3 + ((pps0 >> 4) & 1) + ((pps0 >> 5) & 1) + ((pps0 >> 6) & 1)
  if (bytes[0] !== 0xff || bytes.length !== count || pps0 & 0x80 || xor(bytes) !== 0) {
    throw new MalformedError('PPS', `${bytes.length} bytes, ${count} announced`)
  }
  const protocol = pps0 & 0x0f
  return pps0 & 0x10 ? { protocol, fidi: bytes[2] as number } : { protocol }
}

/** What a response agrees to (9.3); undefined: it does not fit the request, and the card must be reset. */
export function agreedPps(request: Pps, response: Uint8Array): Pps | undefined {
  let answer: Pps
  try {
    answer = decodePps(response)
  } catch {
    return undefined
  }
  if (answer.protocol !== request.protocol) return undefined
  return answer.fidi === undefined || answer.fidi === request.fidi ? answer : undefined
}

function xor(bytes: Iterable<number>): number {
  let sum = 0
  for (const byte of bytes) sum ^= byte
  return sum
}
