/**
 * Exchanges one command and its whole response in as many APDUs as needed: command chaining (ISO/IEC 7816-4:2013, 5.3.3),
 * ENVELOPE if the card has extended lengths but no chaining (ISO/IEC 7816-3:2006, 12.2), GET RESPONSE after 61xx, and a
 * second APDU with the right Le after 6Cxx (ISO/IEC 7816-4:2013, 5.3.4 and 11.5.1).
 */
import { isReading, shortLimits } from './apdu-lengths.ts'
import { atrStatesChaining, atrStatesExtended } from './atr.ts'
import { concatBytes, copyOf } from './bytes.ts'
import { apduLimits, type CommandApdu, decodeResponse, encodeCommand, type ResponseApdu } from './command.ts'
import { AbortedError, MalformedError, NotSupportedError, StatusError } from './errors.ts'
import type { CardChannel, TransmitOptions } from './ports.ts'
import { describeStatus, SW } from './status-words.ts'

/** A command with a name for error messages, such as 'GET DATA'. */
export interface NamedCommand extends CommandApdu {
  readonly name: string
}

/** Options of one exchange. */
export interface ExchangeOptions extends TransmitOptions {
  /** False: sends exactly one short APDU with Le of at most 256 and resolves to its response, even if that is 61xx. */
  readonly follow?: false
  /** Maximum length of the whole response, in bytes. Default: 128 KiB. */
  readonly maxResponseBytes?: number
}

/** Length of an extended Le field. */
const LE_BYTES = 2
/** More than any object of an applet. Stops a card that never ends its response. */
const MAX_RESPONSE_BYTES = 0x2_0000
/** 64 KiB in pieces of 64 bytes. Real cards send pieces four times as long. */
const MAX_GET_RESPONSE_ROUNDS = 1024
/** Status words that cards return before they execute a command. */
const refusals: readonly number[] = [
  SW.WRONG_LENGTH,
  SW.WRONG_P1_P2,
  SW.INS_NOT_SUPPORTED,
  SW.CLA_NOT_SUPPORTED,
]
const nothing = new Uint8Array(0)
const CHAIN_BIT = 0x10
const GET_RESPONSE = 0xc0

/**
 * Sends a command and collects its whole response. Resolves for every final status word. Rejects with MalformedError if the
 * card violates the protocol, NotSupportedError if the command does not fit the channel, AbortedError after an abort, and
 * with the errors of the channel. A command that the card refuses in its extended form is sent again in short APDUs (see
 * `extended-form.ts`). A sensitive command is never sent twice, whatever the card requests.
 */
export async function exchange(
  channel: CardChannel,
  command: NamedCommand,
  given: ExchangeOptions = {},
): Promise<ResponseApdu> {
  // All APDUs of this command share `maxWaitMs`.
  const options = { exchange: {}, ...given }
  if (command.data === undefined) return exchangeCommand(channel, command, options)
  // Copied, because parts may be sent later or again, and the caller may overwrite its array meanwhile.
  const data = copyOf(command.data)
  try {
    return await exchangeCommand(channel, { ...command, data }, options)
  } finally {
    if (options.sensitive === true) data.fill(0)
  }
}

async function exchangeCommand(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  const { last, response: first, broken } = await sendCommand(channel, command, options)
  if (broken === true) return first
  let response = first
  if (isWrongLe(response.sw) && options.sensitive !== true && last.responseBytes) {
    response = await sendWithLe(channel, last, response.sw, options)
  }
  if (options.follow === false || !isMoreAvailable(response.sw)) return response
  return collect(channel, command, response, options)
}

/**
 * Returns the data of a response with 9000. Throws StatusError for every other status word. `name` is the command's name.
 */
export function expectOk(response: ResponseApdu, name: string): Uint8Array {
  if (response.sw !== SW.OK) throw new StatusError(name, response.sw, describeStatus(response.sw))
  return response.data
}

/** The outcome of sending one command. */
export interface Sent {
  /** The last APDU sent: the whole command, or the last part of its chain. */
  readonly last: CommandApdu
  /** The response to `last`. */
  readonly response: ResponseApdu
  /** The card ended the chain before its last part, so 61xx and 6Cxx are not followed. */
  readonly broken?: true
}

async function sendCommand(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
): Promise<Sent> {
  const { limits, lengths } = channel
  const { data = nothing, responseBytes: requested = 0 } = command
  const maxBytes = (limits.untried ?? limits).responseBytes
  const whole = { ...command, responseBytes: clip(requested, maxBytes, 'extended') }
  // The short form is used whenever it suffices: it has fewer bytes, and some cards miscount extended lengths.
  const isLong = data.length > 255 || whole.responseBytes > 256
  const fits =
    data.length <= apduLimits.extended.dataBytes && encodedBytes(whole, 'extended') <= limits.commandBytes
  if (options.follow === false || !isLong || !fits) return sendShort(channel, command, options)
  const mayRepeat = options.sensitive !== true
  const reads = isReading([command.cla, command.ins])
  const sendWhole = (): Promise<ResponseApdu> => send(channel, whole, 'extended', options)
  if (!limits.extended) {
    if (limits.untried && lengths?.selection && reads && mayRepeat) {
      const { tryExtended } = await import('./extended-form.ts')
      const response = await tryExtended(channel, lengths, sendWhole)
      if (response !== undefined) return { last: whole, response }
    }
    return sendShort(channel, command, options)
  }
  const response = await sendWhole()
  if (!mayRepeat || !mayRefuseForm(response.sw, reads)) return { last: whole, response }
  const short = await sendShort(channel, command, options, 'refused')
  // If the card refuses both forms alike, the form was not the reason.
  if (lengths !== undefined && short.broken !== true && short.response.sw !== response.sw)
    lengths.takesExtended = false
  return short
}

/**
 * Returns true if the card may have refused the extended form and the command can be repeated: it was not executed or
 * only reads.
 */
function mayRefuseForm(sw: number, reads: boolean): boolean {
  return refusals.includes(sw) || (reads && sw === SW.UNKNOWN)
}

/**
 * Sends one short APDU, a chain of them, or ENVELOPE. `extended` is 'refused' if the card has just refused the extended
 * form.
 */
async function sendShort(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
  extended?: 'refused',
): Promise<Sent> {
  const limits = extended === undefined ? channel.limits : shortLimits(channel.limits)
  const { data = nothing, responseBytes: requested = 0 } = command
  const responseBytes = clip(requested, limits.responseBytes, 'short')
  const capacity = Math.min(255, limits.commandBytes - 5 - (responseBytes > 0 ? 1 : 0))
  if (data.length > 0 && capacity < 1) {
    throw new NotSupportedError(
      `${command.name} does not fit into the ${limits.commandBytes} bytes that the reader supports.`,
    )
  }
  if (options.follow === false && data.length > capacity) {
    throw new NotSupportedError(`${command.name} does not fit into one short APDU.`)
  }
  const isLong = data.length > capacity && capacity > LE_BYTES + 1
  // ENVELOPE carries the extended form, so it is useless if the card has refused that.
  const mayTakeExtended = extended === undefined && channel.lengths?.takesExtended !== false
  if (isLong && mayTakeExtended && atrStatesExtended(channel.atr) && !atrStatesChaining(channel.atr)) {
    const { sendEnveloped } = await import('./extended-form.ts')
    const form = data.length > 255 ? 'extended' : 'short'
    const wholeBytes = Math.min(requested, apduLimits[form].responseBytes)
    const whole = encodeCommand({ ...command, responseBytes: wholeBytes }, form)
    const parts = { capacityBytes: Math.min(255, limits.commandBytes - 6), responseBytes }
    try {
      return await sendEnveloped(whole, parts, (part) => send(channel, part, 'short', options))
    } finally {
      if (options.sensitive === true) whole.fill(0)
    }
  }
  let offset = 0
  while (data.length - offset > capacity) {
    const part = { ...command, cla: command.cla | CHAIN_BIT, data: data.subarray(offset, offset + capacity) }
    const response = await send(channel, { ...part, responseBytes: 0 }, 'short', options)
    // The card ended the chain and would take the next part for a separate command.
    if (response.sw !== SW.OK) return { last: part, response, broken: true }
    offset += capacity
  }
  const last = { ...command, data: data.subarray(offset), responseBytes }
  return { last, response: await send(channel, last, 'short', options) }
}

/** Sends a command again after 6Cxx, with the Le that the card requested. */
async function sendWithLe(
  channel: CardChannel,
  command: CommandApdu,
  sw: number,
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  const responseBytes = clip(sw & 0xff || 256, channel.limits.responseBytes, 'short')
  const response = await send(channel, { ...command, responseBytes }, encodingFor(command), options)
  if (isWrongLe(response.sw)) throw new MalformedError('response APDU', '6Cxx again after Le was corrected')
  return response
}

async function collect(
  channel: CardChannel,
  command: NamedCommand,
  first: ResponseApdu,
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  const maxResponseBytes = options.maxResponseBytes ?? MAX_RESPONSE_BYTES
  const parts = [first.data]
  let total = first.data.length
  let sw = first.sw
  for (let round = 0; isMoreAvailable(sw); round++) {
    if (round === MAX_GET_RESPONSE_ROUNDS) {
      throw new MalformedError(`response to ${command.name}`, `incomplete after ${round} GET RESPONSE`)
    }
    const getResponse: CommandApdu = {
      cla: command.cla & ~CHAIN_BIT,
      ins: GET_RESPONSE,
      p1: 0,
      p2: 0,
      responseBytes: clip(sw & 0xff || 256, channel.limits.responseBytes, 'short'),
    }
    // `options.sensitive` stays set: GET RESPONSE contains no secret, but its response may.
    let response = await send(channel, getResponse, 'short', options)
    if (isWrongLe(response.sw)) response = await sendWithLe(channel, getResponse, response.sw, options)
    if (response.data.length === 0 && isMoreAvailable(response.sw)) {
      throw new MalformedError(`response to ${command.name}`, '61xx again without data')
    }
    total += response.data.length
    if (total > maxResponseBytes) {
      throw new MalformedError(`response to ${command.name}`, `more than ${maxResponseBytes} bytes`)
    }
    parts.push(response.data)
    sw = response.sw
  }
  return { data: concatBytes(...parts), sw }
}

async function send(
  channel: CardChannel,
  command: CommandApdu,
  encoding: 'short' | 'extended',
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
  const encoded = encodeCommand(command, encoding)
  try {
    return decodeResponse(await channel.transmit(encoded, options))
  } finally {
    // The header is overwritten too, so that a lower layer that still holds the array can never send it as VERIFY.
    if (options.sensitive === true) encoded.fill(0)
  }
}

function encodingFor(command: CommandApdu): 'short' | 'extended' {
  return (command.data?.length ?? 0) > 255 ? 'extended' : 'short'
}

function encodedBytes(command: CommandApdu, encoding: 'short' | 'extended'): number {
  const data = command.data?.length ?? 0
  const le = command.responseBytes ? (encoding === 'short' ? 1 : data > 0 ? 2 : 3) : 0
  return 4 + (data > 0 ? (encoding === 'short' ? 1 : 3) : 0) + data + le
}

function clip(requested: number, channelBytes: number, encoding: 'short' | 'extended'): number {
  return Math.min(requested, Math.max(1, channelBytes), apduLimits[encoding].responseBytes)
}

function isMoreAvailable(sw: number): boolean {
  return sw >> 8 === 0x61
}

function isWrongLe(sw: number): boolean {
  return sw >> 8 === 0x6c
}
