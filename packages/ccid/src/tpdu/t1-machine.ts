/** T=1 from the reader's side as one total function: what came, and what is to be sent for it (ISO/IEC 7816-3:2006, 11.6). */
import type { Bit, T1Block } from './t1-block.ts'

/** 11.6.3.2, rule 7.4: so many attempts in a row before resynchronisation, and so many of that. */
const MAX_ATTEMPTS = 3

/** What is waited for. */
type Phase =
  /** An APDU is under way: its I-blocks out, then those of the answer in. */
  | {
      readonly name: 'exchange'
      readonly sent: T1Block
      readonly rest: Uint8Array
      readonly received: readonly Uint8Array[]
    }
  /** S(IFS request) is out. */
  | { readonly name: 'ifs'; readonly sent: T1Block }
  /** S(RESYNCH request) is out. */
  | { readonly name: 'resynch'; readonly sent: T1Block }
  /** The card aborted the chain, and has been told that this is understood. */
  | { readonly name: 'aborted' }
  | { readonly name: 'idle' }

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
  /** Attempts in a row that brought nothing. */
  readonly failures: number
  /** How the card stands to what we sent last, for rule 7.3. */
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
export function initialT1(ifscBytes: number): T1State {
  return {
    sends: 0,
    expects: 0,
    ifscBytes,
    initialIfscBytes: ifscBytes,
    failures: 0,
    phase: { name: 'idle' },
  }
}

/** Begins an exchange; only from 'idle'. */
export function beginExchange(state: T1State, command: Uint8Array): T1Step {
  return sendNext({ ...state, failures: 0 }, command)
}

/** Tells the card how much we take in a block; only from 'idle'. */
export function beginIfs(state: T1State, ifsdBytes: number): T1Step {
  const sent: T1Block = { kind: 'S', about: 'ifs', isResponse: false, value: ifsdBytes }
  return {
    state: { ...state, failures: 0, phase: { name: 'ifs', sent } },
    action: { do: 'send', block: sent },
  }
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
      // Whatever the card says now, the chain is over; only the right to send has come back.
      return isBlock(event)
        ? { state: idle(state), action: { do: 'give-up', why: 'aborted' } }
        : failed(state, { kind: 'R', expected: state.expects, error: errorOf(event) })
    case 'exchange':
      return inExchange(state, phase, event)
  }
}

function inExchange(state: T1State, phase: Phase & { readonly name: 'exchange' }, event: T1Event): T1Step {
  if (!isBlock(event)) return askAgain(state, errorOf(event))
  const { sent, rest } = phase
  const isSending = sent.kind === 'I'
  switch (event.kind) {
    case 'I': {
      // An answer before the command was whole, or one that has come before.
      if (event.sequence !== state.expects || (isSending && sent.more)) return askAgain(state, 'other')
      const expects = flip(state.expects)
      const received = [...phase.received, event.data]
      const moved: T1State = { ...state, expects, failures: 0 }
      if (!event.more) return { state: idle(moved), action: { do: 'finish', response: joined(received) } }
      const block: T1Block = { kind: 'R', expected: expects, error: 'none' }
      return {
        state: { ...moved, phase: { name: 'exchange', sent: block, rest, received } },
        action: { do: 'send', block },
      }
    }
    case 'R': {
      if (!isSending) return askAgain(state, 'other')
      // `sends` is past the block that is out: its number is the other one.
      if (event.expected !== state.sends) return failed(state, sent)
      if (!sent.more) return askAgain(state, 'other')
      return sendNext({ ...state, failures: 0 }, rest)
    }
    case 'S':
      return supervised(state, phase, event)
  }
}

function supervised(
  state: T1State,
  phase: Phase & { readonly name: 'exchange' },
  event: T1Block & { readonly kind: 'S' },
): T1Step {
  // Only we resynchronise, and nothing else was asked of the card here (11.6.3.2, rule 6.1).
  if (event.isResponse || event.about === 'resynch') return askAgain(state, 'other')
  const block: T1Block = { ...event, isResponse: true }
  switch (event.about) {
    case 'wtx': {
      const waitingTimes = Math.max(1, event.value ?? 1)
      return { state: { ...state, failures: 0 }, action: { do: 'send', block, waitingTimes } }
    }
    case 'ifs':
      return {
        state: { ...state, failures: 0, ifscBytes: event.value ?? state.ifscBytes },
        action: { do: 'send', block },
      }
    case 'abort':
      // The blocks that the card never acknowledged are as if they had not been sent.
      return {
        state: {
          ...state,
          failures: 0,
          phase: { name: 'aborted' },
          sends: phase.sent.kind === 'I' ? phase.sent.sequence : state.sends,
        },
        action: { do: 'send', block },
      }
    default:
      return askAgain(state, 'other')
  }
}

function inIfs(state: T1State, sent: T1Block, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'S' && event.about === 'ifs') {
    if (event.isResponse && sent.kind === 'S' && event.value === sent.value) {
      return { state: idle(state), action: { do: 'settled', ifsdBytes: event.value } }
    }
    if (!event.isResponse) {
      const block: T1Block = { ...event, isResponse: true }
      return { state: { ...state, ifscBytes: event.value ?? state.ifscBytes }, action: { do: 'send', block } }
    }
  }
  if (state.failures + 1 < MAX_ATTEMPTS) return failed(state, sent)
  return { state: idle(state), action: { do: 'settled', ifsdBytes: undefined } }
}

function inResynch(state: T1State, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'S' && event.about === 'resynch' && event.isResponse) {
    return { state: initialT1(state.initialIfscBytes), action: { do: 'give-up', why: 'resynchronised' } }
  }
  if (state.failures + 1 < MAX_ATTEMPTS) {
    const block = resynchRequest
    return { state: { ...state, failures: state.failures + 1 }, action: { do: 'send', block } }
  }
  return { state: idle(state), action: { do: 'reset' } }
}

/** Rules 7.1 and 7.2: an R-block asks for the I-block that is due, whatever we sent last. */
function askAgain(state: T1State, error: 'detection' | 'other'): T1Step {
  return failed(state, { kind: 'R', expected: state.expects, error })
}

const resynchRequest: T1Block = { kind: 'S', about: 'resynch', isResponse: false, value: undefined }

/** One more attempt, or rule 7.4: resynchronisation. */
function failed(state: T1State, block: T1Block): T1Step {
  if (state.failures < MAX_ATTEMPTS) {
    return { state: { ...state, failures: state.failures + 1 }, action: { do: 'send', block } }
  }
  const phase: Phase = { name: 'resynch', sent: resynchRequest }
  return { state: { ...state, failures: 0, phase }, action: { do: 'send', block: resynchRequest } }
}

function sendNext(state: T1State, rest: Uint8Array): T1Step {
  const data = rest.subarray(0, state.ifscBytes)
  const after = rest.subarray(data.length)
  const block: T1Block = { kind: 'I', sequence: state.sends, more: after.length > 0, data }
  const phase: Phase = { name: 'exchange', sent: block, rest: after, received: [] }
  return { state: { ...state, sends: flip(state.sends), phase }, action: { do: 'send', block } }
}

function idle(state: T1State): T1State {
  return { ...state, failures: 0, phase: { name: 'idle' } }
}

function isBlock(event: T1Event): event is T1Block {
  return typeof event !== 'string'
}

function errorOf(event: T1Event): 'detection' | 'other' {
  return event === 'detection' ? 'detection' : 'other'
}

function flip(bit: Bit): Bit {
  return bit === 0 ? 1 : 0
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
