/** APDUs over T=0 (ISO/IEC 7816-3:2006, 12.2): whoever carries the TPDUs knows the procedure bytes, we the cases. */
import { concatBytes, MalformedError } from '@webtoki/apdu'

/** CLA, INS, P1, P2, P3. */
const HEADER_BYTES = 5
const GET_RESPONSE = 0xc0
const CHAIN_BIT = 0x10
/** Ne of a short APDU: pieces of one byte each are the most. */
const MAX_ROUNDS = 256

/**
 * The command TPDU of a short command APDU. Case 4 loses its Le: the card answers 61xx, which the layer above follows
 * by GET RESPONSE (12.2.1.4). Throws MalformedError for extended lengths, which T=0 has not.
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
    throw new MalformedError('command APDU', `${apdu.length} bytes are no short APDU, and T=0 has no other`)
  return apdu.subarray(0, HEADER_BYTES + dataBytes)
}

/**
 * Sends a command and, where it is a case 4 that the card has processed without a word of its answer (9000, or a
 * warning 62xx or 63xx), fetches that by GET RESPONSE. The warning stays the status; a card that has nothing to fetch
 * keeps its first status. 61xx is left to the layer above. `carry` takes each APDU once, and has room for answers of
 * `capacityBytes`, without their status word.
 */
export async function withFetchedAnswer(
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
  let wanted = responseBytes
  let missing = responseBytes
  for (let rounds = 0; rounds < MAX_ROUNDS && missing > 0; rounds++) {
    const most = Math.min(wanted, capacityBytes)
    const answer = await carry(Uint8Array.of(cla, GET_RESPONSE, 0, 0, most))
    const [more, count = 0] = answer.subarray(-2)
    if (answer.length === 2 && more === 0x6c && most !== count) {
      wanted = count
      continue
    }
    if (answer.length <= 2) break
    // Without a warning to be kept the layer above goes on by itself.
    if (!isWarning) return answer
    parts.push(answer.subarray(0, -2))
    missing -= answer.length - 2
    if (more !== 0x61) break
    wanted = Math.min(missing, count || 256)
  }
  return concatBytes(...parts, first)
}
