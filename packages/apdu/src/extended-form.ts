/**
 * Extended APDUs if the reader or the card cannot carry them, or the ATR does not state it (ISO/IEC 7816-4:2013, table
 * 119). `exchange` loads this module when it meets such a card.
 *
 * ENVELOPE: the card takes extended lengths but no command chaining.
 *
 * The ATR states extended lengths and the card refuses them (OpenFIPS201, Token2 over contact): `exchange` sends the
 * refused command again in its short form. If the card then gives another status word, the connection uses short APDUs and
 * chaining from then on. No command is executed twice, because cards return 6700, 6A86, 6D00 and 6E00 before they execute
 * anything. 6F00 has no such meaning, so only reading commands are repeated after it. Sensitive commands are never repeated.
 *
 * The ATR states nothing (CanoKey takes extended lengths all the same): one extended APDU is tried, once per connection.
 * An old card may go mute at it and then needs a reset, which loses the selection and the login. It is therefore tried only
 * between SELECT by name and the first command that does more than read: no PIN can be verified by then, and sending SELECT
 * again restores the rest. The reset marks the channel as disturbed, so that every application selects again later.
 */
import type { CommandApdu, ResponseApdu } from './command.ts'
import { isWebtokiError } from './errors.ts'
import type { Sent } from './exchange.ts'
import type { ApduLengths, CardChannel } from './ports.ts'

const ENVELOPE = 0xc2
/** Length of an extended Le field. */
const LE_BYTES = 2

/**
 * Sends a reading command in its extended form and notes whether the card takes it. Returns undefined if the caller has
 * to send the command in its short form. Rejects if the card does not recover.
 */
export async function tryExtended(
  channel: CardChannel,
  lengths: ApduLengths,
  send: () => Promise<ResponseApdu>,
): Promise<ResponseApdu | undefined> {
  const { selection } = lengths
  lengths.takesExtended = false
  try {
    const response = await send()
    if (response.sw === 0x9000 || response.sw >> 8 === 0x61) lengths.takesExtended = true
    // The card parsed the command, but has no such object or denies access. That proves nothing about other lengths.
    else if (response.sw === 0x6a82 || response.sw === 0x6a88 || response.sw === 0x6982)
      lengths.takesExtended = undefined
    else return undefined
    return response
  } catch (error) {
    if (!isWebtokiError(error) || isWebtokiError(error, 'work/aborted', 'card/gone', 'card/transaction'))
      throw error
    // The card is mute, or the reader could not decode its response.
    await channel.reset('cold')
    const [sw1] = selection === undefined ? [] : (await channel.transmit(selection)).slice(-2)
    if (sw1 === 0x90 || sw1 === 0x61) return undefined
    throw error
  }
}

/**
 * Sends a whole command APDU in the data fields of ENVELOPE commands (ISO/IEC 7816-3:2006, 12.2). The response to the last
 * one is the response to the command. `capacityBytes` is the longest data field of one ENVELOPE, `responseBytes` is Ne of
 * the last one.
 */
export async function sendEnveloped(
  whole: Uint8Array,
  { capacityBytes, responseBytes }: { readonly capacityBytes: number; readonly responseBytes: number },
  send: (part: CommandApdu) => Promise<ResponseApdu>,
): Promise<Sent> {
  const [wholeCla = 0] = whole
  // The interindustry class on the command's logical channel (ISO/IEC 7816-4:2013, 5.4.1).
  const cla = (wholeCla & 0xc0) === 0x40 ? wholeCla & 0x4f : wholeCla & 0x03
  const part: CommandApdu = { cla, ins: ENVELOPE, p1: 0, p2: 0 }
  let offset = 0
  for (let left = whole.length; left > capacityBytes; left = whole.length - offset) {
    // The last part must hold more than Le: a card that has all of the data would take the command for a case 3.
    const partBytes = left - capacityBytes <= LE_BYTES ? capacityBytes - LE_BYTES : capacityBytes
    const response = await send({ ...part, data: whole.subarray(offset, offset + partBytes) })
    if (response.sw !== 0x9000) return { last: part, response, broken: true }
    offset += partBytes
  }
  const last = { ...part, data: whole.subarray(offset), responseBytes }
  const response = await send(last)
  // After 6Cxx the card has discarded the parts before, so the last one cannot be sent again by itself.
  return response.sw >> 8 === 0x6c ? { last, response, broken: true } : { last, response }
}
