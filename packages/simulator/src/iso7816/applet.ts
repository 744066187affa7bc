/** An applet on a card: what stays its own once the card has done the selecting, the chaining and the lengths. */
import type { CommandApdu } from './command.ts'

/** What a command comes to: data and status word. */
export interface Answer {
  readonly data: Uint8Array
  readonly sw: number
}

const nothing = new Uint8Array(0)

/** A status word without data. */
export function status(sw: number): Answer {
  return { data: nothing, sw }
}

/** 9000, with data if there is any. */
export function ok(data: Uint8Array = nothing): Answer {
  return { data, sw: 0x9000 }
}

/** One application that an `AppletCard` holds. */
export interface VirtualApplet {
  /** The whole AID. A terminal may select it by the first bytes, five at least (ISO/IEC 7816-4, 11.2.2). */
  readonly aid: Uint8Array
  /** The card answers nothing before it is fulfilled. */
  readonly ready?: Promise<unknown> | undefined
  /** SELECT of this applet, also if it is selected already. The card drops the data if P2 wants none. */
  select(): Answer
  /** Runs one whole command: the parts of a chain are joined. SELECT comes here unless it is by AID. */
  run(command: CommandApdu): Answer | Promise<Answer>
  /**
   * Called for each command that the selected applet does not see otherwise: GET RESPONSE, SELECT by AID, what the card
   * refused, and a part of a chain, whose INS is handed over.
   */
  interrupted?(partOfIns?: number): void
  /** Another applet was selected, or the power went away: verified PINs and the like are lost. */
  deselect(): void
}
