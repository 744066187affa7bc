/** What goes on between the page and its cards, for developers: names, status words and times, never a byte of data. */
import {
  type CardChannel,
  type CardConnection,
  type CardSlot,
  type SlotSource,
  toHex,
  viewOf,
} from '@webtoki/apdu'
import { map } from 'rxjs'

/** One thing that happened. An APDU is told by its instruction and status word alone: P1, P2 and all data stay out. */
export type LogEvent =
  | { readonly kind: 'connected'; readonly slot: string }
  | {
      readonly kind: 'apdu'
      readonly slot: string
      /** The name of INS in ISO 7816-4, 7816-8 or 7816-9, such as 'VERIFY'; of any other its number, such as 'INS F7'. */
      readonly instruction: string
      /** SW1 SW2 in hex. Absent: no answer came. */
      readonly sw?: string | undefined
      readonly milliseconds: number
    }

/** Told each event as it happens. What it throws disturbs nobody. */
export type Log = (event: LogEvent) => void

/** The same source, whose cards' exchanges are told. */
export function logged<S extends SlotSource>(source: S, told: Log): S {
  const log: Log = (event) => {
    try {
      told(event)
    } catch {
      // A log that fails must not keep a card from its work.
    }
  }
  const known = new WeakMap<CardSlot, CardSlot>()
  const slotOf = (slot: CardSlot): CardSlot => {
    const found = known.get(slot) ?? instead(slot, { connect: connectOf(slot, log) })
    known.set(slot, found)
    return found
  }
  return instead(source, {
    slots$: source.slots$.pipe(map((slots) => slots.map(slotOf))),
  } as unknown as Partial<S>)
}

function connectOf(slot: CardSlot, log: Log): CardSlot['connect'] {
  return async (options) => {
    const connection = await slot.connect(options)
    log({ kind: 'connected', slot: slot.name })
    const transaction: CardConnection['transaction'] = (owner, work, how) =>
      connection.transaction(owner, (channel) => work(channelOf(channel, slot.name, log)), how)
    return instead(connection, { transaction })
  }
}

function channelOf(channel: CardChannel, slot: string, log: Log): CardChannel {
  const transmit: CardChannel['transmit'] = async (command, options) => {
    // Before it is sent: what is sensitive is overwritten after use.
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
  return instead(channel, { transmit })
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

/** The same object but for these members; its own private fields are reached by itself. */
function instead<T extends object>(of: T, members: Partial<T>): T {
  return new Proxy(of, {
    get(target, name) {
      if (Object.hasOwn(members, name)) return members[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
