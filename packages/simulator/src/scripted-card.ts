/** A card that follows a script to the byte, and is loud on anything else. */
import { fromHex, toHex, sameBytes } from './bytes.ts'
import type { VirtualCard } from './card.ts'

/** A command in hex and what the card answers; '*' takes any command. */
export interface ScriptStep {
  readonly command: string
  readonly response: string
}

/** Answers 6F00 to what is not in its script, and keeps it: `check` throws for it. */
export class ScriptedCard implements VirtualCard {
  readonly atr: Uint8Array
  /** What came against the script, in hex. */
  readonly surprises: string[] = []
  readonly #steps: ScriptStep[]

  /** `atr` in hex; default: T=0 and T=1, command chaining and extended lengths. */
  constructor(steps: readonly ScriptStep[], atr: string = '3b 85 80 01 80 73 c0 21 c0 d6') {
    this.#steps = [...steps]
    this.atr = fromHex(atr)
  }

  reset(): void {}

  powerOff(): void {}

  async process(command: Uint8Array): Promise<Uint8Array> {
    const step = this.#steps[0]
    if (step === undefined || (step.command !== '*' && !sameBytes(fromHex(step.command), command))) {
      this.surprises.push(`${toHex(command)} came where ${step?.command ?? 'nothing'} was expected`)
      return Uint8Array.of(0x6f, 0x00)
    }
    this.#steps.shift()
    return fromHex(step.response)
  }

  /** Throws where anything came against the script, or is still to come. */
  check(): void {
    if (this.surprises.length > 0)
      throw new Error(`The scripted card was surprised: ${this.surprises.join('; ')}.`)
    const [next] = this.#steps
    if (next !== undefined) throw new Error(`The scripted card still waits for ${next.command}.`)
  }
}
