/** T=1 from the reader's side as one total function: what came, and what is to be sent for it (ISO/IEC 7816-3:2006, 11.6). */
import type { Bit, T1Block } from './t1-block.ts'

/** 11.6.3.2, rules 6.4 and 7.4: so many attempts in a row before resynchronisation, and so many of that before a reset. */
const MAX_ATTEMPTS = 3
/** Good blocks in a row that bring the exchange no further. The standard has no bound; a card could go on for ever. */
const MAX_ROUNDS = 8
/** 65536 bytes of data and the status word: the longest answer. A block counts as one byte at least. */
const MAX_RESPONSE_BYTES = 65_538

type InformationBlock = T1Block & { readonly kind: 'I' }
type ReadyBlock = T1Block & { readonly kind: 'R' }

/** What is waited for. */
type Phase =
  /** An APDU is under way: its I-blocks out, then those of the answer in. */
  | {
      readonly name: 'exchange'
      /** Our latest I-block, or the R-block that acknowledged the card's latest. */
      readonly sent: InformationBlock | ReadyBlock
      /** What left last: that, an R-block that asked for something again, or an S-block. */
      readonly last: T1Block
      readonly rest: Uint8Array
      readonly received: Received | undefined
      /** Its bytes, and blocks without any. */
      readonly receivedSize: number
    }
  /** S(IFS request) is out. */
  | { readonly name: 'ifs'; readonly sent: T1Block }
  /** S(RESYNCH request) is out. */
  | { readonly name: 'resynch' }
  /** The card aborted the chain, and has been told that this is understood. */
  | { readonly name: 'aborted'; readonly sent: T1Block }
  /** We abort the chain: S(ABORT request) is out. */
  | { readonly name: 'aborting' }
  | { readonly name: 'idle' }

/** What has come of an answer, the latest first: a step shares what came before with the step before it. */
interface Received {
  readonly data: Uint8Array
  readonly before: Received | undefined
}

type Exchange = Phase & { readonly name: 'exchange' }

/** Everything that the protocol remembers between two blocks. */
export interface T1State {
  /** N(S) of our next I-block. */
  readonly sends: Bit
  /** N(S) of the card's next I-block. */
  readonly expects: Bit
  /** Largest information field that the card takes now, in bytes. */
  readonly ifscBytes: number
  /** What it said in its ATR; counts again after a resynchronisation. */
  readonly initialIfscBytes: number
  /** Largest information field that the reader's messages have room for, whatever the card takes. */
  readonly capacityBytes: number
  /** Attempts in a row that brought no block, or a damaged one. */
  readonly failures: number
  /** Good blocks in a row that brought the exchange no further. */
  readonly rounds: number
  readonly phase: Phase
}

/** What came: a block, or nothing that is one. */
export type T1Event = T1Block | 'detection' | 'other' | 'silent'

/** What is to be done for it. */
export type T1Action =
  | {
      readonly do: 'send'
      readonly block: T1Block
      /** The card asked for this many block waiting times for its next block. */
      readonly waitingTimes?: number
    }
  | { readonly do: 'finish'; readonly response: Uint8Array }
  /** The card's IFSD is settled: what it agreed to, or undefined where it would not speak of it. */
  | { readonly do: 'settled'; readonly ifsdBytes: number | undefined }
  /** The exchange is lost and the protocol sound: the next one can begin. */
  | { readonly do: 'give-up'; readonly why: 'resynchronised' | 'aborted' }
  /** Nothing but a reset helps. */
  | { readonly do: 'reset' }

/** A state and what to do in it. */
export interface T1Step {
  readonly state: T1State
  readonly action: T1Action
}

/** After the ATR. */
export function initialT1(ifscBytes: number, capacityBytes: number): T1State {
  return {
    sends: 0,
    expects: 0,
    ifscBytes,
    initialIfscBytes: ifscBytes,
    capacityBytes,
    failures: 0,
    rounds: 0,
    phase: { name: 'idle' },
  }
}

/** Begins an exchange; only from 'idle'. */
export function beginExchange(state: T1State, command: Uint8Array): T1Step {
  return sendNext(state, command)
}

/** Tells the card how much we take in a block; only from 'idle'. */
export function beginIfs(state: T1State, ifsdBytes: number): T1Step {
  const sent = request('ifs', ifsdBytes)
  return send(moved(state, { name: 'ifs', sent }), sent)
}

/** Both sides begin anew, whatever they were at: where an exchange was broken off (rule 6). */
export function beginResynch(state: T1State): T1Step {
  return send(moved(state, { name: 'resynch' }), request('resynch'))
}

/**
 * Breaks the chain off, instead of the block that would leave next (11.6.2.3, S(ABORT)): the card executes nothing of an
 * unfinished command, and need not send the rest of an answer. Only within an exchange.
 */
export function beginAbort(state: T1State): T1Step {
  const { phase } = state
  // The I-block that does not leave keeps its number.
  const sends = phase.name === 'exchange' && phase.sent.kind === 'I' ? phase.sent.sequence : state.sends
  return send(moved({ ...state, sends }, { name: 'aborting' }), request('abort'))
}

/** The next state and what to send, for anything that may come. */
export function stepT1(state: T1State, event: T1Event): T1Step {
  const { phase } = state
  switch (phase.name) {
    case 'idle':
      return { state, action: { do: 'reset' } }
    case 'resynch':
      return inResynch(state, event)
    case 'ifs':
      return inIfs(state, phase.sent, event)
    case 'aborted':
      return inAborted(state, phase.sent, event)
    case 'aborting':
      if (isResponse(event, 'abort')) return gaveUp(state, 'aborted')
      return repeat(state, request('abort'), event)
    case 'exchange':
      return inExchange(state, phase, event)
  }
}

function inExchange(state: T1State, phase: Exchange, event: T1Event): T1Step {
  if (!isBlock(event)) return askAgain(state, phase, event)
  const { sent, last } = phase
  switch (event.kind) {
    case 'I':
      // An answer before the command was whole, or one that has come before.
      if (event.sequence !== state.expects || (sent.kind === 'I' && sent.more))
        return askAgain(state, phase, event)
      return informed(state, phase, event)
    case 'R':
      if (sent.kind === 'I') {
        // `sends` is past the block that is out: its number is the other one.
        if (event.expected !== state.sends) return inRound(state, { ...phase, last: sent }, sent)
        if (sent.more) return sendNext(state, phase.rest)
      }
      // It has the block, and not the R-block behind it (rule 7.2).
      return last.kind === 'R' ? inRound(state, phase, last) : askAgain(state, phase, event)
    case 'S':
      return supervised(state, phase, event)
  }
}

function informed(state: T1State, phase: Exchange, event: InformationBlock): T1Step {
  const expects = flip(state.expects)
  const { sends } = state
  const received: Received = { data: event.data, before: phase.received }
  const receivedSize = phase.receivedSize + Math.max(1, event.data.length)
  if (receivedSize > MAX_RESPONSE_BYTES) {
    if (!event.more) return gaveUp({ ...state, expects }, 'aborted')
    return beginAbort({ ...state, expects, phase: { ...phase, sent: ready(expects) } })
  }
  if (!event.more) {
    const done = moved(state, idlePhase, sends, expects)
    return { state: done, action: { do: 'finish', response: joined(received) } }
  }
  const block = ready(expects)
  const next: Phase = { ...phase, sent: block, last: block, received, receivedSize }
  // An empty block brings the end no nearer.
  if (event.data.length === 0) return inRound({ ...state, expects }, next, block)
  return send(moved(state, next, sends, expects), block)
}

function supervised(state: T1State, phase: Exchange, event: T1Block & { readonly kind: 'S' }): T1Step {
  // Only we resynchronise, and nothing else was asked of the card here (rule 6.1).
  if (event.isResponse || event.about === 'resynch') return askAgain(state, phase, event)
  const block: T1Block = { ...event, isResponse: true }
  switch (event.about) {
    case 'wtx': {
      // Rule 3: for the next block alone. What these add up to is the transport's to bound.
      const waitingTimes = Math.max(1, event.value ?? 1)
      const next: T1State = { ...state, failures: 0, phase: { ...phase, last: block } }
      return { state: next, action: { do: 'send', block, waitingTimes } }
    }
    case 'ifs':
      return inRound(
        { ...state, ifscBytes: event.value ?? state.ifscBytes },
        { ...phase, last: block },
        block,
      )
    case 'abort':
      return send(moved(state, { name: 'aborted', sent: block }), block)
  }
}

/**
 * After S(ABORT response) the R-block of the card gives the right to send back, and says which I-block it waits for.
 * Where it counts otherwise than we, the next answer could be taken for one to another command: both begin anew.
 */
function inAborted(state: T1State, sent: T1Block, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'R')
    return event.expected === state.sends ? gaveUp(state, 'aborted') : beginResynch(state)
  if (isBlock(event) && event.kind === 'S' && event.about === 'abort' && !event.isResponse)
    return inRound(state, state.phase, sent)
  return repeat(state, ready(state.expects, errorOf(event)), event)
}

function inIfs(state: T1State, sent: T1Block, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'S' && event.about === 'ifs') {
    if (event.isResponse && sent.kind === 'S' && event.value === sent.value) {
      return { state: idle(state), action: { do: 'settled', ifsdBytes: event.value } }
    }
    if (!event.isResponse && state.rounds < MAX_ROUNDS) {
      const changed: T1State = { ...state, ifscBytes: event.value ?? state.ifscBytes }
      return inRound(changed, state.phase, { ...event, isResponse: true })
    }
  }
  // Rule 7.3. A card that never agrees is one for the default.
  if (state.failures + 1 < MAX_ATTEMPTS) return send({ ...state, failures: state.failures + 1 }, sent)
  return { state: idle(state), action: { do: 'settled', ifsdBytes: undefined } }
}

/** Rule 6.4: three attempts, whatever comes instead of the response. */
function inResynch(state: T1State, event: T1Event): T1Step {
  if (isResponse(event, 'resynch'))
    return gaveUp(initialT1(state.initialIfscBytes, state.capacityBytes), 'resynchronised')
  if (state.failures + 1 < MAX_ATTEMPTS)
    return send({ ...state, failures: state.failures + 1 }, request('resynch'))
  return { state: idle(state), action: { do: 'reset' } }
}

/** Rules 7.1 to 7.3: an R-block asks for the I-block that is due, whatever we sent last. */
function askAgain(state: T1State, phase: Exchange, event: T1Event): T1Step {
  const last = ready(state.expects, errorOf(event))
  return repeat({ ...state, phase: { ...phase, last } }, last, event)
}

/** Once more, for a block that was damaged or did not come, or for a good one that does not belong here. */
function repeat(state: T1State, block: T1Block, event: T1Event): T1Step {
  if (isBlock(event)) return inRound(state, state.phase, block)
  if (state.failures + 1 < MAX_ATTEMPTS) return send({ ...state, failures: state.failures + 1 }, block)
  return beginResynch(state)
}

/** A good block came, and the exchange is where it was. */
function inRound(state: T1State, phase: Phase, block: T1Block): T1Step {
  if (state.rounds >= MAX_ROUNDS) return beginResynch(state)
  return send({ ...state, failures: 0, rounds: state.rounds + 1, phase }, block)
}

function sendNext(state: T1State, rest: Uint8Array): T1Step {
  const data = rest.subarray(0, Math.min(state.ifscBytes, state.capacityBytes))
  const after = rest.subarray(data.length)
  const block: InformationBlock = { kind: 'I', sequence: state.sends, more: after.length > 0, data }
  const phase: Phase = {
    name: 'exchange',
    sent: block,
    last: block,
    rest: after,
    received: undefined,
    receivedSize: 0,
  }
  return send(moved(state, phase, flip(state.sends)), block)
}

function send(state: T1State, block: T1Block): T1Step {
  return { state, action: { do: 'send', block } }
}

/** The exchange goes on: nothing that failed before counts any more. */
function moved(
  { sends: latest, expects: due, ifscBytes, initialIfscBytes, capacityBytes }: T1State,
  phase: Phase,
  sends: Bit = latest,
  expects: Bit = due,
): T1State {
  // Member by member: each block of each APDU passes here, and a spread takes several times as long.
  return { sends, expects, ifscBytes, initialIfscBytes, capacityBytes, failures: 0, rounds: 0, phase }
}

const idlePhase: Phase = { name: 'idle' }

function idle(state: T1State): T1State {
  return moved(state, idlePhase)
}

function gaveUp(state: T1State, why: 'resynchronised' | 'aborted'): T1Step {
  return { state: idle(state), action: { do: 'give-up', why } }
}

function request(about: 'resynch' | 'ifs' | 'abort', value?: number): T1Block {
  return { kind: 'S', about, isResponse: false, value }
}

function ready(expected: Bit, error: ReadyBlock['error'] = 'none'): ReadyBlock {
  return { kind: 'R', expected, error }
}

function isBlock(event: T1Event): event is T1Block {
  return typeof event !== 'string'
}

function isResponse(event: T1Event, about: 'resynch' | 'abort'): boolean {
  return isBlock(event) && event.kind === 'S' && event.about === about && event.isResponse
}

function errorOf(event: T1Event): 'detection' | 'other' {
  return event === 'detection' ? 'detection' : 'other'
}

function flip(bit: Bit): Bit {
  return bit === 0 ? 1 : 0
}

function joined(last: Received): Uint8Array {
  if (last.before === undefined) return last.data
  let length = 0
  for (let part: Received | undefined = last; part !== undefined; part = part.before)
    length += part.data.length
  const bytes = new Uint8Array(length)
  for (let part: Received | undefined = last; part !== undefined; part = part.before) {
    length -= part.data.length
    bytes.set(part.data, length)
  }
  return bytes
}
