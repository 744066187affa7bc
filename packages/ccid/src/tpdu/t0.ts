/**
 * Maps APDUs to T=0 TPDUs (ISO/IEC 7816-3:2006, 12.2). The reader or `t0-characters.ts` handles the procedure bytes.
 */
import { concatBytes, MalformedError } from '@webtoki/apdu'

/** CLA, INS, P1, P2, P3. */
const HEADER_BYTES = 5
const GET_RESPONSE = 0xc0
const CHAIN_BIT = 0x10
/** At most 256 rounds: the Ne of a short APDU, in pieces of one byte. */
const MAX_ROUNDS = 256

/**
 * Returns the command TPDU of a short command APDU. A case 4 command loses its Le: the card returns 61xx, and the
 * caller follows with GET RESPONSE (12.2.1.4). Throws MalformedError for extended lengths, which T=0 does not
 * support.
 */
export function toT0Tpdu(apdu: Uint8Array): Uint8Array {
  if (apdu.length === HEADER_BYTES - 1) {
    // Case 1: P3 is 00.
    const tpdu = new Uint8Array(HEADER_BYTES)
    tpdu.set(apdu)
    return tpdu
  }
  if (apdu.length === HEADER_BYTES) return apdu
  const dataBytes = apdu[4] ?? 0
  const isShort =
    dataBytes > 0 &&
    (apdu.length === HEADER_BYTES + dataBytes || apdu.length === HEADER_BYTES + 1 + dataBytes)
  if (!isShort)
    throw new MalformedError('command APDU', `${apdu.length} bytes are not a short APDU, as T=0 needs`)
  return apdu.subarray(0, HEADER_BYTES + dataBytes)
}

/**
 * Sends a command, and fetches the response with GET RESPONSE if the card executed a case 4 command but returned only
 * a status (9000, or a warning 62xx or 63xx). A warning remains the status. If the card has nothing to fetch, its
 * first status remains. The caller handles 61xx. `carry` is called once per APDU and can return `capacityBytes` bytes
 * without the status word.
 */
export async function withFetchedResponse(
  carry: (apdu: Uint8Array) => Promise<Uint8Array>,
  command: Uint8Array,
  capacityBytes: number = 256,
): Promise<Uint8Array> {
  const isCase4 = command.length > HEADER_BYTES && command.length === HEADER_BYTES + 1 + (command[4] ?? 0)
  const cla = (command[0] ?? 0) & ~CHAIN_BIT
  const responseBytes = command.at(-1) || 256
  const first = await carry(command)
  const [sw1, sw2] = first
  const isWarning = sw1 === 0x62 || sw1 === 0x63
  if (!isCase4 || first.length !== 2 || !(isWarning || (sw1 === 0x90 && sw2 === 0))) return first
  const parts: Uint8Array[] = []
  let nextBytes = responseBytes
  let missing = responseBytes
  for (let rounds = 0; rounds < MAX_ROUNDS && missing > 0; rounds++) {
    const most = Math.min(nextBytes, capacityBytes)
    const part = await carry(Uint8Array.of(cla, GET_RESPONSE, 0, 0, most))
    const [more, count = 0] = part.subarray(-2)
    if (part.length === 2 && more === 0x6c && most !== count) {
      nextBytes = count
      continue
    }
    if (part.length <= 2) break
    // Without a warning to keep, the caller handles the rest.
    if (!isWarning) return part
    parts.push(part.subarray(0, -2))
    missing -= part.length - 2
    if (more !== 0x61) break
    nextBytes = Math.min(missing, count || 256)
  }
  return concatBytes(...parts, first)
}
