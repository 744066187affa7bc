/** A card that gives back what it is given: for long APDUs and for timings. */
import { fromHex, join } from './bytes.ts'
import type { CardLogEntry, VirtualCard } from './card.ts'

/** T=0 and T=1, historical bytes 80 73 C0 21 C0: command chaining and extended lengths. */
const ATR = fromHex('3b 85 80 01 80 73 c0 21 c0 d6')

const ok = Uint8Array.of(0x90, 0x00)

/** INS 10 echoes the data field; INS 12 answers as many bytes as P1 P2 say, counting up from 0. */
export class EchoCard implements VirtualCard {
  readonly atr: Uint8Array = ATR
  readonly log: CardLogEntry[] = []
  #chained: Uint8Array[] = []
  #rest: Uint8Array = new Uint8Array(0)

  reset(): void {
    this.#chained = []
    this.#rest = new Uint8Array(0)
  }

  powerOff(): void {
    this.reset()
  }

  async process(apdu: Uint8Array): Promise<Uint8Array> {
    const [cla = 0, ins = 0, p1 = 0, p2 = 0] = apdu
    const { data, isExtended } = dataOf(apdu)
    const response = this.#execute(cla, ins, (p1 << 8) | p2, data, isExtended)
    const sw = ((response.at(-2) ?? 0) << 8) | (response.at(-1) ?? 0)
    this.log.push({ cla, ins, p1, p2, dataBytes: data.length, sw })
    return response
  }

  #execute(cla: number, ins: number, wanted: number, data: Uint8Array, isExtended: boolean): Uint8Array {
    if (ins === 0xc0) return this.#answer(this.#rest, false)
    if (ins !== 0x10 && ins !== 0x12) return Uint8Array.of(0x6d, 0x00)
    if (cla & 0x10) {
      this.#chained.push(data)
      return ok
    }
    const whole = join(...this.#chained, data)
    this.#chained = []
    const content = ins === 0x10 ? whole : Uint8Array.from({ length: wanted }, (_, at) => at & 0xff)
    return this.#answer(content, isExtended)
  }

  /** Short commands get 256 bytes at most; GET RESPONSE fetches the rest. */
  #answer(content: Uint8Array, isExtended: boolean): Uint8Array {
    const room = isExtended ? 65_536 : 256
    this.#rest = content.slice(room)
    const left = Math.min(this.#rest.length, 255)
    return join(
      content.slice(0, room),
      this.#rest.length > 0 ? [0x61, this.#rest.length > 255 ? 0 : left] : ok,
    )
  }
}

/** A fresh one. */
export function createEchoCard(): EchoCard {
  return new EchoCard()
}

function dataOf(apdu: Uint8Array): { readonly data: Uint8Array; readonly isExtended: boolean } {
  if (apdu.length <= 5) return { data: new Uint8Array(0), isExtended: false }
  const short = apdu[4] as number
  if (short > 0) return { data: apdu.slice(5, 5 + short), isExtended: false }
  if (apdu.length === 7) return { data: new Uint8Array(0), isExtended: true }
  const bytes = ((apdu[5] as number) << 8) | (apdu[6] as number)
  return { data: apdu.slice(7, 7 + bytes), isExtended: true }
}
