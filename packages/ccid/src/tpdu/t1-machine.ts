/**
 * The reader's side of T=1 as a total function: maps a received block to the next action (ISO/IEC 7816-3:2006, 11.6).
 */
import type { Bit, T1Block } from './t1-block.ts'

/**
 * Consecutive attempts before a resynchronisation, and resynchronisation attempts before a reset (11.6.3.2, rules 6.4
 * and 7.4).
 */
const MAX_ATTEMPTS = 3
/** Limit for consecutive valid blocks without progress. The standard sets none, so a card could continue forever. */
const MAX_ROUNDS = 8
/** The longest response: 65536 bytes of data and the status word. A block counts as at least one byte. */
const MAX_RESPONSE_BYTES = 65_538

type InformationBlock = T1Block & { readonly kind: 'I' }
type ReadyBlock = T1Block & { readonly kind: 'R' }

/** What the reader waits for. */
type Phase =
  /** An APDU is being exchanged: first the command's I-blocks, then those of the response. */
  | {
      readonly name: 'exchange'
      /** The reader's latest I-block, or the R-block that acknowledged the card's latest one. */
      readonly sent: InformationBlock | ReadyBlock
      /** The last block sent: `sent`, an R-block that requests a repetition, or an S-block. */
      readonly last: T1Block
      readonly rest: Uint8Array
      readonly received: Received | undefined
      /** Number of received bytes; an empty block counts as one. */
      readonly receivedSize: number
    }
  /** S(IFS request) was sent. */
  | { readonly name: 'ifs'; readonly sent: T1Block }
  /** S(RESYNCH request) was sent. */
  | { readonly name: 'resynch' }
  /** The card aborted the chain, and S(ABORT response) was sent. */
  | { readonly name: 'aborted'; readonly sent: T1Block }
  /** The reader aborts the chain: S(ABORT request) was sent. */
  | { readonly name: 'aborting' }
  | { readonly name: 'idle' }

/** The received parts of a response as a linked list, latest first, so that states share them without copying. */
interface Received {
  readonly data: Uint8Array
  readonly before: Received | undefined
}

type Exchange = Phase & { readonly name: 'exchange' }

/** The protocol state between two blocks. */
export interface T1State {
  /** N(S) of the reader's next I-block. */
  readonly sends: Bit
  /** N(S) of the card's next I-block. */
  readonly expects: Bit
  /** Largest information field that the card currently accepts, in bytes. */
  readonly ifscBytes: number
  /** The IFSC of the ATR. Applies again after a resynchronisation. */
  readonly initialIfscBytes: number
  /** Largest information field that fits a message of the reader, in bytes. */
  readonly capacityBytes: number
  /** Consecutive attempts without a valid block. */
  readonly failures: number
  /** Consecutive valid blocks without progress. */
  readonly rounds: number
  readonly phase: Phase
}

/** What was received: a block, or the reason why there is none. */
export type T1Event = T1Block | 'detection' | 'other' | 'silent'

/** The next action. */
export type T1Action =
  | {
      readonly do: 'send'
      readonly block: T1Block
      /** Number of block waiting times that the card requested for its next block. */
      readonly waitingTimes?: number
    }
  | { readonly do: 'finish'; readonly response: Uint8Array }
  /** The card accepted this IFSD; undefined if it did not respond to the request. */
  | { readonly do: 'settled'; readonly ifsdBytes: number | undefined }
  /** The exchange failed, but the protocol is intact: the next exchange can begin. */
  | { readonly do: 'give-up'; readonly why: 'resynchronised' | 'aborted' }
  /** Only a reset helps. */
  | { readonly do: 'reset' }

/** A state and the next action. */
export interface T1Step {
  readonly state: T1State
  readonly action: T1Action
}

/** The state after the ATR. */
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

/** Starts an exchange. Only from 'idle'. */
export function beginExchange(state: T1State, command: Uint8Array): T1Step {
  return sendNext(state, command)
}

/** Announces the reader's IFSD to the card. Only from 'idle'. */
export function beginIfs(state: T1State, ifsdBytes: number): T1Step {
  const sent = supervisoryRequest('ifs', ifsdBytes)
  return send(withProgress(state, { name: 'ifs', sent }), sent)
}

/** Starts a resynchronisation after an interrupted exchange (rule 6). */
export function beginResynch(state: T1State): T1Step {
  return send(withProgress(state, { name: 'resynch' }), supervisoryRequest('resynch'))
}

/**
 * Aborts the chain in place of the next block (11.6.2.3, S(ABORT)). The card does not execute an incomplete command,
 * and need not send the rest of a response. Only during an exchange.
 */
export function beginAbort(state: T1State): T1Step {
  const { phase } = state
  // The I-block that is not sent keeps its number.
  const sends = phase.name === 'exchange' && phase.sent.kind === 'I' ? phase.sent.sequence : state.sends
  return send(withProgress({ ...state, sends }, { name: 'aborting' }), supervisoryRequest('abort'))
}

/** Returns the next state and action for any event. */
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
      if (isResponse(event, 'abort')) return giveUp(state, 'aborted')
      return repeat(state, supervisoryRequest('abort'), event)
    case 'exchange':
      return inExchange(state, phase, event)
  }
}

function inExchange(state: T1State, phase: Exchange, event: T1Event): T1Step {
  if (!isBlock(event)) return requestAgain(state, phase, event)
  const { sent, last } = phase
  switch (event.kind) {
    case 'I':
      // The card responded before the command was complete, or repeated a block.
      if (event.sequence !== state.expects || (sent.kind === 'I' && sent.more))
        return requestAgain(state, phase, event)
      return onInformation(state, phase, event)
    case 'R':
      if (sent.kind === 'I') {
        // `sends` is already past the sent block, whose number is the other one.
        if (event.expected !== state.sends) return sendWithoutProgress(state, { ...phase, last: sent }, sent)
        if (sent.more) return sendNext(state, phase.rest)
      }
      // The card received the I-block, but not the R-block after it (rule 7.2).
      return last.kind === 'R' ? sendWithoutProgress(state, phase, last) : requestAgain(state, phase, event)
    case 'S':
      return onSupervision(state, phase, event)
  }
}

function onInformation(state: T1State, phase: Exchange, event: InformationBlock): T1Step {
  const expects = flip(state.expects)
  const { sends } = state
  const received: Received = { data: event.data, before: phase.received }
  const receivedSize = phase.receivedSize + Math.max(1, event.data.length)
  if (receivedSize > MAX_RESPONSE_BYTES) {
    if (!event.more) return giveUp({ ...state, expects }, 'aborted')
    return beginAbort({ ...state, expects, phase: { ...phase, sent: readyBlock(expects) } })
  }
  if (!event.more) {
    const done = withProgress(state, idlePhase, sends, expects)
    return { state: done, action: { do: 'finish', response: joined(received) } }
  }
  const block = readyBlock(expects)
  const next: Phase = { ...phase, sent: block, last: block, received, receivedSize }
  // An empty block makes no progress.
  if (event.data.length === 0) return sendWithoutProgress({ ...state, expects }, next, block)
  return send(withProgress(state, next, sends, expects), block)
}

function onSupervision(state: T1State, phase: Exchange, event: T1Block & { readonly kind: 'S' }): T1Step {
  // Only the reader resynchronises, and it has no open request here (rule 6.1).
  if (event.isResponse || event.about === 'resynch') return requestAgain(state, phase, event)
  const block: T1Block = { ...event, isResponse: true }
  switch (event.about) {
    case 'wtx': {
      // Applies to the next block only (rule 3). The transport limits the sum.
      const waitingTimes = Math.max(1, event.value ?? 1)
      const next: T1State = { ...state, failures: 0, phase: { ...phase, last: block } }
      return { state: next, action: { do: 'send', block, waitingTimes } }
    }
    case 'ifs':
      return sendWithoutProgress(
        { ...state, ifscBytes: event.value ?? state.ifscBytes },
        { ...phase, last: block },
        block,
      )
    case 'abort':
      return send(withProgress(state, { name: 'aborted', sent: block }), block)
  }
}

/**
 * After S(ABORT response) the card's R-block returns the right to send, and names the I-block that the card expects.
 * If the numbers differ, the next response could be taken for that of another command, so both sides resynchronise.
 */
function inAborted(state: T1State, sent: T1Block, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'R')
    return event.expected === state.sends ? giveUp(state, 'aborted') : beginResynch(state)
  if (isBlock(event) && event.kind === 'S' && event.about === 'abort' && !event.isResponse)
    return sendWithoutProgress(state, state.phase, sent)
  return repeat(state, readyBlock(state.expects, errorOf(event)), event)
}

function inIfs(state: T1State, sent: T1Block, event: T1Event): T1Step {
  if (isBlock(event) && event.kind === 'S' && event.about === 'ifs') {
    if (event.isResponse && sent.kind === 'S' && event.value === sent.value) {
      return { state: idle(state), action: { do: 'settled', ifsdBytes: event.value } }
    }
    if (!event.isResponse && state.rounds < MAX_ROUNDS) {
      const changed: T1State = { ...state, ifscBytes: event.value ?? state.ifscBytes }
      return sendWithoutProgress(changed, state.phase, { ...event, isResponse: true })
    }
  }
  // Rule 7.3. If the card never agrees, the default applies.
  if (state.failures + 1 < MAX_ATTEMPTS) return send({ ...state, failures: state.failures + 1 }, sent)
  return { state: idle(state), action: { do: 'settled', ifsdBytes: undefined } }
}

/** Rule 6.4: three attempts, whatever arrives instead of the response. */
function inResynch(state: T1State, event: T1Event): T1Step {
  if (isResponse(event, 'resynch'))
    return giveUp(initialT1(state.initialIfscBytes, state.capacityBytes), 'resynchronised')
  if (state.failures + 1 < MAX_ATTEMPTS)
    return send({ ...state, failures: state.failures + 1 }, supervisoryRequest('resynch'))
  return { state: idle(state), action: { do: 'reset' } }
}

/** Rules 7.1 to 7.3: an R-block requests the expected I-block, whatever was sent last. */
function requestAgain(state: T1State, phase: Exchange, event: T1Event): T1Step {
  const last = readyBlock(state.expects, errorOf(event))
  return repeat({ ...state, phase: { ...phase, last } }, last, event)
}

/** Sends the block again after a missing or damaged block, or after a valid block that does not fit. */
function repeat(state: T1State, block: T1Block, event: T1Event): T1Step {
  if (isBlock(event)) return sendWithoutProgress(state, state.phase, block)
  if (state.failures + 1 < MAX_ATTEMPTS) return send({ ...state, failures: state.failures + 1 }, block)
  return beginResynch(state)
}

/** A valid block was received, but the exchange made no progress. */
function sendWithoutProgress(state: T1State, phase: Phase, block: T1Block): T1Step {
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
  return send(withProgress(state, phase, flip(state.sends)), block)
}

function send(state: T1State, block: T1Block): T1Step {
  return { state, action: { do: 'send', block } }
}

/** Records progress: resets the counts of failures and rounds. */
function withProgress(
  { sends: latest, expects: due, ifscBytes, initialIfscBytes, capacityBytes }: T1State,
  phase: Phase,
  sends: Bit = latest,
  expects: Bit = due,
): T1State {
  // Lists the members, because a spread takes several times as long, and this runs for each block.
  return { sends, expects, ifscBytes, initialIfscBytes, capacityBytes, failures: 0, rounds: 0, phase }
}

const idlePhase: Phase = { name: 'idle' }

function idle(state: T1State): T1State {
  return withProgress(state, idlePhase)
}

function giveUp(state: T1State, why: 'resynchronised' | 'aborted'): T1Step {
  return { state: idle(state), action: { do: 'give-up', why } }
}

function supervisoryRequest(about: 'resynch' | 'ifs' | 'abort', value?: number): T1Block {
  return { kind: 'S', about, isResponse: false, value }
}

function readyBlock(expected: Bit, error: ReadyBlock['error'] = 'none'): ReadyBlock {
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
