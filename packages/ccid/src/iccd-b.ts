/** ICCD version B: each response states its type (Integrated Circuit(s) Cards Devices 1.0, 6). */
import { MalformedError } from '@webtoki/apdu'
import type { FetchResponse, IccdWire } from './iccd-wire.ts'
import { CommandStatus, HEADER_BYTES, IccStatus, PcToRdr, RdrToPc } from './messages.ts'

const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, slotStatus: 0x81 } as const
/** bResponseType (6.2.2). The values in between are those of CCID's bChainParameter. */
const Response = { status: 0x40, pollAgain: 0x80 } as const
const POLL_UNIT_MS = 10
/** The length of a control transfer has 16 bits, and hosts refuse the longest transfers. */
const MAX_BLOCK_BYTES = 4096
/** bLevelParameter is one byte. */
const MAX_LEVEL = 255

/** Sends the request for a message. Returns the function that fetches the data block, if there is one. */
export async function sendB(message: Uint8Array, wire: IccdWire): Promise<FetchResponse | undefined> {
  switch (message[0]) {
    case PcToRdr.iccPowerOn:
      // Powers off first, to reset the device's state.
      await wire.out(Request.powerOff, 0)
      await wire.out(Request.powerOn, 1)
      break
    case PcToRdr.iccPowerOff:
      await wire.out(Request.powerOff, 0)
      wire.respond(RdrToPc.slotStatus, IccStatus.inactive)
      return undefined
    case PcToRdr.getSlotStatus: {
      const [, status = IccStatus.absent] = await wire.in(Request.slotStatus, 3)
      // The reserved value 3 counts as an absent card.
      wire.respond(RdrToPc.slotStatus, (status & 3) === 3 ? IccStatus.absent : status & 3)
      return undefined
    }
    case PcToRdr.xfrBlock: {
      const level = Math.min(MAX_LEVEL, (message[8] as number) | ((message[9] as number) << 8))
      await wire.out(Request.xfrBlock, level << 8, message.slice(HEADER_BYTES))
      break
    }
    default:
      wire.respond(RdrToPc.slotStatus, CommandStatus.failed)
      return undefined
  }
  return () => collect(wire)
}

/** Polls until the data block is complete. Each poll while the card is busy is reported as a time extension. */
async function collect(wire: IccdWire): Promise<void> {
  while (wire.isOpen) {
    const block = await wire.in(Request.dataBlock, MAX_BLOCK_BYTES)
    const [type, first = 0, second = 0] = block
    if (type === undefined) throw new MalformedError('ICCD data block', 'no bResponseType')
    if (type === Response.pollAgain) {
      wire.respond(RdrToPc.dataBlock, CommandStatus.timeExtension, 1)
      await wire.wait(((second << 8) | first || 1) * POLL_UNIT_MS)
    } else if (type === Response.status) {
      wire.respond(RdrToPc.dataBlock, CommandStatus.failed | (first & 3), second)
      return
    } else {
      wire.respond(RdrToPc.dataBlock, 0, 0, type, block.subarray(1))
      return
    }
  }
}
