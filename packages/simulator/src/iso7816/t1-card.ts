/** Implements the card side of T=1 for a virtual card, for readers at TPDU level (ISO/IEC 7816-3:2006, 11). */
import { join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'

/** How the card behaves in T=1. */
export interface T1CardOptions {
  /** The error detection code in the epilogue: LRC (one byte, default) or CRC (two bytes). */
  readonly detection?: 'LRC' | 'CRC'
  /**
   * Length of the longest information field that the card accepts (IFSC), in bytes. It rejects longer ones. Default 32.
   */
  readonly ifscBytes?: number
  /** Multipliers of the waiting time extensions that the card requests before each response. */
  readonly extensions?: readonly number[]
  /** The card aborts the first chained command after this number of blocks. */
  readonly abortsAfter?: number
  /** The card aborts its first chained response after this number of blocks. */
  readonly abortsResponseAfter?: number
  /** The IFSC, in bytes, that the card announces once, before its first response. */
  readonly changesIfscTo?: number
}

type BlockKind = 'nothing' | 'information' | 'ready' | 'request' | 'response'

/** A virtual card in T=1. It responds to each block. */
export class T1Card {
  readonly card: Pick<VirtualCard, 'process'>
  readonly #options: T1CardOptions
  #sendSequence = 0
  #expectedSequence = 0
  #ifsdBytes = 32
  #ifscBytes = 32
  #command: Uint8Array[] = []
  #response: Uint8Array = new Uint8Array(0)
  #offset = 0
  #chunkBytes = 0
  #lastBlock: Uint8Array = new Uint8Array(0)
  #lastKind: BlockKind = 'nothing'
  #pendingExtensions: number[] = []
  #mustAbort: boolean
  #blocksUntilAbort: number | undefined
  #mustChangeIfsc: boolean
  /** The card's last I-block, until the terminal acknowledges it. */
  #unacknowledgedBlock: Uint8Array | undefined
  /** Returns the next block after the terminal has responded to the card's S-block request. */
  #continueAfterRequest: (() => Uint8Array) | undefined

  constructor(card: Pick<VirtualCard, 'process'>, options: T1CardOptions = {}) {
    this.card = card
    this.#options = options
    this.#mustAbort = options.abortsAfter !== undefined
    this.#blocksUntilAbort = options.abortsResponseAfter
    this.#mustChangeIfsc = options.changesIfscTo !== undefined
    this.#resynchronise()
  }

  /** Returns to the initial state after a reset of the card. */
  restart(): void {
    this.#resynchronise()
    this.#lastKind = 'nothing'
  }

  #resynchronise(): void {
    this.#sendSequence = 0
    this.#expectedSequence = 0
    this.#ifsdBytes = 32
    this.#ifscBytes = this.#options.ifscBytes ?? 32
    this.#command = []
    this.#response = new Uint8Array(0)
    this.#offset = 0
    this.#chunkBytes = 0
    this.#pendingExtensions = []
    this.#unacknowledgedBlock = undefined
    this.#continueAfterRequest = undefined
  }

  /** Processes one block from the terminal and resolves to the card's block. */
  async processBlock(bytes: Uint8Array): Promise<Uint8Array | 'mute'> {
    const information = this.#informationOf(bytes)
    if (information === undefined)
      return this.#lastKind === 'request' ? this.#lastBlock : this.#sendReady('wrong epilogue')
    const pcb = bytes[1] as number
    if (pcb < 0x80) return await this.#receiveInformation(pcb, information)
    if (pcb < 0xc0) return this.#receiveReady((pcb >> 4) & 1)
    return this.#receiveSupervisory(pcb, information)
  }

  #informationOf(bytes: Uint8Array): Uint8Array | undefined {
    const tail = this.#options.detection === 'CRC' ? 2 : 1
    const length = bytes[2] ?? 255
    if (length === 255 || bytes.length !== 3 + length + tail) return undefined
    const expected = this.#epilogue(bytes.slice(0, 3 + length))
    return expected.every((byte, at) => byte === bytes[3 + length + at])
      ? bytes.slice(3, 3 + length)
      : undefined
  }

  async #receiveInformation(pcb: number, data: Uint8Array): Promise<Uint8Array> {
    if (((pcb >> 6) & 1) !== this.#expectedSequence || this.#continueAfterRequest !== undefined)
      return this.#sendReady('other')
    // The field is longer than the card's buffer (11.4.2).
    if (data.length > this.#ifscBytes) return this.#sendReady('other')
    this.#expectedSequence ^= 1
    // A new command acknowledges the previous response.
    this.#unacknowledgedBlock = undefined
    this.#command.push(data)
    if (pcb & 0x20) {
      if (!this.#mustAbort || this.#command.length < (this.#options.abortsAfter ?? 0))
        return this.#sendReady()
      this.#mustAbort = false
      this.#command = []
      // The R-block after S(ABORT response) names the next expected block; this one was received (Annex A, chain
      // abortion).
      return this.#sendRequest(0xc2, undefined, () => this.#sendReady())
    }
    const command = join(...this.#command)
    this.#command = []
    this.#response = await this.card.process(command)
    this.#offset = 0
    this.#pendingExtensions = [...(this.#options.extensions ?? [])]
    if (!this.#mustChangeIfsc) return this.#extendOrRespond()
    this.#mustChangeIfsc = false
    return this.#sendRequest(0xc1, this.#options.changesIfscTo, () => {
      this.#ifscBytes = this.#options.changesIfscTo ?? this.#ifscBytes
      return this.#extendOrRespond()
    })
  }

  #extendOrRespond(): Uint8Array {
    const multiplier = this.#pendingExtensions.shift()
    if (multiplier === undefined) return this.#sendResponsePart()
    return this.#sendRequest(0xc3, multiplier, () => this.#extendOrRespond())
  }

  #sendResponsePart(): Uint8Array {
    const data = this.#response.slice(this.#offset, this.#offset + this.#ifsdBytes)
    this.#chunkBytes = data.length
    const more = this.#offset + data.length < this.#response.length
    const pcb = (this.#sendSequence << 6) | (more ? 0x20 : 0)
    this.#sendSequence ^= 1
    this.#unacknowledgedBlock = this.#send('information', pcb, data)
    return this.#unacknowledgedBlock
  }

  /**
   * Handles an R-block, which requests the last I-block again, the next one of the chain, or the last R- or S-block
   * (11.6.3.2, rules 2 and 7).
   */
  #receiveReady(expected: number): Uint8Array {
    const unacknowledged = this.#unacknowledgedBlock
    if (unacknowledged !== undefined) {
      // `#sendSequence` already names the next block.
      if (expected !== this.#sendSequence) return this.#sendBlock('information', unacknowledged)
      if (this.#offset + this.#chunkBytes >= this.#response.length) return this.#sendReady('other')
      this.#offset += this.#chunkBytes
      if (this.#blocksUntilAbort !== undefined && --this.#blocksUntilAbort <= 0) {
        this.#blocksUntilAbort = undefined
        this.#unacknowledgedBlock = undefined
        return this.#sendRequest(0xc2, undefined, () => this.#sendReady())
      }
      return this.#sendResponsePart()
    }
    return this.#lastKind === 'ready' || this.#lastKind === 'request'
      ? this.#lastBlock
      : this.#sendReady('other')
  }

  #receiveSupervisory(pcb: number, data: Uint8Array): Uint8Array {
    if (pcb === 0xc0) {
      this.#resynchronise()
      return this.#send('response', 0xe0)
    }
    if (pcb === 0xc1 && data.length === 1) {
      this.#ifsdBytes = data[0] as number
      return this.#send('response', 0xe1, data)
    }
    if (pcb === 0xc2 && data.length === 0) {
      // The terminal aborts its own chain or the card's, so all of it is discarded.
      this.#command = []
      this.#response = new Uint8Array(0)
      this.#unacknowledgedBlock = undefined
      this.#continueAfterRequest = undefined
      return this.#send('response', 0xe2)
    }
    const then = this.#continueAfterRequest
    if (pcb & 0x20 && then !== undefined && pcb === ((this.#lastBlock[1] ?? 0) | 0x20)) {
      this.#continueAfterRequest = undefined
      return then()
    }
    return this.#lastKind === 'request' ? this.#lastBlock : this.#sendReady('other')
  }

  #sendRequest(pcb: number, value: number | undefined, then: () => Uint8Array): Uint8Array {
    this.#continueAfterRequest = then
    return this.#send('request', pcb, value === undefined ? undefined : Uint8Array.of(value))
  }

  #sendReady(error?: 'wrong epilogue' | 'other'): Uint8Array {
    const code = error === undefined ? 0 : error === 'other' ? 2 : 1
    return this.#send('ready', 0x80 | (this.#expectedSequence << 4) | code)
  }

  #sendBlock(kind: BlockKind, block: Uint8Array): Uint8Array {
    this.#lastKind = kind
    this.#lastBlock = block
    return block
  }

  #send(kind: BlockKind, pcb: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
    const head = join([0, pcb, data.length], data)
    return this.#sendBlock(kind, join(head, this.#epilogue(head)))
  }

  /** Computes the LRC (exclusive or), or the CRC of ISO/IEC 13239. */
  #epilogue(bytes: Uint8Array): Uint8Array {
    if (this.#options.detection !== 'CRC') return Uint8Array.of(bytes.reduce((sum, byte) => sum ^ byte, 0))
    let remainder = 0xffff
    for (const byte of bytes) {
      let entry = byte ^ (remainder & 0xff)
      for (let bit = 0; bit < 8; bit++) entry = entry & 1 ? (entry >>> 1) ^ 0x8408 : entry >>> 1
      remainder = (remainder >>> 8) ^ entry
    }
    const crc = ~remainder & 0xffff
    return Uint8Array.of(crc >> 8, crc & 0xff)
  }
}
