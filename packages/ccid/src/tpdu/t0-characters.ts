/**
 * The reader's side of T=0 as a total function: maps received bytes to the next action (ISO/IEC 7816-3:2006, 10.3).
 */
import { concatBytes } from '@webtoki/apdu'

/** NULL: the card needs more time (10.3.3). */
const NULL_BYTE = 0x60
/** CLA, INS, P1, P2, P3. */
const HEADER_BYTES = 5
const STATUS_BYTES = 2

/** What the next byte from the card is. */
type Phase =
  | { readonly name: 'procedure' }
  /** Number of data bytes before the next procedure byte. */
  | { readonly name: 'data'; readonly left: number }
  | { readonly name: 'sw2'; readonly sw1: number }

/** The state of one command. */
export interface T0State {
  readonly ins: number
  /** Data that the card has not requested yet. */
  readonly unsent: Uint8Array
  /** Number of data bytes still to come from the card. */
  readonly missing: number
  readonly received: readonly Uint8Array[]
  readonly phase: Phase
}

/** The next action. */
export type T0Action =
  | {
      readonly do: 'send'
      readonly bytes: Uint8Array
      /** Number of bytes that the card is certain to send. */
      readonly expects: number
      /** True if the card only requested more time. */
      readonly waits: boolean
    }
  | { readonly do: 'finish'; readonly response: Uint8Array }
  /** The protocol state is lost, so only a reset helps. */
  | { readonly do: 'reset'; readonly why: 'no byte' | 'surplus bytes' | 'an unknown procedure byte' }

/** A state and the next action. */
export interface T0Step {
  readonly state: T0State
  readonly action: T0Action
}

/**
 * Starts a command: sends the header. `tpdu` is header and data; `responseBytes` is the number of bytes that the card
 * is to send, 0 if the command has data.
 */
export function beginT0(tpdu: Uint8Array, responseBytes: number): T0Step {
  const state: T0State = {
    ins: tpdu[1] ?? 0,
    unsent: tpdu.subarray(HEADER_BYTES),
    missing: responseBytes,
    received: [],
    phase: { name: 'procedure' },
  }
  return send(state, tpdu.subarray(0, HEADER_BYTES), false)
}

/** Returns the next state and action for any received bytes. */
export function stepT0(state: T0State, bytes: Uint8Array): T0Step {
  if (bytes.length === 0) return resetAfter(state, 'no byte')
  let { missing, phase } = state
  const received = [...state.received]
  let waits = false
  for (let at = 0; at < bytes.length; ) {
    if (phase.name === 'data') {
      const part = bytes.subarray(at, at + phase.left)
      received.push(part)
      at += part.length
      missing -= part.length
      waits = false
      phase =
        phase.left > part.length ? { name: 'data', left: phase.left - part.length } : { name: 'procedure' }
      continue
    }
    const byte = bytes[at++] as number
    if (phase.name === 'sw2') {
      if (at < bytes.length) return resetAfter(state, 'surplus bytes')
      const response = concatBytes(...received, Uint8Array.of(phase.sw1, byte))
      return { state, action: { do: 'finish', response } }
    }
    const all = byte === state.ins
    if (byte === NULL_BYTE) waits = true
    else if (all || byte === (state.ins ^ 0xff)) {
      const { unsent } = state
      if (unsent.length > 0) {
        // It is the reader's turn to send. A card that continues does not follow the protocol.
        if (at < bytes.length) return resetAfter(state, 'surplus bytes')
        const part = all ? unsent : unsent.subarray(0, 1)
        return send({ ...state, unsent: unsent.subarray(part.length) }, part, false)
      }
      // A request for all remaining data when none remains (case 1) counts as NULL.
      if (missing === 0) waits = true
      else phase = { name: 'data', left: all ? missing : 1 }
    } else if (byte >> 4 === 6 || byte >> 4 === 9) phase = { name: 'sw2', sw1: byte }
    else return resetAfter(state, 'an unknown procedure byte')
  }
  return send({ ...state, missing, phase, received }, new Uint8Array(0), waits && phase.name === 'procedure')
}

function send(state: T0State, bytes: Uint8Array, waits: boolean): T0Step {
  return { state, action: { do: 'send', bytes, expects: expectedBytes(state), waits } }
}

/** Requesting more bytes than the card sends would time out; requesting fewer costs another message. */
function expectedBytes({ phase, missing }: T0State): number {
  if (phase.name !== 'data') return 1
  // After the last data byte come SW1 and SW2, or NULL and more; after any other data byte comes a procedure byte.
  return phase.left + (phase.left === missing ? STATUS_BYTES : 1)
}

function resetAfter(state: T0State, why: (T0Action & { do: 'reset' })['why']): T0Step {
  return { state, action: { do: 'reset', why } }
}
