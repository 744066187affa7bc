/** The activation of readers that take TPDUs or characters: PPS, parameters, IFSD, and the protocol that carries the APDUs. */
import {
  type Atr,
  decodeAtr,
  limitsOf,
  MalformedError,
  NotSupportedError,
  ReaderGoneError,
  ReaderRefusedError,
  readAtr,
  SHORT_COMMAND_BYTES,
} from '@webtoki/apdu'
import type { ActivatedSlot, Activation, ExchangeOptions } from '../activation-port.ts'
import { readDataRates } from '../class-requests.ts'
import { CcidFeature } from '../ccid-feature.ts'
import {
  CcidError,
  ChainParameter,
  encodeXfrBlock,
  HEADER_BYTES,
  RdrToPc,
  READER_TIMEOUT_MS,
} from '../messages.ts'
import { decodeParameters, encodeGetParameters, encodeSetParameters } from '../protocol-parameters.ts'
import type { CcidReader } from '../reader.ts'
import type { CharacterLine } from './character-line.ts'
import {
  blockWaitingMs,
  type CardParameters,
  chooseParameters,
  lineMs,
  ppsAgreed,
  t1Of,
  workWaitingMs,
} from './parameters.ts'
import { toT0Tpdu, withFetchedAnswer } from './t0.ts'
import { overheadBytes } from './t1-block.ts'
import { type BlockAnswer, T1Transport } from './t1-transport.ts'

/** PPSS, PPS0, PPS1, PCK. */
const PPS_WITH_SPEED_BYTES = 4
/** LEN 255 is reserved in T=1. */
const MAX_IFSD_BYTES = 254
const STATUS_WORD_BYTES = 2
/** CLA, INS, P1, P2, P3. */
const T0_HEADER_BYTES = 5
/** NAD, PCB, LEN. */
const PROLOGUE_BYTES = 3
const MAX_REPEATS = 2
/** Between a card's block waiting time and the reader's own verdict. */
const MARGIN_MS = 10_000

/** Not two bytes of sense: the defaults, T=0. */
function bareAtr(): Atr {
  return decodeAtr(Uint8Array.of(0x3b, 0x00))
}

/** `line`: the reader takes characters. Rejects with NotSupportedError where card, reader and caller have nothing in common. */
export async function activateTpdu(
  slot: ActivatedSlot,
  told: Atr | undefined,
  wanted: 'T=0' | 'T=1' | undefined,
  line: CharacterLine | undefined,
): Promise<Activation> {
  const { descriptor } = slot.reader
  let atr = told ?? bareAtr()
  let parameters: CardParameters
  try {
    parameters = chooseParameters(atr, descriptor, wanted)
  } catch (error) {
    // In specific mode the card has one protocol; some change to negotiable mode by a warm reset (6.3.1).
    if (atr.specificMode?.canChange !== true) throw error
    atr = readAtr(await slot.powerOn()) ?? bareAtr()
    parameters = chooseParameters(atr, descriptor, wanted)
  }
  // The list is asked for where it decides: a speed of our own choice, at a reader that has but some.
  if (parameters.pps?.length === PPS_WITH_SPEED_BYTES && descriptor.dataRateCount > 0)
    parameters = chooseParameters(atr, descriptor, wanted, await listedRates(slot.reader))
  if (parameters.pps !== undefined) {
    const agreed = await sendPps(slot, line, parameters.pps)
    if (agreed === undefined) {
      // A card that would not negotiate speaks as its ATR says, after a reset.
      atr = readAtr(await slot.powerOn()) ?? bareAtr()
      const plain = chooseParameters(withoutTa1(atr), descriptor, `T=${atr.defaultProtocol as 0 | 1}`)
      if (wanted !== undefined && wanted !== `T=${plain.protocol}`)
        throw new NotSupportedError(`The card would not change to ${wanted}.`)
      parameters = { ...plain, pps: undefined }
    } else if (agreed.fiDi !== parameters.fiDi) {
      parameters = { ...parameters, fiDi: agreed.fiDi }
    }
  }
  let { protocol } = parameters
  if (parameters.setParameters !== undefined) {
    const data = parameters.setParameters.slice()
    data[0] = parameters.fiDi
    await setParameters(slot, protocol, data, protocol === atr.defaultProtocol)
  } else if (descriptor.features & CcidFeature.automaticNegotiation) {
    protocol = (await askProtocol(slot)) ?? protocol
  }
  return protocol === 1
    ? overT1(slot, line, atr, parameters.fiDi)
    : overT0(slot, line, workWaitingMs(atr, parameters.fiDi, descriptor))
}

const rateLists = new WeakMap<CcidReader, Promise<readonly number[] | undefined>>()

/** Read once for each reader. Undefined: it lists none after all, and dwMaxDataRate decides. */
function listedRates(reader: CcidReader): Promise<readonly number[] | undefined> {
  const known = rateLists.get(reader)
  if (known !== undefined) return known
  const reading = readDataRates(reader).then(
    (rates) => (rates.length > 0 ? rates : undefined),
    (error: unknown) => {
      if (!(error instanceof ReaderGoneError)) return undefined
      rateLists.delete(reader)
      throw error
    },
  )
  rateLists.set(reader, reading)
  return reading
}

/** The same card at its default speed. */
function withoutTa1(atr: Atr): Atr {
  const [head, ...rest] = atr.interfaceBytes
  if (head === undefined) return atr
  const { ta: _speed, ...others } = head
  return { ...atr, interfaceBytes: [others, ...rest] }
}

async function sendPps(
  slot: ActivatedSlot,
  line: CharacterLine | undefined,
  request: Uint8Array,
): Promise<{ readonly fiDi: number } | undefined> {
  try {
    if (line !== undefined) return ppsAgreed(request, await line.exchangePps(request, MARGIN_MS))
    const message = encodeXfrBlock({ slot: slot.number, chain: ChainParameter.whole, data: request })
    const answer = await slot.reader.ask(message, RdrToPc.dataBlock, 'PPS', {}, MARGIN_MS)
    return ppsAgreed(request, answer.data)
  } catch (error) {
    if (error instanceof ReaderRefusedError || error instanceof MalformedError) return undefined
    throw error
  }
}

/** Refused where nothing is to be changed, it may as well be left. */
async function setParameters(
  { number, reader }: ActivatedSlot,
  protocol: 0 | 1,
  data: Uint8Array,
  isDefault: boolean,
): Promise<void> {
  try {
    await toldAgain(() =>
      reader.ask(
        encodeSetParameters({ slot: number, protocol, data }),
        RdrToPc.parameters,
        'SetParameters',
        {},
        MARGIN_MS,
      ),
    )
  } catch (error) {
    if (!(error instanceof ReaderRefusedError)) throw error
    if (!isDefault)
      throw new NotSupportedError(`The reader would not change to T=${protocol} with this card.`, {
        cause: error,
      })
  }
}

/** A garbled answer is no reason to give the card up, where being told again changes nothing. */
async function toldAgain<T>(tell: () => Promise<T>): Promise<T> {
  for (let repeats = 0; ; repeats++) {
    try {
      return await tell()
    } catch (error) {
      if (!(error instanceof MalformedError) || repeats >= MAX_REPEATS) throw error
    }
  }
}

/** Which protocol the reader chose by itself; undefined where it does not tell. */
async function askProtocol({ number, reader }: ActivatedSlot): Promise<0 | 1 | undefined> {
  try {
    const message = encodeGetParameters({ slot: number })
    const answer = await reader.ask(message, RdrToPc.parameters, 'GetParameters', {}, READER_TIMEOUT_MS)
    return decodeParameters(answer).protocol
  } catch (error) {
    if (error instanceof ReaderRefusedError || error instanceof MalformedError) return undefined
    throw error
  }
}

function overT0(
  { number, reader }: ActivatedSlot,
  line: CharacterLine | undefined,
  waitingMs: number,
): Activation {
  const capacityBytes = reader.descriptor.maxMessageBytes - HEADER_BYTES
  const carry = async (command: Uint8Array, options: ExchangeOptions): Promise<Uint8Array> => {
    if (line !== undefined) return line.transmitT0(command, options, waitingMs + MARGIN_MS)
    const message = encodeXfrBlock({ slot: number, chain: ChainParameter.whole, data: toT0Tpdu(command) })
    return (await reader.ask(message, RdrToPc.dataBlock, 'XfrBlock', options)).data
  }
  // Characters: the header goes before its data, and an answer comes in as many messages as it takes.
  const characters = { commandBytes: T0_HEADER_BYTES + Math.min(256, capacityBytes), responseBytes: 256 }
  const limits = line === undefined ? limitsOf(capacityBytes) : characters
  return {
    limits: { extended: false, ...limits },
    transmit: (command, options) =>
      withFetchedAnswer((apdu) => carry(apdu, options), command, limits.responseBytes),
  }
}

async function overT1(
  slot: ActivatedSlot,
  line: CharacterLine | undefined,
  atr: Atr,
  fiDi: number,
): Promise<Activation> {
  const { reader, number } = slot
  const { features, maxIfsdBytes, maxMessageBytes } = reader.descriptor
  const { ifscBytes, errorDetection } = t1Of(atr)
  const capacityBytes = maxMessageBytes - HEADER_BYTES - overheadBytes(errorDetection)
  const blockMs = blockWaitingMs(atr, fiDi, reader.descriptor)
  const beyondMs = lineMs(atr, fiDi, reader.descriptor) + MARGIN_MS
  const transport = new T1Transport({
    nad: 0,
    detection: errorDetection,
    ifscBytes,
    capacityBytes: Math.max(1, capacityBytes),
    blockWaitingMs: blockMs,
    exchange: async (block, waitingTimes, options): Promise<BlockAnswer> => {
      const timeoutMs = Math.max(options.timeoutMs ?? 0, blockMs * Math.max(1, waitingTimes) + beyondMs)
      const waitingExtension = Math.min(255, waitingTimes)
      try {
        if (line !== undefined) {
          const epilogueBytes = overheadBytes(errorDetection) - PROLOGUE_BYTES
          return await line.exchangeBlock(block, epilogueBytes, { ...options, waitingExtension }, timeoutMs)
        }
        const message = encodeXfrBlock({
          slot: number,
          chain: ChainParameter.whole,
          waitingExtension,
          data: block,
        })
        return (await reader.ask(message, RdrToPc.dataBlock, 'XfrBlock', options, timeoutMs)).data
      } catch (error) {
        return blockTrouble(error)
      }
    },
  })
  const ownBytes = Math.max(1, Math.min(maxIfsdBytes || MAX_IFSD_BYTES, MAX_IFSD_BYTES, capacityBytes))
  // The reader has told the card by itself, or we do.
  const ifsdBytes = features & CcidFeature.automaticIfsd ? ownBytes : await transport.negotiateIfsd(ownBytes)
  return {
    // A short answer that fits one block saves a block each way.
    limits: {
      extended: false,
      commandBytes: SHORT_COMMAND_BYTES,
      responseBytes: Math.max(1, Math.min(256, ifsdBytes - STATUS_WORD_BYTES)),
    },
    transmit: (command, options) => transport.transmit(command, options),
    transmitOnPad: (template, send, options) =>
      transport.transmitOnPad(template, (prologue) => send(prologue).catch(blockTrouble), options),
  }
}

/** What the reader saw of a block that did not come whole, or what was lost on its way from the reader; everything else is no matter of blocks. */
function blockTrouble(error: unknown): BlockAnswer {
  if (error instanceof MalformedError) return 'garbled'
  if (error instanceof ReaderRefusedError && (error.bStatus & 3) === 0) {
    if (error.bError === CcidError.ICC_MUTE) return 'silent'
    if (error.bError === CcidError.XFR_PARITY_ERROR || error.bError === CcidError.XFR_OVERRUN)
      return 'garbled'
  }
  throw error
}
