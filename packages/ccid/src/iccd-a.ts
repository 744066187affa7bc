/** ICCD version A: the device's status byte says what comes next (Integrated Circuit(s) Cards Devices 1.0, 6). */
import { concatBytes } from '@webtoki/apdu'
import type { IccdFetch, IccdWire } from './iccd-wire.ts'
import { CcidError, CommandStatus, HEADER_BYTES, IccStatus, PcToRdr, RdrToPc } from './messages.ts'

const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, iccStatus: 0xa0 } as const
/** Answers to GET_ICC_STATUS; the low nibble says nothing of this. */
const Status = { data: 0x10, statusWord: 0x20, busy: 0x40, mute: 0x80 } as const
const STATUS_MASK = 0xf0
const POLL_MS = 10
/** So many polls go by before who waits is told of it. */
const POLLS_UNTOLD = 50
const MAX_ATR_BYTES = 33
const T0_HEADER_BYTES = 5
/** A control transfer's length has 16 bits, and hosts refuse the longest. */
const MAX_BLOCK_BYTES = 4096

/** One device of this version. */
export class IccdA {
  /** The device takes characters: a T=0 header, then what its status asks for. Else blocks go whole. */
  readonly #takesHeaders: boolean
  /** It does not tell by itself. */
  #isPowered = false

  constructor(takesHeaders: boolean) {
    this.#takesHeaders = takesHeaders
  }

  /** Sends what the message asks for; the answer to an XfrBlock is fetched behind. */
  async send(message: Uint8Array, wire: IccdWire): Promise<IccdFetch | undefined> {
    switch (message[0]) {
      case PcToRdr.iccPowerOn: {
        // First off: the device's own state begins anew.
        await this.#powerOff(wire)
        return async () => {
          await settled(wire)
          const atr = await wire.in(Request.powerOn, MAX_ATR_BYTES)
          if (atr.length === 0) return this.#fail(wire, CcidError.ICC_MUTE)
          this.#isPowered = true
          wire.tell(RdrToPc.dataBlock, IccStatus.active, 0, 0, atr)
        }
      }
      case PcToRdr.iccPowerOff:
        await this.#powerOff(wire)
        wire.tell(RdrToPc.slotStatus, IccStatus.inactive)
        return undefined
      case PcToRdr.getSlotStatus:
        return async () => {
          const isMute = (await settled(wire)) === Status.mute
          const powered = this.#isPowered ? IccStatus.active : IccStatus.inactive
          wire.tell(RdrToPc.slotStatus, isMute ? IccStatus.absent : powered)
        }
      case PcToRdr.xfrBlock: {
        const block = message.slice(HEADER_BYTES)
        if (!this.#takesHeaders) {
          await wire.out(Request.xfrBlock, 0, block)
          return () => this.#whole(wire)
        }
        // What follows the header may be a PIN. It waits for the card to ask for it, and is overwritten if it never does.
        const wipe = (): unknown => block.fill(0)
        await wire.out(Request.xfrBlock, 0, block.slice(0, T0_HEADER_BYTES)).catch((error: unknown) => {
          wipe()
          throw error
        })
        return () => this.#tpdu(block, wire).finally(wipe)
      }
      default:
        wire.tell(RdrToPc.slotStatus, CommandStatus.failed)
        return undefined
    }
  }

  async #powerOff(wire: IccdWire): Promise<void> {
    this.#isPowered = false
    await wire.out(Request.powerOff, 0)
  }

  async #whole(wire: IccdWire): Promise<void> {
    if ((await settled(wire)) === Status.mute) return this.#fail(wire, CcidError.ICC_MUTE)
    wire.tell(RdrToPc.dataBlock, IccStatus.active, 0, 0, await wire.in(Request.dataBlock, MAX_BLOCK_BYTES))
  }

  /** Behind the header of a T=0 command: data out or in as the case has it, then the status word. */
  async #tpdu(tpdu: Uint8Array<ArrayBuffer>, wire: IccdWire): Promise<void> {
    const parts: Uint8Array[] = []
    let status = await settled(wire)
    if (status === Status.data && tpdu.length > T0_HEADER_BYTES) {
      await wire.out(Request.xfrBlock, 0, tpdu.subarray(T0_HEADER_BYTES))
      status = await settled(wire)
    } else {
      for (let missing = tpdu[4] || 256; status === Status.data && missing > 0; ) {
        const part = await wire.in(Request.dataBlock, missing)
        if (part.length === 0) break
        parts.push(part)
        missing -= part.length
        status = await settled(wire)
      }
    }
    if (status === Status.mute) return this.#fail(wire, CcidError.ICC_MUTE)
    const sw = status === Status.statusWord ? await wire.in(Request.dataBlock, 2) : undefined
    if (sw?.length !== 2) return this.#fail(wire, CcidError.PROCEDURE_BYTE_CONFLICT)
    wire.tell(RdrToPc.dataBlock, IccStatus.active, 0, 0, concatBytes(...parts, sw))
  }

  /** The card stands in the middle of a command: without power it begins anew. */
  async #fail(wire: IccdWire, error: number): Promise<void> {
    await this.#powerOff(wire)
    wire.tell(RdrToPc.dataBlock, CommandStatus.failed | IccStatus.inactive, error)
  }
}

/** Waits while the device is busy; a device that says nothing has no card. */
async function settled(wire: IccdWire): Promise<number> {
  for (let polls = 1; ; polls++) {
    const [status = Status.mute] = await wire.in(Request.iccStatus, 1)
    if ((status & Status.busy) === 0 || !wire.isOpen) return status & STATUS_MASK
    if (polls % POLLS_UNTOLD === 0) wire.tell(RdrToPc.dataBlock, CommandStatus.timeExtension, 1)
    await wire.wait(POLL_MS)
  }
}
