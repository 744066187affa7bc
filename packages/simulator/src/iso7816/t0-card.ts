/** Implements the card side of T=0 for a virtual card, byte by byte (ISO/IEC 7816-3:2006, 10 and 12.2). */
import { join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'

/** How the card behaves in T=0. */
export interface T0CardOptions {
  /**
   * The procedure byte: INS transfers all remaining data at once, its complement one byte at a time. Default 'at-once'.
   */
  readonly acknowledges?: 'at-once' | 'byte-by-byte'
  /** Number of NULL bytes before each procedure byte. Default 0. */
  readonly nulls?: number
  /** Number of additional NULL bytes before the first procedure byte of each command. Default 0. */
  readonly nullsAtFirst?: number
  /**
   * Breaks the protocol at the first procedure byte. With 'short-of-data', the card stops before the last byte of its
   * data.
   */
  readonly breaksBy?: 'wrong-procedure-byte' | 'null-for-ever' | 'short-of-data'
  /**
   * True if a response with a warning (62xx, 63xx) starts with the warning, and GET RESPONSE returns the data with
   * 9000. By default 61xx comes first.
   */
  readonly warnsFirst?: boolean
}

const NULL_BYTE = 0x60
const GET_RESPONSE = 0xc0
const HEADER_BYTES = 5

/**
 * Instructions with command data. In T=0 a card knows the direction of the data only from INS: VERIFY, CHANGE REFERENCE
 * DATA, RESET RETRY COUNTER, GENERATE ASYMMETRIC KEY PAIR, GENERAL AUTHENTICATE, SELECT, ENVELOPE, GET DATA (odd), PUT
 * DATA (odd), and INS 10 of the echo card.
 */
const commandDataInstructions: ReadonlySet<number> = new Set([
  0x10, 0x20, 0x24, 0x2c, 0x47, 0x87, 0xa4, 0xc2, 0xcb, 0xdb, 0xfe, 0xff,
])

type Expected =
  | { readonly for: 'header' }
  | {
      readonly for: 'data'
      readonly header: Uint8Array
      readonly received: Uint8Array
      readonly expectedBytes: number
      readonly missing: number
    }

/** A virtual card in T=0. Readers at character level use `receive` and `next`, readers at TPDU level use `tpdu`. */
export class T0Card {
  readonly card: Pick<VirtualCard, 'process'>
  readonly #options: T0CardOptions
  #expected: Expected = { for: 'header' }
  #header: Uint8Array = new Uint8Array(0)
  #output: number[] = []
  /** True if the card sends nothing more until its next reset. */
  #isUnresponsive = false
  /** True if the card sends NULL bytes without end. */
  #sendsNullForever = false
  /** The response for GET RESPONSE, including the status word. */
  #pendingResponse: Uint8Array = new Uint8Array(0)

  constructor(card: Pick<VirtualCard, 'process'>, options: T0CardOptions = {}) {
    this.card = card
    this.#options = options
  }

  /** Returns to the initial state after a reset of the card. */
  restart(): void {
    this.#expected = { for: 'header' }
    this.#header = new Uint8Array(0)
    this.#output = []
    this.#pendingResponse = new Uint8Array(0)
    this.#isUnresponsive = false
    this.#sendsNullForever = false
  }

  /** Number of data bytes that the card has acknowledged and waits for. */
  get expectedDataBytes(): number {
    return this.#expected.for === 'data' ? this.#expected.expectedBytes : 0
  }

  /** Returns the card's next byte, or 'mute' if it has none. */
  next(): number | 'mute' {
    return this.#sendsNullForever ? NULL_BYTE : (this.#output.shift() ?? 'mute')
  }

  /** Receives bytes from the reader. Bytes that the card does not expect make it unresponsive until its next reset. */
  async receive(bytes: Uint8Array): Promise<void> {
    if (this.#isUnresponsive || this.#sendsNullForever) return
    if (this.#expected.for === 'header') {
      this.#header = join(this.#header, bytes)
      if (this.#header.length < HEADER_BYTES) return
      const header = this.#header
      this.#header = new Uint8Array(0)
      if (header.length > HEADER_BYTES || this.#output.length > 0) this.#becomeUnresponsive()
      else await this.#beginCommand(header)
      return
    }
    const { header, received, expectedBytes, missing } = this.#expected
    if (bytes.length > expectedBytes || this.#output.length > 0) {
      this.#becomeUnresponsive()
      return
    }
    const state = {
      header,
      received: join(received, bytes),
      expectedBytes: expectedBytes - bytes.length,
      missing: missing - bytes.length,
    }
    this.#expected = { for: 'data', ...state }
    if (state.expectedBytes > 0) return
    if (state.missing > 0) this.#acknowledge(state.header, state.received, state.missing)
    else await this.#completeCommand(state.header, state.received)
  }

  #becomeUnresponsive(): void {
    this.#isUnresponsive = true
    this.#output = []
  }

  async #beginCommand(header: Uint8Array): Promise<void> {
    const [, ins = 0, , , p3 = 0] = header
    const { breaksBy, nullsAtFirst = 0 } = this.#options
    this.#send(...Array.from({ length: nullsAtFirst }, () => NULL_BYTE))
    if (breaksBy === 'null-for-ever') {
      this.#sendsNullForever = true
      return
    }
    if (breaksBy === 'wrong-procedure-byte') {
      // The byte must be neither INS, its complement, NULL nor SW1.
      this.#send([0x0a, 0x3a, 0x55].find((byte) => byte !== ins && byte !== (ins ^ 0xff)) as number)
      this.#isUnresponsive = true
      return
    }
    if (commandDataInstructions.has(ins) && p3 > 0) {
      this.#acknowledge(header, new Uint8Array(0), p3)
      return
    }
    const response = await this.tpdu(commandDataInstructions.has(ins) ? header.slice(0, 4) : header)
    const data = response.slice(0, -2)
    this.#sendData(ins, data)
    if (!this.#isUnresponsive) this.#sendStatus(response.slice(-2))
  }

  #acknowledge(header: Uint8Array, received: Uint8Array, missing: number): void {
    const ins = header[1] as number
    const oneByOne = this.#options.acknowledges === 'byte-by-byte'
    this.#sendNulls()
    this.#send(oneByOne ? ins ^ 0xff : ins)
    this.#expected = { for: 'data', header, received, expectedBytes: oneByOne ? 1 : missing, missing }
  }

  async #completeCommand(header: Uint8Array, data: Uint8Array): Promise<void> {
    this.#expected = { for: 'header' }
    if (this.#options.breaksBy === 'short-of-data') this.#becomeUnresponsive()
    else this.#sendStatus(await this.tpdu(join(header, data)))
  }

  #sendData(ins: number, data: Uint8Array): void {
    if (data.length === 0) return
    const isShort = this.#options.breaksBy === 'short-of-data'
    const sent = isShort ? data.slice(0, -1) : data
    if (this.#options.acknowledges === 'byte-by-byte') {
      for (const byte of sent) {
        this.#sendNulls()
        this.#send(ins ^ 0xff, byte)
      }
    } else {
      this.#sendNulls()
      this.#send(ins, ...sent)
    }
    this.#isUnresponsive = isShort
  }

  #sendStatus(sw: Uint8Array): void {
    this.#sendNulls()
    this.#send(...sw)
  }

  #sendNulls(): void {
    for (let sent = 0; sent < (this.#options.nulls ?? 0); sent++) this.#send(NULL_BYTE)
  }

  #send(...bytes: readonly number[]): void {
    this.#output.push(...bytes)
  }

  /**
   * Executes a command TPDU and returns the response TPDU (12.2.1). Data travels in one direction only, so the response
   * data to a command with data is kept for GET RESPONSE.
   */
  async tpdu(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes[1] === GET_RESPONSE && this.#pendingResponse.length > 0)
      return this.#getResponse(bytes[4] || 256)
    this.#pendingResponse = new Uint8Array(0)
    const response = await this.card.process(bytes)
    const data = response.length - 2
    if (bytes.length <= HEADER_BYTES) {
      // T=0 returns P3 bytes or none; 6Cxx states the right length.
      const expectedBytes = bytes.length === HEADER_BYTES ? bytes[4] || 256 : 0
      return data > 0 && data < expectedBytes ? Uint8Array.of(0x6c, data) : response
    }
    if (data <= 0) return response
    const sw1 = response[data]
    if (this.#options.warnsFirst === true && (sw1 === 0x62 || sw1 === 0x63)) {
      this.#pendingResponse = join(response.slice(0, data), [0x90, 0x00])
      return response.slice(data)
    }
    this.#pendingResponse = response
    return Uint8Array.of(0x61, data > 255 ? 0 : data)
  }

  #getResponse(expectedBytes: number): Uint8Array {
    const data = this.#pendingResponse.slice(0, -2)
    const sw = this.#pendingResponse.slice(-2)
    if (data.length < expectedBytes) return Uint8Array.of(0x6c, data.length)
    const rest = data.slice(expectedBytes)
    this.#pendingResponse = rest.length > 0 ? join(rest, sw) : new Uint8Array(0)
    const part = data.slice(0, expectedBytes)
    return rest.length === 0 ? join(part, sw) : join(part, [0x61, rest.length > 255 ? 0 : rest.length])
  }
}
