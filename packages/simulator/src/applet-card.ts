/**
 * A virtual card that holds applets. It implements selection by AID, command and response chaining, length checks,
 * command order and the log (ISO/IEC 7816-4, 5.2 to 5.4 and 11.2.2); the applets implement the rest.
 */
import { copyOf, join, sameBytes } from './bytes.ts'
import type { CardLogEntry, VirtualCard } from './card.ts'
import { answerToReset, type AtrProtocols } from './iso7816/answer-to-reset.ts'
import { type AppletResponse, ok, status, type VirtualApplet } from './iso7816/applet.ts'
import { type CommandApdu, readCommand } from './iso7816/command.ts'

/** Options of `AppletCard`. */
export interface AppletCardOptions {
  /** The applets, in order of precedence: a partial AID selects the first applet that it matches. */
  readonly applets: readonly VirtualApplet[]
  /** The applet that is selected after a reset. Default: none. */
  readonly defaultApplet?: VirtualApplet
  /** The answer to reset. Default: built from `protocols` and `extendedLength`. */
  readonly atr?: Uint8Array
  /** The transmission protocols that the built ATR offers. Default T=1. */
  readonly protocols?: AtrProtocols
  /**
   * False if the card accepts short APDUs only: it returns 6700 for an extended APDU, and the built ATR says so.
   * Default true.
   */
  readonly extendedLength?: boolean
  /**
   * How the card treats a short Le that differs from the length of the response. With `6Cxx`, GET RESPONSE and reading
   * commands return the right length; with `61xx` (default), the card returns Le bytes and the number that remains.
   */
  readonly wrongLe?: '61xx' | '6Cxx'
}

const nothing = new Uint8Array(0)
const SELECT = 0xa4
const GET_RESPONSE = 0xc0
/** SELECT, READ BINARY and GET DATA. The terminal can repeat them after 6Cxx, because they change nothing. */
const idempotentCommands: ReadonlySet<number> = new Set([SELECT, 0xb0, 0xb1, 0xca, 0xcb])
/** The longest data field of a chained command. No object or key needs more. */
const maxChainedBytes = 0x8000

/**
 * A virtual card with one or more applets. Commands run one after the other, in the order of the `process` calls.
 *
 * ```ts
 * const card = new AppletCard({ applets: [piv(), openpgp()] })
 * ```
 */
export class AppletCard implements VirtualCard {
  readonly atr: Uint8Array
  readonly maxCommandBytes: number
  /** Every command APDU that reached the card, in order. Parts of a chain and GET RESPONSE are included. */
  readonly log: CardLogEntry[] = []

  readonly #applets: readonly VirtualApplet[]
  readonly #acceptsExtended: boolean
  readonly #correctsLe: boolean
  readonly #defaultApplet: VirtualApplet | undefined
  #selected: VirtualApplet | undefined
  #chain: { readonly header: number; readonly data: Uint8Array } | undefined
  /** The rest of the response, for GET RESPONSE. */
  #remaining: Uint8Array = nothing
  /** Incremented at each loss of power, so that a command that began before it changes nothing afterwards. */
  #powerEpoch = 0
  #previousCommand: Promise<unknown>

  constructor(options: AppletCardOptions) {
    const { applets, protocols = 'T=1', extendedLength = true, wrongLe = '61xx' } = options
    this.#applets = applets
    this.#defaultApplet = options.defaultApplet
    this.#selected = this.#defaultApplet
    this.#acceptsExtended = extendedLength
    this.#correctsLe = wrongLe === '6Cxx'
    this.atr = copyOf(options.atr ?? answerToReset(protocols, extendedLength))
    this.maxCommandBytes = extendedLength ? 65544 : 261
    this.#previousCommand = Promise.all(applets.map(async ({ ready }) => ready))
  }

  reset(_kind: 'cold' | 'warm'): void {
    this.powerOff()
  }

  powerOff(): void {
    this.#powerEpoch += 1
    this.#selected?.deselect()
    this.#selected = this.#defaultApplet
    this.#chain = undefined
    this.#remaining = nothing
  }

  process(command: Uint8Array): Promise<Uint8Array> {
    const bytes = copyOf(command)
    const powerEpoch = this.#powerEpoch
    const response = this.#previousCommand.then(async () => {
      // The card lost power after this command was sent, so the command must change nothing.
      if (powerEpoch !== this.#powerEpoch) return Uint8Array.of(0x6f, 0x00)
      return this.#execute(bytes)
    })
    this.#previousCommand = response.catch(() => undefined)
    return response
  }

  async #execute(bytes: Uint8Array): Promise<Uint8Array> {
    const command = readCommand(bytes)
    const powerEpoch = this.#powerEpoch
    let response: AppletResponse
    if (command === undefined || (command.extended && !this.#acceptsExtended)) {
      this.#selected?.interrupted?.()
      this.#chain = undefined
      this.#remaining = nothing
      response = status(0x6700)
    } else {
      response = await this.#dispatch(command).catch(() => status(0x6f00))
    }
    // The card lost power while the command ran.
    if (powerEpoch !== this.#powerEpoch) response = status(0x6f00)
    const [cla = 0, instruction = 0, p1 = 0, p2 = 0] = bytes
    this.log.push({ cla, ins: instruction, p1, p2, dataBytes: command?.data.length ?? 0, sw: response.sw })
    return join(response.data, response.sw >> 8, response.sw & 0xff)
  }

  /** Handles GET RESPONSE and command chaining, and passes each complete command to `#run`. */
  async #dispatch(command: CommandApdu): Promise<AppletResponse> {
    const { cla, data } = command
    if (command.ins === GET_RESPONSE && cla === 0) {
      this.#selected?.interrupted?.()
      this.#chain = undefined
      return this.#getResponse(command)
    }
    this.#remaining = nothing
    const header = (command.ins << 16) | (command.p1 << 8) | command.p2
    const isSupportedClass = cla === 0x00 || cla === 0x10
    // A part with another header, or a command of another class, discards an unfinished chain.
    const previousData = isSupportedClass && this.#chain?.header === header ? this.#chain.data : nothing
    this.#chain = undefined
    if (!isSupportedClass) {
      this.#selected?.interrupted?.()
      if ((cla & 0xe0) === 0 && (cla & 0x03) !== 0) return status(0x6881)
      if ((cla & 0xe0) === 0 && (cla & 0x0c) !== 0) return status(0x6882)
      return status(0x6e00)
    }
    const whole = join(previousData, data)
    if (whole.length > maxChainedBytes) {
      this.#selected?.interrupted?.()
      return status(0x6a84)
    }
    if (cla === 0x10) {
      this.#selected?.interrupted?.(command.ins)
      this.#chain = { header, data: whole }
      return ok()
    }
    return this.#respond(await this.#run({ ...command, data: whole }), command)
  }

  async #run(command: CommandApdu): Promise<AppletResponse> {
    if (command.ins === SELECT && (command.p1 === 0x04 || this.#selected === undefined)) {
      this.#selected?.interrupted?.()
      return this.#select(command)
    }
    return this.#selected === undefined ? status(0x6d00) : this.#selected.run(command)
  }

  #select({ p1, p2, data }: CommandApdu): AppletResponse {
    if (p1 !== 0x04 || (p2 !== 0x00 && p2 !== 0x0c)) return status(0x6a86)
    const applet = this.#applets.find(
      ({ aid }) =>
        data.length >= 5 && data.length <= aid.length && sameBytes(data, aid.subarray(0, data.length)),
    )
    // A failed SELECT leaves the current applet selected (ISO/IEC 7816-4, 11.2.2).
    if (applet === undefined) return status(0x6a82)
    if (applet !== this.#selected) this.#selected?.deselect()
    this.#selected = applet
    const response = applet.select()
    return p2 === 0x0c && response.sw === 0x9000 ? ok() : response
  }

  #respond({ data, sw }: AppletResponse, { le, extended, ins }: CommandApdu): AppletResponse {
    if (data.length === 0 || sw !== 0x9000) return { data, sw }
    const corrects =
      this.#correctsLe && idempotentCommands.has(ins) && le !== undefined && le !== 256 && !extended
    if (corrects && data.length !== le && data.length <= 256) return status(0x6c00 | (data.length & 0xff))
    this.#remaining = data
    // Without Le, real cards return all available data, and yubico-piv-tool relies on it.
    return this.#nextPart(le ?? 256)
  }

  #getResponse({ p1, p2, data, le = 256, extended }: CommandApdu): AppletResponse {
    if (p1 !== 0 || p2 !== 0) return status(0x6a86)
    if (data.length > 0) return status(0x6700)
    if (this.#remaining.length === 0) return status(0x6985)
    const available = Math.min(this.#remaining.length, 256)
    if (this.#correctsLe && !extended && le !== available) return status(0x6c00 | (available & 0xff))
    return this.#nextPart(le)
  }

  #nextPart(length: number): AppletResponse {
    const data = this.#remaining.slice(0, length)
    this.#remaining = this.#remaining.slice(length)
    const left = this.#remaining.length
    return { data, sw: left === 0 ? 0x9000 : 0x6100 | (left > 255 ? 0 : left) }
  }
}
