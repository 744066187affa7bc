/** Logs the exchanges with cards for developers: instruction names, status words and times, without any data. */
import {
  type CardChannel,
  type CardConnection,
  type CardSlot,
  type SlotSource,
  toHex,
  viewOf,
} from '@webtoki/apdu'
import { map } from 'rxjs'

/** One log event. Of an APDU it has only the instruction and the status word; P1, P2 and all data are left out. */
export type LogEvent =
  | { readonly kind: 'connected'; readonly slot: string }
  | {
      readonly kind: 'apdu'
      readonly slot: string
      /** Name of INS in ISO/IEC 7816-4, -8 or -9, such as 'VERIFY'; otherwise its number, such as 'INS F7'. */
      readonly instruction: string
      /** SW1 SW2 in hex. Undefined if no response came. */
      readonly sw?: string | undefined
      readonly milliseconds: number
    }

/** Receives each event as it happens. Errors that it throws are ignored. */
export type Log = (event: LogEvent) => void

/** Wraps a slot source so that the exchanges with its cards are logged. */
export function logged<S extends SlotSource>(source: S, listener: Log): S {
  const log: Log = (event) => {
    try {
      listener(event)
    } catch {
      // A failing log must not break the exchange.
    }
  }
  const known = new WeakMap<CardSlot, CardSlot>()
  const slotOf = (slot: CardSlot): CardSlot => {
    const found = known.get(slot) ?? withMembers(slot, { connect: connectOf(slot, log) })
    known.set(slot, found)
    return found
  }
  return withMembers(source, {
    slots$: source.slots$.pipe(map((slots) => slots.map(slotOf))),
  } as unknown as Partial<S>)
}

function connectOf(slot: CardSlot, log: Log): CardSlot['connect'] {
  return async (options) => {
    const connection = await slot.connect(options)
    log({ kind: 'connected', slot: slot.name })
    const transaction: CardConnection['transaction'] = (owner, work, how) =>
      connection.transaction(owner, (channel) => work(channelOf(channel, slot.name, log)), how)
    return withMembers(connection, { transaction })
  }
}

function channelOf(channel: CardChannel, slot: string, log: Log): CardChannel {
  const transmit: CardChannel['transmit'] = async (command, options) => {
    // Read before sending, because sensitive commands are overwritten after use.
    const instruction = nameOf(viewOf(command)[1] ?? 0)
    const began = performance.now()
    let sw: string | undefined
    try {
      const response = await channel.transmit(command, options)
      sw = toHex(response.subarray(-2)).toUpperCase()
      return response
    } finally {
      log({ kind: 'apdu', slot, instruction, sw, milliseconds: performance.now() - began })
    }
  }
  return withMembers(channel, { transmit })
}

const instructions: Readonly<Record<number, string>> = {
  0x20: 'VERIFY',
  0x22: 'MANAGE SECURITY ENVIRONMENT',
  0x24: 'CHANGE REFERENCE DATA',
  0x2a: 'PERFORM SECURITY OPERATION',
  0x2c: 'RESET RETRY COUNTER',
  0x44: 'ACTIVATE FILE',
  0x47: 'GENERATE ASYMMETRIC KEY PAIR',
  0x70: 'MANAGE CHANNEL',
  0x82: 'EXTERNAL AUTHENTICATE',
  0x84: 'GET CHALLENGE',
  0x86: 'GENERAL AUTHENTICATE',
  0x87: 'GENERAL AUTHENTICATE',
  0x88: 'INTERNAL AUTHENTICATE',
  0xa4: 'SELECT',
  0xa5: 'SELECT DATA',
  0xb0: 'READ BINARY',
  0xb2: 'READ RECORD',
  0xc0: 'GET RESPONSE',
  0xc2: 'ENVELOPE',
  0xca: 'GET DATA',
  0xcb: 'GET DATA',
  0xd6: 'UPDATE BINARY',
  0xda: 'PUT DATA',
  0xdb: 'PUT DATA',
  0xe6: 'TERMINATE DF',
}

function nameOf(ins: number): string {
  return instructions[ins] ?? `INS ${toHex(Uint8Array.of(ins)).toUpperCase()}`
}

/** Returns a proxy that replaces some members. Methods run on the object itself, so that they reach its private fields. */
function withMembers<T extends object>(of: T, members: Partial<T>): T {
  return new Proxy(of, {
    get(target, name) {
      if (Object.hasOwn(members, name)) return members[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
