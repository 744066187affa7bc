/**
 * The contact interface of a virtual card: ATR, PPS, T=0 and T=1, for readers at TPDU and character level (ISO/IEC
 * 7816-3:2006, 9 to 12).
 */
import type { VirtualCard } from '../card.ts'
import { T0Card, type T0CardOptions } from './t0-card.ts'
import { T1Card, type T1CardOptions } from './t1-card.ts'

/** How a card behaves below the APDU level. */
export interface ContactOptions extends Omit<T1CardOptions, 'detection' | 'ifscBytes'> {
  /** Behaviour of T=0. */
  readonly t0?: T0CardOptions
  /** The voltages that the card supports (classes A, B, C). It is mute at any other. Default: all. */
  readonly volts?: readonly (5 | 3 | 1.8)[]
  /** The ATR after a warm reset, if it differs. A card can leave specific mode this way (6.3.1). */
  readonly warmAtr?: Uint8Array
  /** True if the card does not respond to a PPS request. */
  readonly refusesPps?: boolean
  /** The line between card and reader: returns the bytes as they arrive, or undefined if they are lost. */
  readonly line?: (bytes: Uint8Array, to: 'card' | 'reader') => Uint8Array | undefined
}

/** A virtual card as a reader at TPDU or character level sees it. */
export class ContactCard {
  readonly card: VirtualCard
  readonly #options: ContactOptions
  readonly #onCommand: (commandBytes: number, responseBytes: number) => void
  readonly #t0: T0Card
  readonly #t1: T1Card
  readonly #offered: readonly number[]
  #protocol: number
  #isNegotiable = true
  /** At character level, the bytes of a PPS response or T=1 block that the reader has not fetched yet. */
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

  /** Returns to the parameters of the ATR after a reset. */
  restart(): void {
    this.#protocol = this.#offered[0] ?? 0
    this.#isNegotiable = true
    this.#pending = []
    this.#t0.restart()
    this.#t1.restart()
  }

  /** Changes the protocol for a reader that sends the PPS request itself. */
  negotiated(protocol: number): void {
    if (this.#isNegotiable && this.#offered.includes(protocol)) this.#protocol = protocol
  }

  /**
   * Exchanges a TPDU, block or PPS request in the reader's current protocol. Resolves to the response, or 'mute' if
   * none comes.
   */
  async exchange(sent: Uint8Array, protocol: number): Promise<Uint8Array | 'mute'> {
    const bytes = this.#transmit(sent, 'card')
    const response = bytes === undefined ? 'mute' : await this.#respond(bytes, protocol)
    return response === 'mute' ? response : (this.#transmit(response, 'reader') ?? 'mute')
  }

  /**
   * Exchanges bytes at character level. `sent` may be empty; `expected` is the number of bytes that the reader waits for.
   * Resolves to 'mute' if the card sends fewer, and those bytes are lost.
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
    // A block or a PPS response is complete, so the unread bytes of the previous one are discarded.
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

  /** Echoes a PPS request that the card supports, otherwise stays mute (clause 9). */
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

/**
 * Reads the protocols in the order of the TD bytes, and IFSC and error detection code from the first bytes for T=1
 * (8.2.3, 11.4.2, 11.4.4).
 */
export function readAtr(atr: Uint8Array): {
  readonly protocols: readonly number[]
  readonly detection: 'LRC' | 'CRC'
  readonly ifscBytes: number
} {
  const protocols: number[] = []
  let detection: 'LRC' | 'CRC' = 'LRC'
  let ifscBytes = 32
  // The bytes after TD1 are not specific to the protocol that TD1 names: TA2 is the mode byte, TC2 belongs to T=0.
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
