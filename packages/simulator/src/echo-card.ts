/** A virtual card that echoes its input, for tests of long APDUs and timing (ISO/IEC 7816-4, 5.2 and 5.3). */
import { fromHex, join } from './bytes.ts'
import type { CardLogEntry, VirtualCard } from './card.ts'

/** ATR with T=0 and T=1. The historical bytes 80 73 C0 21 C0 state command chaining and extended lengths. */
const ATR = fromHex('3b 85 80 01 80 73 c0 21 c0 d6')

/** The same ATR with historical bytes that end in 40: extended lengths without command chaining. */
const ATR_WITHOUT_CHAINING = fromHex('3b 85 80 01 80 73 c0 21 40 56')

const ok = Uint8Array.of(0x90, 0x00)

/** Options of an echo card. */
export interface EchoCardOptions {
  /**
   * False if the card accepts long commands only as extended APDUs or in ENVELOPE commands, and its ATR says so.
   * Default true.
   */
  readonly chaining?: boolean
}

/** A card with two commands: INS 10 returns the data field, INS 12 returns P1 P2 bytes that count up from 0. */
export class EchoCard implements VirtualCard {
  readonly atr: Uint8Array
  readonly log: CardLogEntry[] = []
  readonly #chains: boolean
  #enveloped: Uint8Array = new Uint8Array(0)
  #chained: Uint8Array[] = []
  #remaining: Uint8Array = new Uint8Array(0)

  constructor({ chaining = true }: EchoCardOptions = {}) {
    this.#chains = chaining
    this.atr = chaining ? ATR : ATR_WITHOUT_CHAINING
  }

  reset(): void {
    this.#chained = []
    this.#enveloped = new Uint8Array(0)
    this.#remaining = new Uint8Array(0)
  }

  powerOff(): void {
    this.reset()
  }

  async process(apdu: Uint8Array): Promise<Uint8Array> {
    const [cla = 0, ins = 0, p1 = 0, p2 = 0] = apdu
    const { data, isExtended } = dataOf(apdu)
    const response = this.#chains
      ? this.#execute(cla, ins, (p1 << 8) | p2, data, isExtended)
      : this.#executeWithoutChaining(apdu)
    const sw = ((response.at(-2) ?? 0) << 8) | (response.at(-1) ?? 0)
    this.log.push({ cla, ins, p1, p2, dataBytes: data.length, sw })
    return response
  }

  #execute(
    cla: number,
    ins: number,
    requestedBytes: number,
    data: Uint8Array,
    isExtended: boolean,
  ): Uint8Array {
    if (ins === 0xc0) return this.#respond(this.#remaining, false)
    if (ins !== 0x10 && ins !== 0x12) return Uint8Array.of(0x6d, 0x00)
    if (cla & 0x10) {
      this.#chained.push(data)
      return ok
    }
    const whole = join(...this.#chained, data)
    this.#chained = []
    const content = ins === 0x10 ? whole : Uint8Array.from({ length: requestedBytes }, (_, at) => at & 0xff)
    return this.#respond(content, isExtended)
  }

  /**
   * Collects a command APDU from ENVELOPE commands (ISO/IEC 7816-3:2006, 12.2). It is complete when it holds Lc bytes
   * of data; the bytes after them are Le.
   */
  #executeWithoutChaining(apdu: Uint8Array): Uint8Array {
    const [cla = 0, ins = 0, p1 = 0, p2 = 0] = apdu
    if (cla & 0x10) return Uint8Array.of(0x68, 0x84)
    const { data, isExtended } = dataOf(apdu)
    if (ins !== 0xc2) return this.#execute(cla, ins, (p1 << 8) | p2, data, isExtended)
    this.#enveloped = join(this.#enveloped, data)
    const whole = this.#enveloped
    const isLong = whole[4] === 0
    const neededBytes = isLong ? 7 + (((whole[5] ?? 0xff) << 8) | (whole[6] ?? 0xff)) : 5 + (whole[4] ?? 0xff)
    if (whole.length < neededBytes) return ok
    this.#enveloped = new Uint8Array(0)
    if (whole.length > neededBytes + (isLong ? 2 : 1)) return Uint8Array.of(0x67, 0x00)
    const requestedBytes = ((whole[2] as number) << 8) | (whole[3] as number)
    const inner = dataOf(whole).data
    const response = this.#execute(whole[0] as number, whole[1] as number, requestedBytes, inner, false)
    // The response to a case 3 command has no data.
    return whole.length === neededBytes ? response.slice(-2) : response
  }

  /** Returns at most 256 bytes for a short command. GET RESPONSE returns the rest. */
  #respond(content: Uint8Array, isExtended: boolean): Uint8Array {
    const capacity = isExtended ? 65_536 : 256
    this.#remaining = content.slice(capacity)
    const left = Math.min(this.#remaining.length, 255)
    return join(
      content.slice(0, capacity),
      this.#remaining.length > 0 ? [0x61, this.#remaining.length > 255 ? 0 : left] : ok,
    )
  }
}

/** Creates an echo card. */
export function createEchoCard(options: EchoCardOptions = {}): EchoCard {
  return new EchoCard(options)
}

function dataOf(apdu: Uint8Array): { readonly data: Uint8Array; readonly isExtended: boolean } {
  if (apdu.length <= 5) return { data: new Uint8Array(0), isExtended: false }
  const short = apdu[4] as number
  if (short > 0) return { data: apdu.slice(5, 5 + short), isExtended: false }
  if (apdu.length === 7) return { data: new Uint8Array(0), isExtended: true }
  const bytes = ((apdu[5] as number) << 8) | (apdu[6] as number)
  return { data: apdu.slice(7, 7 + bytes), isExtended: true }
}
