/** A card at the contacts: protocol and parameters by its ATR and PPS, T=0 and T=1 around a virtual card (ISO/IEC 7816-3:2006, 9 to 12). */
import type { VirtualCard } from '../card.ts'
import { T0Card, type T0CardOptions } from './t0-card.ts'
import { T1Card, type T1CardOptions } from './t1-card.ts'

/** How a card behaves at the contacts. */
export interface ContactOptions extends Omit<T1CardOptions, 'detection' | 'ifscBytes'> {
  /** Its T=0, where it speaks that. */
  readonly t0?: T0CardOptions
  /** The voltages it works at (classes A, B, C); mute at any other. Default: all. */
  readonly volts?: readonly (5 | 3 | 1.8)[]
  /** What it says at a warm reset, where that differs: a card may leave specific mode so (6.3.1). */
  readonly warmAtr?: Uint8Array
  /** It does not answer a PPS request. */
  readonly refusesPps?: boolean
  /** What stands between card and reader: gives back the bytes as they arrive; undefined: nothing does. */
  readonly line?: (bytes: Uint8Array, to: 'card' | 'reader') => Uint8Array | undefined
}

/** What a reader at TPDU or character level talks to. */
export class ContactCard {
  readonly card: VirtualCard
  readonly #options: ContactOptions
  readonly #onCommand: (commandBytes: number, responseBytes: number) => void
  readonly #t0: T0Card
  readonly #t1: T1Card
  readonly #offered: readonly number[]
  #protocol: number
  #isNegotiable = true
  /** Character level, PPS and T=1: what the card has sent and the reader not taken. */
  #pending: number[] = []

  constructor(
    card: VirtualCard,
    options: ContactOptions,
    onCommand: (commandBytes: number, responseBytes: number) => void,
  ) {
    this.card = card
    this.#options = options
    this.#onCommand = onCommand
    const { protocols, detection, ifscBytes } = readAtr(card.atr)
    this.#offered = protocols
    this.#protocol = protocols[0] ?? 0
    const execute = { process: (command: Uint8Array) => this.#execute(command) }
    this.#t0 = new T0Card(execute, options.t0)
    this.#t1 = new T1Card(execute, { ...options, detection, ifscBytes })
  }

  /** After a reset everything is as the ATR says. */
  restart(): void {
    this.#protocol = this.#offered[0] ?? 0
    this.#isNegotiable = true
    this.#pending = []
    this.#t0.restart()
    this.#t1.restart()
  }

  /** A reader that negotiates by itself has changed the protocol. */
  negotiated(protocol: number): void {
    if (this.#isNegotiable && this.#offered.includes(protocol)) this.#protocol = protocol
  }

  /** Bytes from the reader, which speaks this protocol; what comes back, or 'mute'. */
  async exchange(sent: Uint8Array, protocol: number): Promise<Uint8Array | 'mute'> {
    const bytes = this.#transmit(sent, 'card')
    const response = bytes === undefined ? 'mute' : await this.#respond(bytes, protocol)
    return response === 'mute' ? response : (this.#transmit(response, 'reader') ?? 'mute')
  }

  /**
   * Character level: bytes from the reader, none perhaps, and so many that it waits for; 'mute' where the card gives
   * fewer, and those are lost.
   */
  async characters(sent: Uint8Array, expected: number, protocol: number): Promise<Uint8Array | 'mute'> {
    if (sent.length > 0) {
      const bytes = this.#transmit(sent, 'card')
      if (bytes !== undefined) await this.#receive(bytes, protocol)
    }
    const received: number[] = []
    while (received.length < expected) {
      const byte = this.#pending.shift() ?? this.#t0.next()
      if (byte === 'mute') return byte
      received.push(byte)
    }
    return this.#transmit(Uint8Array.from(received), 'reader') ?? 'mute'
  }

  async #receive(bytes: Uint8Array, protocol: number): Promise<void> {
    const isPps = this.#isNegotiable && bytes[0] === 0xff
    if (protocol === 0 && this.#protocol === 0 && !isPps) {
      this.#isNegotiable = false
      await this.#t0.receive(bytes)
      return
    }
    const response = await this.#respond(bytes, protocol)
    // A block or a PPS answer is whole: what was left of the one before is no part of it.
    this.#pending = response === 'mute' ? [] : [...response]
  }

  #transmit(bytes: Uint8Array, to: 'card' | 'reader'): Uint8Array | undefined {
    return this.#options.line === undefined ? bytes : this.#options.line(bytes, to)
  }

  async #respond(bytes: Uint8Array, protocol: number): Promise<Uint8Array | 'mute'> {
    if (this.#isNegotiable && bytes[0] === 0xff) return this.#pps(bytes)
    if (protocol !== this.#protocol) return 'mute'
    this.#isNegotiable = false
    return protocol === 1 ? await this.#t1.processBlock(bytes) : await this.#t0.tpdu(bytes)
  }

  /** Clause 9: echoes what it can do, else stays silent. */
  #pps(bytes: Uint8Array): Uint8Array | 'mute' {
    const requested = (bytes[1] ?? 0) & 0x0f
    const isWhole =
      bytes.length === ((bytes[1] ?? 0) & 0x10 ? 4 : 3) && bytes.reduce((sum, byte) => sum ^ byte, 0) === 0
    if (!isWhole || !this.#offered.includes(requested) || this.#options.refusesPps) return 'mute'
    this.#protocol = requested
    this.#isNegotiable = false
    return bytes
  }

  async #execute(command: Uint8Array): Promise<Uint8Array> {
    const response = await this.card.process(command)
    this.#onCommand(command.length, response.length)
    return response
  }
}

/** Protocols in the order of the TD bytes, and what the first bytes for T=1 say: IFSC and epilogue (8.2.3, 11.4.2, 11.4.4). */
export function readAtr(atr: Uint8Array): {
  readonly protocols: readonly number[]
  readonly detection: 'LRC' | 'CRC'
  readonly ifscBytes: number
} {
  const protocols: number[] = []
  let detection: 'LRC' | 'CRC' = 'LRC'
  let ifscBytes = 32
  // The bytes behind TD1 are for no protocol, whichever it names: TA2 is the mode, TC2 is T=0's.
  let group = 1
  let isFirstOfT1 = false
  let hasSeenT1 = false
  let at = 2
  let present = (atr[1] ?? 0) >> 4
  for (;;) {
    if (present & 1) {
      if (isFirstOfT1) ifscBytes = atr[at] ?? ifscBytes
      at++
    }
    if (present & 2) at++
    if (present & 4) {
      if (isFirstOfT1 && atr[at] === 1) detection = 'CRC'
      at++
    }
    if (!(present & 8)) break
    const td = atr[at++] ?? 0
    const protocol = td & 0x0f
    if (protocol !== 15 && !protocols.includes(protocol)) protocols.push(protocol)
    present = td >> 4
    group++
    isFirstOfT1 = group > 2 && protocol === 1 && !hasSeenT1
    hasSeenT1 ||= isFirstOfT1
  }
  return { protocols: protocols.length > 0 ? protocols : [0], detection, ifscBytes }
}
