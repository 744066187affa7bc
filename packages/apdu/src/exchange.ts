/**
 * One command and its whole answer, however many APDUs that takes: command chaining (ISO/IEC 7816-4:2013, 5.3.3),
 * ENVELOPE where the card has extended lengths and no chaining (ISO/IEC 7816-3:2006, 12.2),
 * GET RESPONSE after 61xx and the second go after 6Cxx (ISO/IEC 7816-4:2013, 5.3.4 and 11.5.1).
 */
import { isReading, shortLimits } from './apdu-lengths.ts'
import { atrStatesChaining, atrStatesExtended } from './atr.ts'
import { concatBytes, copyOf } from './bytes.ts'
import { apduLimits, type CommandApdu, decodeResponse, encodeCommand, type ResponseApdu } from './command.ts'
import { AbortedError, MalformedError, NotSupportedError, StatusError } from './errors.ts'
import type { CardChannel, TransmitOptions } from './ports.ts'
import { describeStatus, SW } from './status-words.ts'

/** A command with the name that errors call it by, such as 'GET DATA'. */
export interface NamedCommand extends CommandApdu {
  readonly name: string
}

/** Options of one exchange. */
export interface ExchangeOptions extends TransmitOptions {
  /** False: exactly one short APDU with Le of at most 256, and its answer as it came, 61xx included. */
  readonly follow?: false
  /** Cap on the whole answer, in bytes. Default: 128 KiB. */
  readonly maxResponseBytes?: number
}

/** Of an extended Le. */
const LE_BYTES = 2
/** More than any object of an applet, and soon enough against a card that never ends. */
const MAX_RESPONSE_BYTES = 0x2_0000
/** 64 KiB in pieces of 64 bytes: real cards send four times as much at once. */
const MAX_GET_RESPONSE_ROUNDS = 1024
/** Given before a command is executed: a length, a parameter or a command that the card does not know in this form. */
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
 * Sends a command and collects its answer. Any final status word is a result; only a card that breaks the rules, an
 * abort or the channel itself reject. A command that the card refused for its extended form is sent again in short APDUs
 * (see `extended-form.ts`). A sensitive command is never sent a second time, whatever the card asks for.
 */
export async function exchange(
  channel: CardChannel,
  command: NamedCommand,
  given: ExchangeOptions = {},
): Promise<ResponseApdu> {
  // However many APDUs it takes.
  const options = { exchange: {}, ...given }
  if (command.data === undefined) return exchangeOwn(channel, command, options)
  // Parts of it leave later, and it may leave again: what its owner writes into it meanwhile is not sent.
  const data = copyOf(command.data)
  try {
    return await exchangeOwn(channel, { ...command, data }, options)
  } finally {
    if (options.sensitive === true) data.fill(0)
  }
}

async function exchangeOwn(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  const { last, answer: first, broken } = await sendCommand(channel, command, options)
  if (broken === true) return first
  let answer = first
  if (isWrongLe(answer.sw) && options.sensitive !== true && last.responseBytes) {
    answer = await sendAgain(channel, last, answer.sw, options)
  }
  if (options.follow === false || !isMoreAvailable(answer.sw)) return answer
  return collect(channel, command, answer, options)
}

/** The data of an answer with 9000. Throws StatusError on every other status word. */
export function expectOk(response: ResponseApdu, name: string): Uint8Array {
  if (response.sw !== SW.OK) throw new StatusError(name, response.sw, describeStatus(response.sw))
  return response.data
}

/** What came of one command. */
export interface Sent {
  /** The APDU that was answered: the whole command, or the last part of its chain. */
  readonly last: CommandApdu
  readonly answer: ResponseApdu
  /** The card left the chain before its last part: nothing is to be followed. */
  readonly broken?: true
}

async function sendCommand(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
): Promise<Sent> {
  const { limits, lengths } = channel
  const { data = nothing, responseBytes: wanted = 0 } = command
  const mostBytes = (limits.untried ?? limits).responseBytes
  const whole = { ...command, responseBytes: clip(wanted, mostBytes, 'extended') }
  // Short where short is enough: fewer bytes, and cards that miscount extended lengths stay out of trouble.
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
      const answer = await tryExtended(channel, lengths, sendWhole)
      if (answer !== undefined) return { last: whole, answer }
    }
    return sendShort(channel, command, options)
  }
  const answer = await sendWhole()
  if (!mayRepeat || !mayBeOfForm(answer.sw, reads)) return { last: whole, answer }
  const again = await sendShort(channel, command, options, 'refused')
  // Refused in both forms, it was not for its form.
  if (lengths !== undefined && again.broken !== true && again.answer.sw !== answer.sw)
    lengths.takesExtended = false
  return again
}

/** Whether a command may have been refused for its extended form, and certainly was not executed, or only reads. */
function mayBeOfForm(sw: number, reads: boolean): boolean {
  return refusals.includes(sw) || (reads && sw === SW.UNKNOWN)
}

/** One short APDU, or a chain of them. `extended`: the card has just refused the command in that form. */
async function sendShort(
  channel: CardChannel,
  command: NamedCommand,
  options: ExchangeOptions,
  extended?: 'refused',
): Promise<Sent> {
  const limits = extended === undefined ? channel.limits : shortLimits(channel.limits)
  const { data = nothing, responseBytes: wanted = 0 } = command
  const responseBytes = clip(wanted, limits.responseBytes, 'short')
  const room = Math.min(255, limits.commandBytes - 5 - (responseBytes > 0 ? 1 : 0))
  if (data.length > 0 && room < 1) {
    throw new NotSupportedError(
      `${command.name} does not fit the ${limits.commandBytes} bytes that the reader takes.`,
    )
  }
  if (options.follow === false && data.length > room) {
    throw new NotSupportedError(`${command.name} does not fit one short APDU.`)
  }
  const isLong = data.length > room && room > LE_BYTES + 1
  // ENVELOPE carries the extended form.
  const mayTakeExtended = extended === undefined && channel.lengths?.takesExtended !== false
  if (isLong && mayTakeExtended && atrStatesExtended(channel.atr) && !atrStatesChaining(channel.atr)) {
    const { sendEnveloped } = await import('./extended-form.ts')
    const form = data.length > 255 ? 'extended' : 'short'
    const wholeBytes = Math.min(wanted, apduLimits[form].responseBytes)
    const whole = encodeCommand({ ...command, responseBytes: wholeBytes }, form)
    const parts = { capacityBytes: Math.min(255, limits.commandBytes - 6), responseBytes }
    try {
      return await sendEnveloped(whole, parts, (part) => send(channel, part, 'short', options))
    } finally {
      if (options.sensitive === true) whole.fill(0)
    }
  }
  let offset = 0
  while (data.length - offset > room) {
    const part = { ...command, cla: command.cla | CHAIN_BIT, data: data.subarray(offset, offset + room) }
    const answer = await send(channel, { ...part, responseBytes: 0 }, 'short', options)
    // The card left the chain: the rest would be read as a command of its own.
    if (answer.sw !== SW.OK) return { last: part, answer, broken: true }
    offset += room
  }
  const last = { ...command, data: data.subarray(offset), responseBytes }
  return { last, answer: await send(channel, last, 'short', options) }
}

async function sendAgain(
  channel: CardChannel,
  command: CommandApdu,
  sw: number,
  options: ExchangeOptions,
): Promise<ResponseApdu> {
  const responseBytes = clip(sw & 0xff || 256, channel.limits.responseBytes, 'short')
  const answer = await send(channel, { ...command, responseBytes }, encodingFor(command), options)
  if (isWrongLe(answer.sw)) throw new MalformedError('response APDU', 'a second 6Cxx after Le was corrected')
  return answer
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
      throw new MalformedError(`answer to ${command.name}`, `no end after ${round} GET RESPONSE`)
    }
    const getResponse: CommandApdu = {
      cla: command.cla & ~CHAIN_BIT,
      ins: GET_RESPONSE,
      p1: 0,
      p2: 0,
      responseBytes: clip(sw & 0xff || 256, channel.limits.responseBytes, 'short'),
    }
    // Nothing secret is in GET RESPONSE itself, but in its answer may be: the flag goes along.
    let answer = await send(channel, getResponse, 'short', options)
    if (isWrongLe(answer.sw)) answer = await sendAgain(channel, getResponse, answer.sw, options)
    if (answer.data.length === 0 && isMoreAvailable(answer.sw)) {
      throw new MalformedError(`answer to ${command.name}`, '61xx again, and no data')
    }
    total += answer.data.length
    if (total > maxResponseBytes) {
      throw new MalformedError(`answer to ${command.name}`, `more than ${maxResponseBytes} bytes`)
    }
    parts.push(answer.data)
    sw = answer.sw
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
    // The header goes too: should a lower layer still hold these bytes, they are no VERIFY any more.
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

function clip(wanted: number, channelBytes: number, encoding: 'short' | 'extended'): number {
  return Math.min(wanted, Math.max(1, channelBytes), apduLimits[encoding].responseBytes)
}

function isMoreAvailable(sw: number): boolean {
  return sw >> 8 === 0x61
}

function isWrongLe(sw: number): boolean {
  return sw >> 8 === 0x6c
}
