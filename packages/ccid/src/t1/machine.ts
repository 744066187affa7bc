/** The interface device's side of T=1 as one total function (ISO/IEC 7816-3:2006, 11.6). */
import {
  decodeBlock,
  type ErrorDetection,
  encodeBlock,
  epilogueBytes,
  MAX_INFORMATION_BYTES,
  PROLOGUE_BYTES,
  ReceiveError,
  Supervisory,
  type T1Block,
} from './block.ts'

/** 11.6.3.2: one try and two more, then the next means. */
const MAX_TRIES = 3
/** Repetitions that bring an exchange no further: each was asked for by a good block, so the standard counts none. */
const MAX_ROUNDS_WITHOUT_PROGRESS = 9
/** 65536 bytes and a status word; a card that goes on is stopped by S(ABORT request). */
const MAX_RESPONSE_BYTES = 65_538
/** A chain of empty blocks brings its end no nearer. */
const MAX_BLOCKS = 65_538

/** What stays the same as long as the card is not reset. */
export interface T1Settings {
  /** Node address of what we send; the card answers with the halves exchanged. */
  readonly nad: number
  readonly detection: ErrorDetection
  /** IFSC of the ATR, in bytes; also what holds again after a resynchronisation. */
  readonly ifscBytes: number
  /** Largest whole block that the reader takes, in bytes. */
  readonly maxBlockBytes: number
  /** Cap on all time extensions of one exchange, in block waiting times. */
  readonly maxExtensions: number
}

/** What both sides keep in step between exchanges. */
export interface T1Link {
  /** N(S) of our next I-block. */
  readonly sends: 0 | 1
  /** N(S) of the card's next I-block. */
  readonly expects: 0 | 1
  readonly ifscBytes: number
  /** What the card was told; 32 until it agreed to another (11.4.2). */
  readonly ifsdBytes: number
  /** No block of the card was understood since its reset: then there is nothing to resynchronise. */
  readonly isFresh: boolean
  /** An exchange was broken off from outside: the next one begins with S(RESYNCH request). */
  readonly isTorn: boolean
}

/** Why an exchange has no answer. */
export type T1Failure =
  /** The card does not answer even after a reset. */
  | 'mute'
  /** Nothing readable came, tries and all. */
  | 'unreadable'
  /** The card asked for more time than it may have. */
  | 'too-slow'
  /** S(ABORT request) of the card, or of ours. */
  | 'aborted-by-card'
  | 'aborted'
  | 'too-long'
  /** The command would be sent to a card that is gone for this link. */
  | 'dead'

/** How the link was put right before giving up. */
export type T1Remedy = 'none' | 'resynchronised' | 'reset'

interface Tries {
  /** Attempts in succession that brought no good block. */
  readonly failed: number
  /** Good blocks in succession that brought nothing new. */
  readonly rounds: number
}

interface Exchange {
  readonly command: Uint8Array
  /** Where the information field of the outstanding I-block begins and ends. */
  readonly start: number
  readonly end: number
  /** The card has acknowledged our last I-block: what comes is its answer. */
  readonly isReceiving: boolean
  readonly parts: readonly Uint8Array[]
  readonly partsBytes: number
  readonly extensions: number
  readonly wantsAbort: T1Failure | undefined
  /** We have answered S(ABORT request) of the card. */
  readonly isAborted: boolean
}

/** Where the protocol stands. */
export type T1State =
  | { readonly phase: 'idle'; readonly link: T1Link }
  | {
      readonly phase: 'exchanging'
      readonly link: T1Link
      readonly exchange: Exchange
      readonly tries: Tries
      /** The I-block whose acknowledgement is due, encoded. */
      readonly information: Uint8Array
      /** The block sent last: R-blocks are repeated, all others lead to an R-block. */
      readonly last: 'I' | 'R' | 'S'
    }
  | {
      /** Our S(request) is out. */
      readonly phase: 'requesting'
      readonly link: T1Link
      readonly what: typeof Supervisory.ifs | typeof Supervisory.abort | typeof Supervisory.resynch
      readonly block: Uint8Array
      readonly value: number
      readonly tries: Tries
      readonly extensions: number
      /** What failed before; undefined where nothing did. */
      readonly why: T1Failure | undefined
      /** The command that waits for the resynchronisation of a torn link; nothing of it has been sent. */
      readonly waiting: Uint8Array | undefined
    }
  | { readonly phase: 'resetting'; readonly link: T1Link; readonly why: T1Failure }
  | { readonly phase: 'dead'; readonly link: T1Link }

/** What happens to the protocol. */
export type T1Event =
  /** Somebody wants a command APDU carried. */
  | { readonly type: 'send'; readonly command: Uint8Array }
  /** Tell the card our IFSD. */
  | { readonly type: 'announce'; readonly ifsdBytes: number }
  | { readonly type: 'block'; readonly bytes: Uint8Array }
  /** The block waiting time ran out. */
  | { readonly type: 'silence' }
  /** Something came, and the reader could not read it. */
  | { readonly type: 'noise' }
  /** Stop at the next block where the standard lets us. */
  | { readonly type: 'abort' }
  /** The reader itself failed: whether the card has seen our block is unknown. */
  | { readonly type: 'torn' }
  /** The reset that was asked for is done. */
  | { readonly type: 'reset-done'; readonly ifscBytes: number }
  | { readonly type: 'reset-failed' }

/** What is to be done about it. */
export type T1Action =
  | { readonly type: 'send-block'; readonly block: Uint8Array }
  /** Send the S(WTX response); the answer may take `multiplier` block waiting times. */
  | { readonly type: 'wait-extension'; readonly block: Uint8Array; readonly multiplier: number }
  | { readonly type: 'deliver'; readonly response: Uint8Array }
  /** S(IFS) is done; nothing is to be delivered. */
  | { readonly type: 'agreed'; readonly ifsdBytes: number }
  | { readonly type: 'reset' }
  | { readonly type: 'give-up'; readonly why: T1Failure; readonly remedy: T1Remedy }
  /** The event means nothing here. */
  | { readonly type: 'nothing' }

/** State and action that follow. */
export interface T1Step {
  readonly state: T1State
  readonly action: T1Action
}

const fresh: Tries = { failed: 0, rounds: 0 }
const nothing: T1Action = { type: 'nothing' }
const silence: T1Event = { type: 'silence' }

/** The state after a reset. */
export function initialState(settings: T1Settings): T1State {
  return { phase: 'idle', link: initialLink(settings.ifscBytes) }
}

function initialLink(ifscBytes: number): T1Link {
  return { sends: 0, expects: 0, ifscBytes, ifsdBytes: 32, isFresh: true, isTorn: false }
}

/** Total: every event has an answer in every state, and no input throws. */
export function transition(state: T1State, event: T1Event, settings: T1Settings): T1Step {
  switch (state.phase) {
    case 'idle':
      return fromIdle(state, event, settings)
    case 'exchanging':
      return fromExchange(state, event, settings)
    case 'requesting':
      return fromRequest(state, event, settings)
    case 'resetting':
      return fromReset(state, event)
    case 'dead':
      if (event.type === 'reset-done') {
        return { state: { phase: 'idle', link: initialLink(event.ifscBytes) }, action: nothing }
      }
      if (event.type === 'send' || event.type === 'announce') {
        return { state, action: { type: 'give-up', why: 'dead', remedy: 'none' } }
      }
      return { state, action: nothing }
  }
}

function fromIdle(state: T1State & { phase: 'idle' }, event: T1Event, settings: T1Settings): T1Step {
  const { link } = state
  switch (event.type) {
    case 'send':
      if (link.isTorn) return resynchronise(link, undefined, event.command, settings)
      return begin(link, event.command, settings)
    case 'announce': {
      const value = Math.min(Math.max(event.ifsdBytes, 1), MAX_INFORMATION_BYTES)
      return request(link, Supervisory.ifs, value, undefined, settings)
    }
    case 'torn':
      return { state: { phase: 'idle', link: { ...link, isTorn: true } }, action: nothing }
    case 'reset-done':
      return { state: { phase: 'idle', link: initialLink(event.ifscBytes) }, action: nothing }
    case 'block':
    case 'silence':
    case 'noise':
    case 'abort':
    case 'reset-failed':
      return { state, action: nothing }
  }
}

function begin(link: T1Link, command: Uint8Array, settings: T1Settings): T1Step {
  const exchange: Exchange = {
    command,
    start: 0,
    end: 0,
    isReceiving: false,
    parts: [],
    partsBytes: 0,
    extensions: 0,
    wantsAbort: undefined,
    isAborted: false,
  }
  return sendNext(link, exchange, settings)
}

/** The next I-block of the command (rule 5: chaining). */
function sendNext(link: T1Link, before: Exchange, settings: T1Settings): T1Step {
  const { command } = before
  const room = Math.min(
    link.ifscBytes,
    settings.maxBlockBytes - PROLOGUE_BYTES - epilogueBytes(settings.detection),
  )
  const start = before.end
  const end = Math.min(command.length, start + Math.max(1, room))
  const more = end < command.length
  const information = encode(
    { kind: 'I', sequence: link.sends, more, data: command.subarray(start, end) },
    settings,
  )
  const exchange = { ...before, start, end, isReceiving: false }
  return {
    state: { phase: 'exchanging', link, exchange, tries: fresh, information, last: 'I' },
    action: { type: 'send-block', block: information },
  }
}

type Exchanging = T1State & { phase: 'exchanging' }

function fromExchange(state: Exchanging, event: T1Event, settings: T1Settings): T1Step {
  switch (event.type) {
    case 'block':
      return onBlock(state, event.bytes, settings)
    case 'silence':
      return failed(state, ReceiveError.other, 'mute', settings)
    case 'noise':
      return failed(state, ReceiveError.errorDetection, 'unreadable', settings)
    case 'abort':
      return {
        state: {
          ...state,
          exchange: { ...state.exchange, wantsAbort: state.exchange.wantsAbort ?? 'aborted' },
        },
        action: nothing,
      }
    case 'torn':
      return { state: { phase: 'idle', link: { ...state.link, isTorn: true } }, action: nothing }
    case 'reset-done':
      return {
        state: { phase: 'idle', link: initialLink(event.ifscBytes) },
        action: { type: 'give-up', why: 'aborted', remedy: 'reset' },
      }
    case 'send':
    case 'announce':
    case 'reset-failed':
      return { state, action: nothing }
  }
}

/** Rule 7: an invalid block, or none in time. */
function failed(state: Exchanging, error: ReceiveError, why: T1Failure, settings: T1Settings): T1Step {
  const tries = { ...state.tries, failed: state.tries.failed + 1 }
  if (tries.failed >= MAX_TRIES) return fallBack(state.link, why, settings)
  return askAgain({ ...state, tries }, error, settings)
}

/** 7.1 and 7.2: an R-block with the number of the block that is wanted. */
function askAgain(state: Exchanging, error: ReceiveError, settings: T1Settings): T1Step {
  const block = encode({ kind: 'R', expects: state.link.expects, error }, settings)
  return { state: { ...state, last: 'R' }, action: { type: 'send-block', block } }
}

function onBlock(state: Exchanging, bytes: Uint8Array, settings: T1Settings): T1Step {
  const block = decode(bytes, settings)
  if (block.kind === 'invalid') return failed(state, block.error, 'unreadable', settings)
  const link = state.link.isFresh ? { ...state.link, isFresh: false } : state.link
  const now = { ...state, link, tries: { ...state.tries, failed: 0 } }
  switch (block.kind) {
    case 'I':
      return onInformation(now, block, settings, state)
    case 'R':
      return onReceiveReady(now, block.expects, settings, state)
    case 'S':
      if (block.isResponse) return failed(state, ReceiveError.other, 'unreadable', settings)
      return onRequest(now, block.what, block.value, settings, state)
  }
}

function onInformation(
  state: Exchanging,
  block: T1Block & { kind: 'I' },
  settings: T1Settings,
  before: Exchanging,
): T1Step {
  const { link, exchange } = state
  const isWhole = exchange.end === exchange.command.length
  // A block that we have already, and an answer to a command that is not yet whole, are out of order. The latter
  // means that the card has left the chain, which only S(ABORT request) may say.
  if (block.sequence !== link.expects || (!isWhole && !exchange.isAborted)) {
    return failed(before, ReceiveError.other, 'unreadable', settings)
  }
  const received: T1Link = {
    ...link,
    // Rule 2.1: it acknowledges our I-block, if one was due.
    sends: exchange.isReceiving ? link.sends : other(link.sends),
    expects: other(link.expects),
  }
  const parts = [...exchange.parts, block.data]
  const partsBytes = exchange.partsBytes + block.data.length
  if (!block.more) {
    return {
      state: { phase: 'idle', link: received },
      action: { type: 'deliver', response: joined(parts, partsBytes) },
    }
  }
  const tooLong = partsBytes > MAX_RESPONSE_BYTES || parts.length > MAX_BLOCKS
  const why = exchange.wantsAbort ?? (tooLong ? 'too-long' : undefined)
  if (why !== undefined) return request(received, Supervisory.abort, 0, why, settings)
  return askAgain(
    {
      ...state,
      link: received,
      exchange: { ...exchange, parts, partsBytes, isReceiving: true },
      tries: fresh,
    },
    ReceiveError.none,
    settings,
  )
}

function onReceiveReady(state: Exchanging, expects: 0 | 1, settings: T1Settings, before: Exchanging): T1Step {
  const { link, exchange } = state
  if (exchange.isAborted) {
    // After S(ABORT response) an R-block gives us the right to send: the exchange is over. Whose numbers hold is
    // not sure then, so the next exchange begins with a resynchronisation.
    return {
      state: { phase: 'idle', link: { ...link, isTorn: true } },
      action: { type: 'give-up', why: 'aborted-by-card', remedy: 'none' },
    }
  }
  if (!exchange.isReceiving && expects === link.sends) {
    // 7.1 of the card: it wants our I-block again.
    return noProgress(state, 'unreadable', settings, (next) => ({
      state: { ...next, last: 'I' },
      action: { type: 'send-block', block: next.information },
    }))
  }
  if (!exchange.isReceiving && exchange.end < exchange.command.length) {
    // Rule 2.2: it has that part and is ready for the next one.
    const acknowledged = { ...link, sends: other(link.sends) }
    if (exchange.wantsAbort !== undefined) {
      return request(acknowledged, Supervisory.abort, 0, exchange.wantsAbort, settings)
    }
    return sendNext(acknowledged, exchange, settings)
  }
  // The card has the whole command and could not read what we sent since, or its number makes no sense.
  if (state.last === 'I') return failed(before, ReceiveError.other, 'unreadable', settings)
  return noProgress(state, 'unreadable', settings, (next) => askAgain(next, ReceiveError.none, settings))
}

/** Rules 3, 4 and 9: what the card may ask for instead of answering. */
function onRequest(
  state: Exchanging,
  what: Supervisory,
  value: number,
  settings: T1Settings,
  before: Exchanging,
): T1Step {
  const { link, exchange } = state
  const answered = { ...state, last: 'S' } as const
  const block = encode({ kind: 'S', what, isResponse: true, value }, settings)
  switch (what) {
    case Supervisory.wtx: {
      const multiplier = Math.max(1, value)
      const extensions = exchange.extensions + multiplier
      if (extensions > settings.maxExtensions) return fallBack(link, 'too-slow', settings)
      return {
        state: { ...answered, exchange: { ...exchange, extensions } },
        action: { type: 'wait-extension', block, multiplier },
      }
    }
    case Supervisory.ifs:
      return noProgress(answered, 'unreadable', settings, (next) => ({
        state: { ...next, last: 'S', link: { ...link, ifscBytes: value } },
        action: { type: 'send-block', block },
      }))
    case Supervisory.abort:
      return noProgress(answered, 'aborted-by-card', settings, (next) => ({
        state: { ...next, last: 'S', exchange: { ...exchange, isAborted: true, parts: [], partsBytes: 0 } },
        action: { type: 'send-block', block },
      }))
    case Supervisory.resynch:
      // Rule 6: only the interface device may ask for that.
      return failed(before, ReceiveError.other, 'unreadable', settings)
  }
}

function noProgress(
  state: Exchanging,
  why: T1Failure,
  settings: T1Settings,
  goOn: (next: Exchanging) => T1Step,
): T1Step {
  const tries = { ...state.tries, rounds: state.tries.rounds + 1 }
  if (tries.rounds >= MAX_ROUNDS_WITHOUT_PROGRESS) return fallBack(state.link, why, settings)
  return goOn({ ...state, tries })
}

/** Tries are used up: resynchronise, or reset where the card was never understood (7.4). */
function fallBack(link: T1Link, why: T1Failure, settings: T1Settings): T1Step {
  if (link.isFresh) return { state: { phase: 'resetting', link, why }, action: { type: 'reset' } }
  return resynchronise(link, why, undefined, settings)
}

function resynchronise(
  link: T1Link,
  why: T1Failure | undefined,
  waiting: Uint8Array | undefined,
  settings: T1Settings,
): T1Step {
  const step = request(link, Supervisory.resynch, 0, why, settings)
  return step.state.phase === 'requesting' ? { ...step, state: { ...step.state, waiting } } : step
}

function request(
  link: T1Link,
  what: typeof Supervisory.ifs | typeof Supervisory.abort | typeof Supervisory.resynch,
  value: number,
  why: T1Failure | undefined,
  settings: T1Settings,
): T1Step {
  const block = encode({ kind: 'S', what, isResponse: false, value }, settings)
  return {
    state: {
      phase: 'requesting',
      link,
      what,
      block,
      value,
      why,
      tries: fresh,
      extensions: 0,
      waiting: undefined,
    },
    action: { type: 'send-block', block },
  }
}

type Requesting = T1State & { phase: 'requesting' }

function fromRequest(state: Requesting, event: T1Event, settings: T1Settings): T1Step {
  switch (event.type) {
    case 'block':
      return onAnswerToRequest(state, event.bytes, settings)
    case 'silence':
    case 'noise':
      return requestAgain(state, event.type === 'silence' ? 'mute' : 'unreadable', settings)
    case 'torn':
      return { state: { phase: 'idle', link: { ...state.link, isTorn: true } }, action: nothing }
    case 'reset-done':
      return {
        state: { phase: 'idle', link: initialLink(event.ifscBytes) },
        action: { type: 'give-up', why: state.why ?? 'aborted', remedy: 'reset' },
      }
    case 'send':
    case 'announce':
    case 'abort':
    case 'reset-failed':
      return { state, action: nothing }
  }
}

function onAnswerToRequest(state: Requesting, bytes: Uint8Array, settings: T1Settings): T1Step {
  const block = decode(bytes, settings)
  if (block.kind !== 'S') return requestAgain(state, 'unreadable', settings)
  const link = { ...state.link, isFresh: false }
  if (!block.isResponse) {
    // The card may ask for time or room before it answers; not while it is being put right.
    const mayAsk = state.what !== Supervisory.resynch
    const response = encode({ ...block, isResponse: true }, settings)
    if (mayAsk && block.what === Supervisory.wtx) {
      const multiplier = Math.max(1, block.value)
      const extensions = state.extensions + multiplier
      if (extensions > settings.maxExtensions) return fallBack(link, 'too-slow', settings)
      return {
        state: { ...state, link, extensions },
        action: { type: 'wait-extension', block: response, multiplier },
      }
    }
    if (mayAsk && block.what === Supervisory.ifs) {
      const tries = { ...state.tries, rounds: state.tries.rounds + 1 }
      if (tries.rounds >= MAX_ROUNDS_WITHOUT_PROGRESS) return fallBack(link, 'unreadable', settings)
      return {
        state: { ...state, tries, link: { ...link, ifscBytes: block.value } },
        action: { type: 'send-block', block: response },
      }
    }
    return requestAgain(state, 'unreadable', settings)
  }
  if (block.what !== state.what || block.value !== state.value) {
    return requestAgain(state, 'unreadable', settings)
  }
  switch (state.what) {
    case Supervisory.ifs:
      return {
        state: { phase: 'idle', link: { ...link, ifsdBytes: state.value } },
        action: { type: 'agreed', ifsdBytes: state.value },
      }
    case Supervisory.abort:
      return {
        state: { phase: 'idle', link },
        action: { type: 'give-up', why: state.why ?? 'aborted', remedy: 'none' },
      }
    case Supervisory.resynch: {
      // 11.6.3.2: both sides begin anew. Whether IFSC falls back too is told differently: the smaller one fits both.
      const ifscBytes = Math.min(link.ifscBytes, settings.ifscBytes)
      const anew = { ...initialLink(ifscBytes), isFresh: false }
      if (state.waiting !== undefined) return begin(anew, state.waiting, settings)
      return {
        state: { phase: 'idle', link: anew },
        action: { type: 'give-up', why: state.why ?? 'unreadable', remedy: 'resynchronised' },
      }
    }
  }
}

/** 7.3: the same request again; then the next harder means. */
function requestAgain(state: Requesting, why: T1Failure, settings: T1Settings): T1Step {
  const tries = { ...state.tries, failed: state.tries.failed + 1 }
  if (tries.failed < MAX_TRIES) {
    return { state: { ...state, tries }, action: { type: 'send-block', block: state.block } }
  }
  const reason = state.why ?? why
  if (state.what === Supervisory.resynch) {
    return { state: { phase: 'resetting', link: state.link, why: reason }, action: { type: 'reset' } }
  }
  return fallBack(state.link, reason, settings)
}

function fromReset(state: T1State & { phase: 'resetting' }, event: T1Event): T1Step {
  switch (event.type) {
    case 'reset-done':
      return {
        state: { phase: 'idle', link: initialLink(event.ifscBytes) },
        action: { type: 'give-up', why: state.why, remedy: 'reset' },
      }
    case 'reset-failed':
    case 'torn':
      return {
        state: { phase: 'dead', link: state.link },
        action: { type: 'give-up', why: state.why, remedy: 'none' },
      }
    case 'send':
    case 'announce':
    case 'block':
    case 'silence':
    case 'noise':
    case 'abort':
      return { state, action: nothing }
  }
}

function encode(block: T1Block, settings: T1Settings): Uint8Array {
  return encodeBlock(block, settings.nad, settings.detection)
}

function decode(bytes: Uint8Array, { nad, detection }: T1Settings): ReturnType<typeof decodeBlock> {
  return decodeBlock(bytes, ((nad & 0x0f) << 4) | (nad >> 4), detection)
}

function other(sequence: 0 | 1): 0 | 1 {
  return sequence === 0 ? 1 : 0
}

function joined(parts: readonly Uint8Array[], totalBytes: number): Uint8Array {
  const whole = new Uint8Array(totalBytes)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** The event of a block that never came; what a driver says when its time is up. */
export const silenceEvent: T1Event = silence
