/**
 * The interface of an applet in an `AppletCard`, which handles selection, chaining and lengths itself (ISO/IEC 7816-4,
 * 5 and 11).
 */
import type { CommandApdu } from './command.ts'

/** The response to a command: data and status word. */
export interface AppletResponse {
  readonly data: Uint8Array
  readonly sw: number
}

const nothing = new Uint8Array(0)

/** Returns a response with a status word and no data. */
export function status(sw: number): AppletResponse {
  return { data: nothing, sw }
}

/** Returns a response with status word 9000. */
export function ok(data: Uint8Array = nothing): AppletResponse {
  return { data, sw: 0x9000 }
}

/** An application of an `AppletCard`. */
export interface VirtualApplet {
  /** The full AID. A terminal can also select the applet by a prefix of at least five bytes (ISO/IEC 7816-4, 11.2.2). */
  readonly aid: Uint8Array
  /** The card executes no command before this promise is fulfilled. */
  readonly ready?: Promise<unknown> | undefined
  /** Called for SELECT of this applet, even if it is selected already. The card drops the data if P2 requests none. */
  select(): AppletResponse
  /** Executes one complete command; the card joins the parts of a chain. SELECT by AID is not passed to the applet. */
  run(command: CommandApdu): AppletResponse | Promise<AppletResponse>
  /**
   * Called for each command that the card handles without the selected applet: GET RESPONSE, SELECT by AID, a command
   * that it refuses, and a part of a chain, whose INS is passed.
   */
  interrupted?(partOfIns?: number): void
  /**
   * Called when another applet is selected or the card loses power. The applet loses verified PINs and other volatile
   * state.
   */
  deselect(): void
}
