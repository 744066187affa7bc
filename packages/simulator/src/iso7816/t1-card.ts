/** The card's side of T=1 around a virtual card (ISO/IEC 7816-3:2006, 11): what a reader at TPDU level drives. */
import { join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'

/** How the card behaves on the line. */
export interface T1CardOptions {
  /** Epilogue: one byte or two. Default LRC. */
  readonly detection?: 'LRC' | 'CRC'
  /** The longest information field that it takes (IFSC); it refuses longer ones. Default 32. */
  readonly ifscBytes?: number
  /** Multipliers of the time extensions asked for before each answer. */
  readonly extensions?: readonly number[]
  /** The command's first chain is aborted after this many blocks. */
  readonly abortsAfter?: number
  /** The first answer that is a chain is aborted by the card after this many blocks. */
  readonly abortsAnswerAfter?: number
  /** Tells once, before its first answer, that it takes this many bytes from now on. */
  readonly changesIfscTo?: number
}

type Said = 'nothing' | 'information' | 'ready' | 'request' | 'response'

/** Answers each block, or is 'mute'. */
export class T1Card {
  readonly card: Pick<VirtualCard, 'process'>
  readonly #options: T1CardOptions
  #sends = 0
  #expects = 0
  #ifsdBytes = 32
  #ifscBytes = 32
  #command: Uint8Array[] = []
  #response: Uint8Array = new Uint8Array(0)
  #offset = 0
  #chunkBytes = 0
  #last: Uint8Array = new Uint8Array(0)
  #said: Said = 'nothing'
  #waits: number[] = []
  #mustAbort: boolean
  #blocksUntilAbort: number | undefined
  #mustChangeIfsc: boolean
  /** Our last I-block, for as long as nothing says that it came through. */
  #information: Uint8Array | undefined
  /** What follows the answer to our own request. */
  #afterRequest: (() => Uint8Array) | undefined

  constructor(card: Pick<VirtualCard, 'process'>, options: T1CardOptions = {}) {
    this.card = card
    this.#options = options
    this.#mustAbort = options.abortsAfter !== undefined
    this.#blocksUntilAbort = options.abortsAnswerAfter
    this.#mustChangeIfsc = options.changesIfscTo !== undefined
    this.#resynchronise()
  }

  /** After a reset of the card: both sides begin anew. */
  restart(): void {
    this.#resynchronise()
    this.#said = 'nothing'
  }

  #resynchronise(): void {
    this.#sends = 0
    this.#expects = 0
    this.#ifsdBytes = 32
    this.#ifscBytes = this.#options.ifscBytes ?? 32
    this.#command = []
    this.#response = new Uint8Array(0)
    this.#offset = 0
    this.#chunkBytes = 0
    this.#waits = []
    this.#information = undefined
    this.#afterRequest = undefined
  }

  async processBlock(bytes: Uint8Array): Promise<Uint8Array | 'mute'> {
    const information = this.#checked(bytes)
    if (information === undefined)
      return this.#said === 'request' ? this.#last : this.#ready('wrong epilogue')
    const pcb = bytes[1] as number
    if (pcb < 0x80) return await this.#informed(pcb, information)
    if (pcb < 0xc0) return this.#asked((pcb >> 4) & 1)
    return this.#supervised(pcb, information)
  }

  #checked(bytes: Uint8Array): Uint8Array | undefined {
    const tail = this.#options.detection === 'CRC' ? 2 : 1
    const length = bytes[2] ?? 255
    if (length === 255 || bytes.length !== 3 + length + tail) return undefined
    const expected = this.#epilogue(bytes.slice(0, 3 + length))
    return expected.every((byte, at) => byte === bytes[3 + length + at])
      ? bytes.slice(3, 3 + length)
      : undefined
  }

  async #informed(pcb: number, data: Uint8Array): Promise<Uint8Array> {
    if (((pcb >> 6) & 1) !== this.#expects || this.#afterRequest !== undefined) return this.#ready('other')
    // Its buffer ends there (11.4.2).
    if (data.length > this.#ifscBytes) return this.#ready('other')
    this.#expects ^= 1
    // A new command says that the answer before came through.
    this.#information = undefined
    this.#command.push(data)
    if (pcb & 0x20) {
      if (!this.#mustAbort || this.#command.length < (this.#options.abortsAfter ?? 0)) return this.#ready()
      this.#mustAbort = false
      this.#command = []
      // The R-block behind S(ABORT response) says which block is due, and this one came (Annex A, chain abortion).
      return this.#request(0xc2, undefined, () => this.#ready())
    }
    const command = join(...this.#command)
    this.#command = []
    this.#response = await this.card.process(command)
    this.#offset = 0
    this.#waits = [...(this.#options.extensions ?? [])]
    if (!this.#mustChangeIfsc) return this.#waitOrAnswer()
    this.#mustChangeIfsc = false
    return this.#request(0xc1, this.#options.changesIfscTo, () => {
      this.#ifscBytes = this.#options.changesIfscTo ?? this.#ifscBytes
      return this.#waitOrAnswer()
    })
  }

  #waitOrAnswer(): Uint8Array {
    const multiplier = this.#waits.shift()
    if (multiplier === undefined) return this.#answer()
    return this.#request(0xc3, multiplier, () => this.#waitOrAnswer())
  }

  #answer(): Uint8Array {
    const data = this.#response.slice(this.#offset, this.#offset + this.#ifsdBytes)
    this.#chunkBytes = data.length
    const more = this.#offset + data.length < this.#response.length
    const pcb = (this.#sends << 6) | (more ? 0x20 : 0)
    this.#sends ^= 1
    this.#information = this.#say('information', pcb, data)
    return this.#information
  }

  /** An R-block: it asks for our last I-block again, for the next of the chain, or for what was said in between (11.6.3.2, rules 2 and 7). */
  #asked(expected: number): Uint8Array {
    const unacknowledged = this.#information
    if (unacknowledged !== undefined) {
      // `#sends` is past the block that is out.
      if (expected !== this.#sends) return this.#repeat('information', unacknowledged)
      if (this.#offset + this.#chunkBytes >= this.#response.length) return this.#ready('other')
      this.#offset += this.#chunkBytes
      if (this.#blocksUntilAbort !== undefined && --this.#blocksUntilAbort <= 0) {
        this.#blocksUntilAbort = undefined
        this.#information = undefined
        return this.#request(0xc2, undefined, () => this.#ready())
      }
      return this.#answer()
    }
    return this.#said === 'ready' || this.#said === 'request' ? this.#last : this.#ready('other')
  }

  #supervised(pcb: number, data: Uint8Array): Uint8Array {
    if (pcb === 0xc0) {
      this.#resynchronise()
      return this.#say('response', 0xe0)
    }
    if (pcb === 0xc1 && data.length === 1) {
      this.#ifsdBytes = data[0] as number
      return this.#say('response', 0xe1, data)
    }
    if (pcb === 0xc2 && data.length === 0) {
      // The terminal breaks a chain off, its own or ours: nothing of it is kept.
      this.#command = []
      this.#response = new Uint8Array(0)
      this.#information = undefined
      this.#afterRequest = undefined
      return this.#say('response', 0xe2)
    }
    const then = this.#afterRequest
    if (pcb & 0x20 && then !== undefined && pcb === ((this.#last[1] ?? 0) | 0x20)) {
      this.#afterRequest = undefined
      return then()
    }
    return this.#said === 'request' ? this.#last : this.#ready('other')
  }

  #request(pcb: number, value: number | undefined, then: () => Uint8Array): Uint8Array {
    this.#afterRequest = then
    return this.#say('request', pcb, value === undefined ? undefined : Uint8Array.of(value))
  }

  #ready(why?: 'wrong epilogue' | 'other'): Uint8Array {
    const error = why === undefined ? 0 : why === 'other' ? 2 : 1
    return this.#say('ready', 0x80 | (this.#expects << 4) | error)
  }

  #repeat(said: Said, block: Uint8Array): Uint8Array {
    this.#said = said
    this.#last = block
    return block
  }

  #say(said: Said, pcb: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
    const head = join([0, pcb, data.length], data)
    return this.#repeat(said, join(head, this.#epilogue(head)))
  }

  /** Exclusive-or, or the CRC of ISO/IEC 13239. */
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
