/** Tests of open device files, frame by frame, against the rules of Linux's usbfs (drivers/usb/core/devio.c). */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { join, readUint32le, uint32le } from '../src/bytes.ts'
import { type BusFrame, encodeFrame, Errno, FrameReader, int32, Operation } from '../src/node/bus-frame.ts'
import { VirtualUsbBus } from '../src/node/virtual-usb-bus.ts'
import { LoopBack } from './bus/loop-back.ts'

/** The program side of an open device file. */
class Program {
  readonly socket: Socket
  readonly #reader = new FrameReader()
  readonly #waiting: ((frame: BusFrame) => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      for (const frame of this.#reader.push(chunk)) this.#waiting.shift()?.(frame)
    })
  }

  static async cleanups(bus: VirtualUsbBus, node: string): Promise<Program> {
    const socket = connect(bus.environment.WEBTOKI_USB_SOCKET)
    await once(socket, 'connect')
    const program = new Program(socket)
    if ((await program.ask('O', 0, Buffer.from(node))) !== 0) throw new Error(`${node} cannot be opened.`)
    return program
  }

  /** Sends a frame and resolves to the first integer of the response: a result, or the status of a transfer. */
  async ask(type: string, id: number, payload: Uint8Array): Promise<number> {
    const answered = new Promise<BusFrame>((resolve) => this.#waiting.push(resolve))
    this.socket.write(encodeFrame(type, id, payload))
    return readUint32le((await answered).payload, 0) | 0
  }

  request(operation: number, first: number): Promise<number> {
    return this.ask('R', 1, int32(operation, first, 0))
  }
}

const transfer = (type: number, endpoint: number, data: Uint8Array): Uint8Array =>
  join([type, endpoint], uint32le(0), uint32le(data.length), data)

class CountingDevice extends LoopBack {
  outs = 0
  protected override outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    this.outs++
    return super.outReceived(endpoint, bytes)
  }
}

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

async function startedBus(): Promise<VirtualUsbBus> {
  const bus = new VirtualUsbBus('no library: no program is started', {})
  await bus.listen()
  open.push(() => bus.close())
  return bus
}

async function program(bus: VirtualUsbBus, node: string): Promise<Program> {
  const made = await Program.cleanups(bus, node)
  open.push(() => made.socket.destroy())
  return made
}

describe('a device file', () => {
  it('of an unplugged device has no effect on the same device after it is plugged in again', async () => {
    const bus = await startedBus()
    const device = new CountingDevice()
    bus.plug(device)
    const holder = await program(bus, '/dev/bus/usb/001/002')
    expect(await holder.request(Operation.claim, 0)).toBe(0)
    // This frame is still on its way when the device is unplugged.
    holder.socket.write(encodeFrame('S', 2, transfer(3, 0x02, Uint8Array.of(0x11))))
    void bus.unplug(device)
    bus.plug(device)
    await once(holder.socket, 'end')
    const other = await program(bus, '/dev/bus/usb/001/003')
    expect(await other.request(Operation.claim, 0)).toBe(0)
    expect(device.outs).toBe(0)
  })

  it('accepts class requests to an interface only from the program that claimed it', async () => {
    const bus = await startedBus()
    bus.plug(new LoopBack())
    const holder = await program(bus, '/dev/bus/usb/001/002')
    const other = await program(bus, '/dev/bus/usb/001/002')
    expect(await holder.request(Operation.claim, 0)).toBe(0)
    const classRequest = transfer(2, 0, Uint8Array.of(0x21, 1, 0, 0, 0, 0, 0, 0))
    // The loop-back device stalls the request. The request of the other program does not reach it.
    expect(await holder.ask('S', 3, classRequest)).toBe(-Errno.EPIPE)
    expect(await other.ask('S', 3, classRequest)).toBe(-Errno.EPROTO)
  })
})
