/** A virtual card that follows a script byte by byte, and reports any command that is not in it. */
import { fromHex, toHex, sameBytes } from './bytes.ts'
import type { VirtualCard } from './card.ts'

/** An expected command in hex, or '*' for any command, and the card's response in hex. */
export interface ScriptStep {
  readonly command: string
  readonly response: string
}

/** A card that returns 6F00 for an unexpected command and records it, so that `check` throws. */
export class ScriptedCard implements VirtualCard {
  readonly atr: Uint8Array
  /** Descriptions of the unexpected commands, in hex. */
  readonly surprises: string[] = []
  readonly #steps: ScriptStep[]

  /**
   * Takes the steps in order, and the ATR in hex. The default ATR states T=0, T=1, command chaining and extended
   * lengths.
   */
  constructor(steps: readonly ScriptStep[], atr: string = '3b 85 80 01 80 73 c0 21 c0 d6') {
    this.#steps = [...steps]
    this.atr = fromHex(atr)
  }

  reset(): void {}

  powerOff(): void {}

  async process(command: Uint8Array): Promise<Uint8Array> {
    const step = this.#steps[0]
    if (step === undefined || (step.command !== '*' && !sameBytes(fromHex(step.command), command))) {
      this.surprises.push(`${toHex(command)} instead of ${step?.command ?? 'no command'}`)
      return Uint8Array.of(0x6f, 0x00)
    }
    this.#steps.shift()
    return fromHex(step.response)
  }

  /** Throws if an unexpected command came, or if a step of the script is left. */
  check(): void {
    if (this.surprises.length > 0)
      throw new Error(`The scripted card received unexpected commands: ${this.surprises.join('; ')}.`)
    const [next] = this.#steps
    if (next !== undefined) throw new Error(`The scripted card did not receive ${next.command}.`)
  }
}
