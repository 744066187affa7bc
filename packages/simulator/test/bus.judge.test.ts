/** Checks the virtual USB bus with unmodified programs: libusb and lsusb. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startBus, type VirtualUsbBus } from '../src/node/index.ts'
import { compile, LineProgram, until, whatIsMissing } from './bus/line-program.ts'
import { LoopBack } from './bus/loop-back.ts'

const missing = whatIsMissing(['gcc', 'pkg-config', 'lsusb'], ['libusb-1.0'])
if (missing !== undefined) console.warn(`The virtual USB bus is not checked with libusb: ${missing}.`)

describe.skipIf(missing !== undefined)('a program on libusb', () => {
  let bus: VirtualUsbBus
  const programs: LineProgram[] = []

  beforeEach(async () => {
    bus = await startBus()
  })

  afterEach(async () => {
    for (const program of programs.splice(0)) await program.end()
    await bus.close()
  })

  async function host(environment: Readonly<Record<string, string>> = bus.environment): Promise<LineProgram> {
    const program = new LineProgram(
      await compile(join(import.meta.dirname, 'bus/usb-host.c'), 'libusb-1.0'),
      [],
      environment,
    )
    programs.push(program)
    expect(await program.next('answer')).toBe('ready')
    return program
  }

  async function holder(): Promise<LineProgram> {
    const program = await host()
    expect(await program.ask('open cafe 4001')).toBe('ok')
    expect(await program.ask('claim 0')).toBe('ok')
    return program
  }

  const bytes = (count: number): string => '11'.repeat(count)

  test('lsusb -v prints the descriptors and strings of the device', async () => {
    bus.plug(new LoopBack())
    const { stdout } = await promisify(execFile)('lsusb', ['-v'], {
      env: { ...process.env, ...bus.environment },
    })
    expect(stdout).toMatch(/Bus 001 Device 002: ID cafe:4001/)
    expect(stdout).toMatch(/iSerial +3 L1/)
    expect(stdout).toMatch(/bEndpointAddress +0x81 +EP 1 IN/)
    expect(stdout).toMatch(/wMaxPacketSize +0x0040 +1x 64 bytes/)
  })

  test('an IN transfer ends with a short packet, a full buffer or an empty packet', async () => {
    const device = new LoopBack()
    bus.plug(device)
    const program = await holder()
    expect(await program.ask('in 81 400')).toBe('ok')
    expect(await program.ask(`out 2 ${bytes(65)}`)).toBe('ok')
    expect(await program.next('transfer')).toBe(`completed ${bytes(65)}`)
    expect(await program.ask('in 81 80')).toBe('ok')
    expect(await program.ask(`out 2 ${bytes(128)}`)).toBe('ok')
    expect(await program.next('transfer')).toBe(`completed ${bytes(128)}`)
    expect(await program.ask('in 81 400')).toBe('ok')
    expect(await program.ask(`out 2 ${bytes(128)}`)).toBe('ok')
    expect(device.pendingIn(0x81)).toBe(1)
    device.sendEmpty()
    expect(await program.next('transfer')).toBe(`completed ${bytes(128)}`)
  })

  test('a packet larger than the buffer is an overflow, and a halted endpoint stalls until cleared', async () => {
    bus.plug(new LoopBack())
    const program = await holder()
    expect(await program.ask('in 81 10')).toBe('ok')
    expect(await program.ask(`out 2 ${bytes(20)}`)).toBe('ok')
    expect(await program.next('transfer')).toMatch(/^overflow/)
    expect(await program.ask('out 2 55')).toBe('LIBUSB_ERROR_PIPE')
    expect(await program.ask('out 2 11')).toBe('LIBUSB_ERROR_PIPE')
    expect(await program.ask('clear 2')).toBe('ok')
    expect(await program.ask('out 2 11')).toBe('ok')
  })

  test('a transfer of 65,001 bytes arrives complete', async () => {
    bus.plug(new LoopBack())
    const program = await holder()
    expect(await program.ask('in 81 10000')).toBe('ok')
    expect(await program.ask(`out 2 ${bytes(65_001)}`)).toBe('ok')
    expect(await program.next('transfer')).toBe(`completed ${bytes(65_001)}`)
  })

  test('claiming an interface fails with BUSY until its owner releases it, closes it or is killed', async () => {
    const device = new LoopBack()
    bus.plug(device)
    const first = await holder()
    const second = await host()
    expect(await second.ask('open cafe 4001')).toBe('ok')
    expect(await second.ask('claim 0')).toBe('LIBUSB_ERROR_BUSY')
    expect(await first.ask('release 0')).toBe('ok')
    expect(await second.ask('claim 0')).toBe('ok')
    expect(await first.ask('claim 0')).toBe('LIBUSB_ERROR_BUSY')
    // No wait is necessary, because close() notifies the bus before it returns.
    expect(await second.ask('close')).toBe('ok')
    expect(await first.ask('claim 0')).toBe('ok')
    const third = await host()
    expect(await third.ask('open cafe 4001')).toBe('ok')
    await first.end()
    await until(
      'the killed program’s connections are closed',
      () => bus.watchers === 2 && bus.openFiles(device) === 1,
    )
    expect(await third.ask('claim 0')).toBe('ok')
  })

  test('releasing the interface or cancelling ends a pending transfer', async () => {
    bus.plug(new LoopBack())
    const program = await holder()
    expect(await program.ask('in 81 40')).toBe('ok')
    expect(await program.ask('cancel')).toBe('ok')
    expect(await program.next('transfer')).toBe('cancelled')
    expect(await program.ask('in 81 40')).toBe('ok')
    expect(await program.ask('release 0')).toBe('ok')
    // libusb reports ENOENT, the kernel's status of a killed transfer, as completed without data if it did not cancel
    // the transfer itself.
    expect(await program.next('transfer')).toBe('completed')
  })

  test('unplugging the device ends its transfers and notifies the program; plugged in again, it works', async () => {
    const device = new LoopBack()
    const program = await host()
    bus.plug(device)
    expect(await program.next('hotplug')).toBe('arrived')
    expect(await program.ask('open cafe 4001')).toBe('ok')
    expect(await program.ask('claim 0')).toBe('ok')
    expect(await program.ask('in 81 40')).toBe('ok')
    const monitorsNotified = bus.unplug(device)
    expect(await program.next('transfer')).toBe('no-device')
    await monitorsNotified
    expect(await program.next('hotplug')).toBe('left')
    expect(await program.ask('claim 0')).toBe('LIBUSB_ERROR_NO_DEVICE')
    expect(await program.ask('close')).toBe('ok')
    bus.plug(device)
    expect(await program.next('hotplug')).toBe('arrived')
    expect(await program.ask('open cafe 4001')).toBe('ok')
    expect(await program.ask('claim 0')).toBe('ok')
    expect(await program.ask('out 2 11')).toBe('ok')
  })

  test('a device that is plugged in again at once is reported as left before it is reported as arrived', async () => {
    const device = new LoopBack()
    const program = await host()
    bus.plug(device)
    expect(await program.next('hotplug')).toBe('arrived')
    void bus.unplug(device)
    bus.plug(device)
    expect(await program.next('hotplug')).toBe('left')
    expect(await program.next('hotplug')).toBe('arrived')
    expect(await program.ask('open cafe 4001')).toBe('ok')
  })

  test('killing the bus during a transfer looks like unplugging the device, and no program hangs', async () => {
    bus.plug(new LoopBack())
    // A relay between program and bus replaces the bus process. Killing it has the same effect as killing the bus.
    const relaySocket = `${bus.environment.WEBTOKI_USB_SOCKET}-relay`
    const script = `
      const net = require('node:net')
      const server = net.createServer((near) => {
        const far = net.connect(process.argv[1])
        near.pipe(far).pipe(near)
      })
      server.listen(process.argv[2], () => console.log('ready'))`
    const child = spawn(process.execPath, ['-e', script, bus.environment.WEBTOKI_USB_SOCKET, relaySocket], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const program = await host({ ...bus.environment, WEBTOKI_USB_SOCKET: relaySocket })
    expect(await program.next('hotplug')).toBe('arrived')
    expect(await program.ask('open cafe 4001')).toBe('ok')
    expect(await program.ask('claim 0')).toBe('ok')
    expect(await program.ask('in 81 40')).toBe('ok')
    child.kill('SIGKILL')
    expect(await program.next('transfer')).toBe('no-device')
    expect(await program.next('hotplug')).toBe('left')
    expect(await program.ask('release 0')).toBe('LIBUSB_ERROR_NO_DEVICE')
    expect(await program.ask('close')).toBe('ok')
  })
})
