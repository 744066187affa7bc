/** Channels for tests: one that follows a script and throws on any other command, and one that computes its responses. */
import {
  type CardChannel,
  type CardConnection,
  type ChannelLimits,
  fromHex,
  type PinPad,
  toHex,
} from '../src/index.ts'

export const short: ChannelLimits = { extended: false, commandBytes: 261, responseBytes: 256 }
export const extended: ChannelLimits = { extended: true, commandBytes: 65544, responseBytes: 65536 }

export class ScriptedChannel implements CardChannel {
  readonly atr: Uint8Array = fromHex('3b00')
  readonly limits: ChannelLimits
  undisturbed = true
  vouchesForCard = true
  pinPad?: PinPad
  /** The arrays passed to `transmit`, not copies. */
  readonly received: Uint8Array[] = []
  onTransmit: (() => void) | undefined
  readonly #script: [command: string, response: string][]

  constructor(script: [command: string, response: string][], limits: ChannelLimits = short) {
    this.#script = script.map(([command, response]) => [command.replace(/\s/g, ''), response])
    this.limits = limits
  }

  get left(): number {
    return this.#script.length
  }

  async transmit(command: Uint8Array): Promise<Uint8Array> {
    const next = this.#script.shift()
    const hex = toHex(command)
    if (next === undefined || next[0] !== hex)
      throw new Error(`Not in the script: ${hex}, expected ${next?.[0]}`)
    this.received.push(command)
    this.onTransmit?.()
    return fromHex(next[1])
  }

  reset(): Promise<Uint8Array> {
    return Promise.reject(new Error('Not in the script: reset'))
  }
}

/** A connection that passes this channel to every transaction. */
export function connectionOf(channel: CardChannel): CardConnection {
  return {
    gone: new Promise(() => {}),
    hasPinPad: channel.pinPad !== undefined,
    transaction: (_owner, work) => work(channel),
    close: () => Promise.resolve(),
  }
}

/** A channel whose responses a function computes, for hostile cards. */
export function answering(
  respond: (command: Uint8Array) => Uint8Array,
  limits: ChannelLimits = short,
): CardChannel {
  return {
    atr: fromHex('3b00'),
    limits,
    undisturbed: true,
    vouchesForCard: true,
    transmit: (command) => Promise.resolve(respond(command)),
    reset: () => Promise.reject(new Error('no reset')),
  }
}
