/**
 * Activates cards in readers at TPDU or character level: PPS, parameters, IFSD and the protocol (ISO/IEC 7816-3:2006,
 * 6.3.1, 9, 11.4.2).
 */
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
  acceptedPps,
  t1Of,
  workWaitingMs,
} from './parameters.ts'
import { toT0Tpdu, withFetchedResponse } from './t0.ts'
import { overheadBytes } from './t1-block.ts'
import { type BlockResponse, T1Transport } from './t1-transport.ts'

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
/** Added to the card's own waiting time, so that the reader reports its time-out first. */
const MARGIN_MS = 10_000

/** Replaces an ATR of fewer than two usable bytes: default parameters, T=0. */
function minimalAtr(): Atr {
  return decodeAtr(Uint8Array.of(0x3b, 0x00))
}

/**
 * Activates the card. `line`: the reader works at character level. Rejects with NotSupportedError if card, reader and
 * caller have no protocol in common.
 */
export async function activateTpdu(
  slot: ActivatedSlot,
  receivedAtr: Atr | undefined,
  requested: 'T=0' | 'T=1' | undefined,
  line: CharacterLine | undefined,
): Promise<Activation> {
  const { descriptor } = slot.reader
  let atr = receivedAtr ?? minimalAtr()
  let parameters: CardParameters
  try {
    parameters = chooseParameters(atr, descriptor, requested)
  } catch (error) {
    // In specific mode the card has one protocol. Some cards change to negotiable mode after a warm reset (6.3.1).
    if (atr.specificMode?.canChange !== true) throw error
    atr = readAtr(await slot.powerOn()) ?? minimalAtr()
    parameters = chooseParameters(atr, descriptor, requested)
  }
  // The list matters only if this driver chooses the speed and the reader supports some speeds only.
  if (parameters.pps?.length === PPS_WITH_SPEED_BYTES && descriptor.dataRateCount > 0)
    parameters = chooseParameters(atr, descriptor, requested, await listedRates(slot.reader))
  if (parameters.pps !== undefined) {
    const agreed = await sendPps(slot, line, parameters.pps)
    if (agreed === undefined) {
      // A card that refuses PPS uses the parameters of its ATR after a reset.
      atr = readAtr(await slot.powerOn()) ?? minimalAtr()
      const plain = chooseParameters(withoutTa1(atr), descriptor, `T=${atr.defaultProtocol as 0 | 1}`)
      if (requested !== undefined && requested !== `T=${plain.protocol}`)
        throw new NotSupportedError(`The card refused to change to ${requested}.`)
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
    protocol = (await readProtocol(slot)) ?? protocol
  }
  return protocol === 1
    ? t1Activation(slot, line, atr, parameters.fiDi)
    : t0Activation(slot, line, workWaitingMs(atr, parameters.fiDi, descriptor))
}

const rateLists = new WeakMap<CcidReader, Promise<readonly number[] | undefined>>()

/** Read once per reader. Undefined if the reader lists no rates; then dwMaxDataRate decides. */
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

/** The ATR without TA1, which means the default speed. */
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
    if (line !== undefined) return acceptedPps(request, await line.exchangePps(request, MARGIN_MS))
    const message = encodeXfrBlock({ slot: slot.number, chain: ChainParameter.whole, data: request })
    const response = await slot.reader.exchange(message, RdrToPc.dataBlock, 'PPS', {}, MARGIN_MS)
    return acceptedPps(request, response.data)
  } catch (error) {
    if (error instanceof ReaderRefusedError || error instanceof MalformedError) return undefined
    throw error
  }
}

/** A refusal is ignored if the protocol is the default one anyway. */
async function setParameters(
  { number, reader }: ActivatedSlot,
  protocol: 0 | 1,
  data: Uint8Array,
  isDefault: boolean,
): Promise<void> {
  try {
    await repeatIfMalformed(() =>
      reader.exchange(
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
      throw new NotSupportedError(`The reader refused to change to T=${protocol} with this card.`, {
        cause: error,
      })
  }
}

/** Repeats an exchange whose response was malformed. Only for messages that are harmless when sent twice. */
async function repeatIfMalformed<T>(exchange: () => Promise<T>): Promise<T> {
  for (let repeats = 0; ; repeats++) {
    try {
      return await exchange()
    } catch (error) {
      if (!(error instanceof MalformedError) || repeats >= MAX_REPEATS) throw error
    }
  }
}

/** Reads the protocol that the reader chose; undefined if it does not report one. */
async function readProtocol({ number, reader }: ActivatedSlot): Promise<0 | 1 | undefined> {
  try {
    const message = encodeGetParameters({ slot: number })
    const response = await reader.exchange(
      message,
      RdrToPc.parameters,
      'GetParameters',
      {},
      READER_TIMEOUT_MS,
    )
    return decodeParameters(response).protocol
  } catch (error) {
    if (error instanceof ReaderRefusedError || error instanceof MalformedError) return undefined
    throw error
  }
}

function t0Activation(
  { number, reader }: ActivatedSlot,
  line: CharacterLine | undefined,
  waitingMs: number,
): Activation {
  const capacityBytes = reader.descriptor.maxMessageBytes - HEADER_BYTES
  const carry = async (command: Uint8Array, options: ExchangeOptions): Promise<Uint8Array> => {
    if (line !== undefined) return line.transmitT0(command, options, waitingMs + MARGIN_MS)
    const message = encodeXfrBlock({ slot: number, chain: ChainParameter.whole, data: toT0Tpdu(command) })
    return (await reader.exchange(message, RdrToPc.dataBlock, 'XfrBlock', options)).data
  }
  // At character level the header goes before its data, and a response may take several messages.
  const characters = { commandBytes: T0_HEADER_BYTES + Math.min(256, capacityBytes), responseBytes: 256 }
  const limits = line === undefined ? limitsOf(capacityBytes) : characters
  return {
    limits: { extended: false, ...limits },
    transmit: (command, options) =>
      withFetchedResponse((apdu) => carry(apdu, options), command, limits.responseBytes),
  }
}

async function t1Activation(
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
    exchange: async (block, waitingTimes, options): Promise<BlockResponse> => {
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
        return (await reader.exchange(message, RdrToPc.dataBlock, 'XfrBlock', options, timeoutMs)).data
      } catch (error) {
        return blockFailure(error)
      }
    },
  })
  const ownBytes = Math.max(1, Math.min(maxIfsdBytes || MAX_IFSD_BYTES, MAX_IFSD_BYTES, capacityBytes))
  // Either the reader announced its IFSD to the card, or this driver does.
  const ifsdBytes = features & CcidFeature.automaticIfsd ? ownBytes : await transport.negotiateIfsd(ownBytes)
  return {
    // A response that fits one block saves a block in each direction.
    limits: {
      extended: false,
      commandBytes: SHORT_COMMAND_BYTES,
      responseBytes: Math.max(1, Math.min(256, ifsdBytes - STATUS_WORD_BYTES)),
    },
    transmit: (command, options) => transport.transmit(command, options),
    transmitOnPad: (template, send, options) =>
      transport.transmitOnPad(template, (prologue) => send(prologue).catch(blockFailure), options),
  }
}

/**
 * Classifies an incomplete or damaged block, and a response that was malformed between reader and host. Throws every
 * other error.
 */
function blockFailure(error: unknown): BlockResponse {
  if (error instanceof MalformedError) return 'garbled'
  if (error instanceof ReaderRefusedError && (error.bStatus & 3) === 0) {
    if (error.bError === CcidError.ICC_MUTE) return 'silent'
    if (error.bError === CcidError.XFR_PARITY_ERROR || error.bError === CcidError.XFR_OVERRUN)
      return 'garbled'
  }
  throw error
}
