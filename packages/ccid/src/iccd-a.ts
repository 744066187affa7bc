/** ICCD version A: the device's status byte states what follows (Integrated Circuit(s) Cards Devices 1.0, 6). */
import { concatBytes } from '@webtoki/apdu'
import type { FetchResponse, IccdWire } from './iccd-wire.ts'
import { CcidError, CommandStatus, HEADER_BYTES, IccStatus, PcToRdr, RdrToPc } from './messages.ts'

const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, iccStatus: 0xa0 } as const
/** Status of GET_ICC_STATUS, in the high nibble. */
const Status = { data: 0x10, statusWord: 0x20, busy: 0x40, mute: 0x80 } as const
const STATUS_MASK = 0xf0
const POLL_MS = 10
/** Number of polls before the pending request gets another time extension. */
const POLLS_PER_EXTENSION = 50
const MAX_ATR_BYTES = 33
const T0_HEADER_BYTES = 5
/** The length of a control transfer has 16 bits, and hosts refuse the longest transfers. */
const MAX_BLOCK_BYTES = 4096

/** One device of ICCD version A. */
export class IccdA {
  /**
   * True at character level: a T=0 header goes first, then what the device's status requests. False: a block goes as
   * a whole.
   */
  readonly #isCharacterLevel: boolean
  /** The device does not report whether its card is powered. */
  #isPowered = false

  constructor(takesHeaders: boolean) {
    this.#isCharacterLevel = takesHeaders
  }

  /**
   * Sends the request for a message. Returns the function that fetches the response, if it does not follow at once.
   */
  async send(message: Uint8Array, wire: IccdWire): Promise<FetchResponse | undefined> {
    switch (message[0]) {
      case PcToRdr.iccPowerOn: {
        // Powers off first, to reset the device's state.
        await this.#powerOff(wire)
        return async () => {
          await pollUntilReady(wire)
          const atr = await wire.in(Request.powerOn, MAX_ATR_BYTES)
          if (atr.length === 0) return this.#fail(wire, CcidError.ICC_MUTE)
          this.#isPowered = true
          wire.respond(RdrToPc.dataBlock, IccStatus.active, 0, 0, atr)
        }
      }
      case PcToRdr.iccPowerOff:
        await this.#powerOff(wire)
        wire.respond(RdrToPc.slotStatus, IccStatus.inactive)
        return undefined
      case PcToRdr.getSlotStatus:
        return async () => {
          const isMute = (await pollUntilReady(wire)) === Status.mute
          const powered = this.#isPowered ? IccStatus.active : IccStatus.inactive
          wire.respond(RdrToPc.slotStatus, isMute ? IccStatus.absent : powered)
        }
      case PcToRdr.xfrBlock: {
        const block = message.slice(HEADER_BYTES)
        if (!this.#isCharacterLevel) {
          await wire.out(Request.xfrBlock, 0, block)
          return () => this.#receiveBlock(wire)
        }
        // The data after the header may contain a PIN. It waits until the card requests it, and is overwritten in any
        // case.
        const wipe = (): unknown => block.fill(0)
        await wire.out(Request.xfrBlock, 0, block.slice(0, T0_HEADER_BYTES)).catch((error: unknown) => {
          wipe()
          throw error
        })
        return () => this.#completeTpdu(block, wire).finally(wipe)
      }
      default:
        wire.respond(RdrToPc.slotStatus, CommandStatus.failed)
        return undefined
    }
  }

  async #powerOff(wire: IccdWire): Promise<void> {
    this.#isPowered = false
    await wire.out(Request.powerOff, 0)
  }

  async #receiveBlock(wire: IccdWire): Promise<void> {
    if ((await pollUntilReady(wire)) === Status.mute) return this.#fail(wire, CcidError.ICC_MUTE)
    wire.respond(RdrToPc.dataBlock, IccStatus.active, 0, 0, await wire.in(Request.dataBlock, MAX_BLOCK_BYTES))
  }

  /** Continues a T=0 command after its header: data out or in, depending on the case, then the status word. */
  async #completeTpdu(tpdu: Uint8Array<ArrayBuffer>, wire: IccdWire): Promise<void> {
    const parts: Uint8Array[] = []
    let status = await pollUntilReady(wire)
    if (status === Status.data && tpdu.length > T0_HEADER_BYTES) {
      await wire.out(Request.xfrBlock, 0, tpdu.subarray(T0_HEADER_BYTES))
      status = await pollUntilReady(wire)
    } else {
      for (let missing = tpdu[4] || 256; status === Status.data && missing > 0; ) {
        const part = await wire.in(Request.dataBlock, missing)
        if (part.length === 0) break
        parts.push(part)
        missing -= part.length
        status = await pollUntilReady(wire)
      }
    }
    if (status === Status.mute) return this.#fail(wire, CcidError.ICC_MUTE)
    const sw = status === Status.statusWord ? await wire.in(Request.dataBlock, 2) : undefined
    if (sw?.length !== 2) return this.#fail(wire, CcidError.PROCEDURE_BYTE_CONFLICT)
    wire.respond(RdrToPc.dataBlock, IccStatus.active, 0, 0, concatBytes(...parts, sw))
  }

  /** Powers the card off, because it may be in the middle of a command. */
  async #fail(wire: IccdWire, error: number): Promise<void> {
    await this.#powerOff(wire)
    wire.respond(RdrToPc.dataBlock, CommandStatus.failed | IccStatus.inactive, error)
  }
}

/** Polls until the device is no longer busy. An empty response counts as a mute card. */
async function pollUntilReady(wire: IccdWire): Promise<number> {
  for (let polls = 1; ; polls++) {
    const [status = Status.mute] = await wire.in(Request.iccStatus, 1)
    if ((status & Status.busy) === 0 || !wire.isOpen) return status & STATUS_MASK
    if (polls % POLLS_PER_EXTENSION === 0) wire.respond(RdrToPc.dataBlock, CommandStatus.timeExtension, 1)
    await wire.wait(POLL_MS)
  }
}
