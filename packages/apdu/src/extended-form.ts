/**
 * Extended APDUs at cards and readers of which one does not take them; loaded when such a pair is met. ENVELOPE is for
 * cards that take them and no chaining. The rest is for cards whose ATR is wrong or silent (ISO/IEC 7816-4:2013, table 119).
 *
 * A promise that is broken (OpenFIPS201, Token2 on contact): a command that was refused in its extended form is sent again
 * in its short one, and if that is answered otherwise, the connection uses short APDUs and chaining from then on. No
 * command is executed twice by that: 6700, 6A86, 6D00 and 6E00 are given before anything is executed. 6F00 tells nothing,
 * so only reading is repeated after it. What is sensitive is never repeated.
 *
 * Silence (CanoKey takes extended lengths): one extended APDU is tried, once in a connection. An old card may go mute at
 * it, and then needs a reset, which loses selection and login. So it is tried only in the stretch between SELECT by name
 * and the first command that does not read: nothing can be verified there that the reset would take, and sending SELECT
 * again restores the rest. The channel is disturbed by the reset, so that every application selects again later.
 */
import type { CommandApdu, ResponseApdu } from './command.ts'
import { isWebtokiError } from './errors.ts'
import type { Sent } from './exchange.ts'
import type { ApduLengths, CardChannel } from './ports.ts'

const ENVELOPE = 0xc2
/** Of an extended Le. */
const LE_BYTES = 2

/** Sends a reading command in its extended form; undefined if it is still to be sent in its short one. */
export async function tryExtended(
  channel: CardChannel,
  lengths: ApduLengths,
  send: () => Promise<ResponseApdu>,
): Promise<ResponseApdu | undefined> {
  const { selection } = lengths
  lengths.takesExtended = false
  try {
    const answer = await send()
    if (answer.sw === 0x9000 || answer.sw >> 8 === 0x61) lengths.takesExtended = true
    // The card understood what was to be read, and has no such object or does not give it: that shows neither.
    else if (answer.sw === 0x6a82 || answer.sw === 0x6a88 || answer.sw === 0x6982)
      lengths.takesExtended = undefined
    else return undefined
    return answer
  } catch (error) {
    if (!isWebtokiError(error) || isWebtokiError(error, 'work/aborted', 'card/gone', 'card/transaction'))
      throw error
    // Mute, or the reader could make nothing of its answer.
    await channel.reset('cold')
    const [sw1] = selection === undefined ? [] : (await channel.transmit(selection)).slice(-2)
    if (sw1 === 0x90 || sw1 === 0x61) return undefined
    throw error
  }
}

/**
 * The command APDU as data of ENVELOPE commands (ISO/IEC 7816-3:2006, 12.2); the answer to the last is the command's.
 * `capacityBytes`: of one command's data field; `responseBytes`: Ne of the last.
 */
export async function sendEnveloped(
  whole: Uint8Array,
  { capacityBytes, responseBytes }: { readonly capacityBytes: number; readonly responseBytes: number },
  send: (part: CommandApdu) => Promise<ResponseApdu>,
): Promise<Sent> {
  const [own = 0] = whole
  // Interindustry, on the command's logical channel (ISO/IEC 7816-4:2013, 5.4.1).
  const cla = (own & 0xc0) === 0x40 ? own & 0x4f : own & 0x03
  const part: CommandApdu = { cla, ins: ENVELOPE, p1: 0, p2: 0 }
  let offset = 0
  for (let left = whole.length; left > capacityBytes; left = whole.length - offset) {
    // Le alone in the last part would come after the card has seen all of the data, and taken it for a case 3.
    const partBytes = left - capacityBytes <= LE_BYTES ? capacityBytes - LE_BYTES : capacityBytes
    const answer = await send({ ...part, data: whole.subarray(offset, offset + partBytes) })
    if (answer.sw !== 0x9000) return { last: part, answer, broken: true }
    offset += partBytes
  }
  const last = { ...part, data: whole.subarray(offset), responseBytes }
  const answer = await send(last)
  // Asked again by 6Cxx after these bytes are gone, the last part would be another.
  return answer.sw >> 8 === 0x6c ? { last, answer, broken: true } : { last, answer }
}
