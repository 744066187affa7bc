/** T=0 from the reader's side, byte by byte, as one total function: what came, and what is to be sent for it (ISO/IEC 7816-3:2006, 10.3). */
import { concatBytes } from '@webtoki/apdu'

/** The card needs more time (10.3.3). */
const NULL_BYTE = 0x60
/** CLA, INS, P1, P2, P3. */
const HEADER_BYTES = 5
const STATUS_BYTES = 2

/** What the next byte of the card is. */
type Phase =
  | { readonly name: 'procedure' }
  /** So many bytes of data, before its next procedure byte. */
  | { readonly name: 'data'; readonly left: number }
  | { readonly name: 'sw2'; readonly sw1: number }

/** One command under way. */
export interface T0State {
  readonly ins: number
  /** Data that the card has not asked for yet. */
  readonly unsent: Uint8Array
  /** How many bytes of data are still to come from the card. */
  readonly missing: number
  readonly received: readonly Uint8Array[]
  readonly phase: Phase
}

/** What is to be done for it. */
export type T0Action =
  | {
      readonly do: 'send'
      readonly bytes: Uint8Array
      /** So many bytes the card owes for certain. */
      readonly expects: number
      /** Nothing has come nearer to its end: the card asked for time. */
      readonly waits: boolean
    }
  | { readonly do: 'finish'; readonly response: Uint8Array }
  /** Neither side knows any more where the other stands: only a reset helps. */
  | { readonly do: 'reset'; readonly why: 'no byte' | 'surplus bytes' | 'an unknown procedure byte' }

/** A state and what to do in it. */
export interface T0Step {
  readonly state: T0State
  readonly action: T0Action
}

/** Sends the header. `tpdu` is header and data; `responseBytes` is what the card is to send, 0 where data goes to it. */
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

/** The next state and what to send, for any bytes that may come. */
export function stepT0(state: T0State, came: Uint8Array): T0Step {
  if (came.length === 0) return lost(state, 'no byte')
  let { missing, phase } = state
  const received = [...state.received]
  let waits = false
  for (let at = 0; at < came.length; ) {
    if (phase.name === 'data') {
      const part = came.subarray(at, at + phase.left)
      received.push(part)
      at += part.length
      missing -= part.length
      waits = false
      phase =
        phase.left > part.length ? { name: 'data', left: phase.left - part.length } : { name: 'procedure' }
      continue
    }
    const byte = came[at++] as number
    if (phase.name === 'sw2') {
      if (at < came.length) return lost(state, 'surplus bytes')
      const response = concatBytes(...received, Uint8Array.of(phase.sw1, byte))
      return { state, action: { do: 'finish', response } }
    }
    const all = byte === state.ins
    if (byte === NULL_BYTE) waits = true
    else if (all || byte === (state.ins ^ 0xff)) {
      const { unsent } = state
      if (unsent.length > 0) {
        // It is our turn: a card that goes on speaking means something else.
        if (at < came.length) return lost(state, 'surplus bytes')
        const part = all ? unsent : unsent.subarray(0, 1)
        return send({ ...state, unsent: unsent.subarray(part.length) }, part, false)
      }
      // "All that remains" where nothing remains (case 1) is no more than a NULL.
      if (missing === 0) waits = true
      else phase = { name: 'data', left: all ? missing : 1 }
    } else if (byte >> 4 === 6 || byte >> 4 === 9) phase = { name: 'sw2', sw1: byte }
    else return lost(state, 'an unknown procedure byte')
  }
  return send({ ...state, missing, phase, received }, new Uint8Array(0), waits && phase.name === 'procedure')
}

function send(state: T0State, bytes: Uint8Array, waits: boolean): T0Step {
  return { state, action: { do: 'send', bytes, expects: owed(state), waits } }
}

/** Asking for more than the card owes would wait in vain; for less, it costs a message. */
function owed({ phase, missing }: T0State): number {
  if (phase.name !== 'data') return 1
  // Behind the last byte come SW1 and SW2, or NULL and more; behind any other a procedure byte.
  return phase.left + (phase.left === missing ? STATUS_BYTES : 1)
}

function lost(state: T0State, why: (T0Action & { do: 'reset' })['why']): T0Step {
  return { state, action: { do: 'reset', why } }
}
