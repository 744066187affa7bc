/** APDUs over T=0 at TPDU level (ISO/IEC 7816-3:2006, 12.2): the reader knows the procedure bytes, we the cases. */
import { MalformedError } from '@webtoki/apdu'

/** CLA, INS, P1, P2, P3. */
const HEADER_BYTES = 5

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
