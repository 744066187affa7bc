/**
 * A bus of virtual USB and HID devices for other programs on the same machine. It consists of a Unix socket and a
 * folder that the preload library reads.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { HidDeviceModel } from '../hid/device.ts'
import type { UsbDeviceModel } from '../usb/device-model.ts'
import { PluggedDevice } from '../usb/plugged-device.ts'
import { encodeFrame, Errno, FrameReader, int32 } from './bus-frame.ts'
import { DeviceTree, linesOf, type TreeDevice, type TreeEntry } from './device-tree.ts'
import { HidFile } from './hid-file.ts'
import { OpenFile } from './open-file.ts'
import { buildPreloadLibrary } from './preload-library.ts'

/** Options of `startBus`. */
export interface BusOptions {
  /** Path of the socket, at most 107 bytes. Default: in a new temporary folder. */
  readonly socketPath?: string
  /**
   * Called when a device model throws or a program sends an unknown frame. Default: throws the error, so that a test
   * fails.
   */
  readonly onFault?: (error: unknown) => void
}

interface ShownHid {
  readonly files: Map<HidFile, Socket>
  readonly tree: TreeDevice
}

interface Shown {
  readonly plugged: PluggedDevice
  readonly address: number
  readonly files: Map<OpenFile, Socket>
  tree: TreeDevice
}

/** The limit of sockaddr_un on Linux. */
const maxSocketPathBytes = 107

/**
 * Delay between the end of a device's transfers and the notification of monitors, in milliseconds. On a real system
 * udevd processes its rules before it sends the notification. pcscd and libccid depend on this order: without the
 * delay, a thread that closes the device interferes with one that still reads its interrupt endpoint.
 */
const REMOVAL_NOTIFICATION_MS = 50

/**
 * Starts a bus. The event loop of this process serves the programs, so start them with `spawn`, not `spawnSync`. Requires
 * Linux and gcc.
 *
 * ```ts
 * const bus = await startBus()
 * bus.plug(reader)
 * spawn('lsusb', ['-v'], { env: { ...process.env, ...bus.environment } })
 * ```
 */
export async function startBus(options: BusOptions = {}): Promise<VirtualUsbBus> {
  const library = await buildPreloadLibrary()
  const bus = new VirtualUsbBus(library, options)
  await bus.listen()
  return bus
}

/** A running bus. */
export class VirtualUsbBus {
  /** Environment variables for programs on this bus. Add them to the program's environment. */
  readonly environment: {
    readonly LD_PRELOAD: string
    readonly WEBTOKI_USB_SOCKET: string
    readonly WEBTOKI_USB_ROOT: string
  }
  readonly #tree: DeviceTree
  readonly #server: Server
  readonly #socketPath: string
  readonly #onFault: (error: unknown) => void
  readonly #shown = new Map<UsbDeviceModel, Shown>()
  readonly #shownHid = new Map<HidDeviceModel, ShownHid>()
  readonly #monitors = new Set<Socket>()
  readonly #sockets = new Set<Socket>()
  /** Notifications that the monitors have not received yet, in order. */
  readonly #pendingNotifications: Buffer[] = []
  readonly #notificationWaiters: (() => void)[] = []
  #notificationTimer: ReturnType<typeof setTimeout> | undefined
  #lastAddress = 1
  #nextHid = 0
  #isClosed = false

  constructor(library: string, options: BusOptions) {
    const root = mkdtempSync(join(tmpdir(), 'webtoki-usb-'))
    this.#socketPath = options.socketPath ?? join(root, 'bus')
    if (Buffer.byteLength(this.#socketPath) > maxSocketPathBytes) {
      rmSync(root, { recursive: true, force: true })
      throw new RangeError(
        `The path of a Unix socket has at most ${maxSocketPathBytes} bytes. Choose a shorter one than ${this.#socketPath}.`,
      )
    }
    this.#tree = new DeviceTree(root)
    this.#onFault =
      options.onFault ??
      ((error) => {
        queueMicrotask(() => {
          throw error
        })
      })
    this.environment = {
      LD_PRELOAD: [library, process.env['LD_PRELOAD']].filter(Boolean).join(':'),
      WEBTOKI_USB_SOCKET: this.#socketPath,
      WEBTOKI_USB_ROOT: root,
    }
    this.#server = createServer((socket) => this.#connected(socket))
  }

  /** Called by `startBus`. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#socketPath, resolve)
    })
  }

  /** Plugs in a device and notifies the monitors. Throws Error if it is plugged in already or the bus is closed. */
  plug(model: UsbDeviceModel): void {
    if (this.#isClosed) throw new Error('The virtual USB bus is closed.')
    if (this.#shown.has(model)) throw new Error('The virtual device is already plugged in.')
    const plugged = new PluggedDevice(model)
    const address = ++this.#lastAddress
    model.plugged({ unplug: () => void this.unplug(model) })
    const tree = this.#tree.add(model, address, plugged.configurationValue)
    this.#shown.set(model, { plugged, address, files: new Map(), tree })
    this.#notify('add', [tree.device, ...tree.interfaces])
  }

  /**
   * Unplugs a device. Pending transfers end with ESHUTDOWN and later operations with ENODEV. Resolves 50 ms later, when
   * the monitors have been notified. Has no effect if the device is not plugged in.
   */
  unplug(model: UsbDeviceModel): Promise<void> {
    const shown = this.#shown.get(model)
    if (shown === undefined) return Promise.resolve()
    this.#shown.delete(model)
    shown.plugged.isPlugged = false
    shown.plugged.claims.clear()
    model.unplugged()
    this.#tree.remove(shown.tree)
    // The end of the connection notifies the program's open file. The same happens if this process is killed.
    for (const socket of shown.files.values()) socket.end()
    this.#notify('remove', [...shown.tree.interfaces, shown.tree.device])
    return this.#notified()
  }

  /** Plugs in a HID device as a hidraw file and notifies the monitors. Throws Error if it is plugged in already. */
  plugHid(model: HidDeviceModel): void {
    if (this.#isClosed) throw new Error('The virtual USB bus is closed.')
    if (this.#shownHid.has(model)) throw new Error('The virtual device is already plugged in.')
    const files = new Map<HidFile, Socket>()
    model.plugged({
      input: (reportId, data) => {
        for (const file of files.keys()) file.input(reportId, data)
      },
    })
    const tree = this.#tree.addHid(model, this.#nextHid++)
    this.#shownHid.set(model, { files, tree })
    this.#notify('add', [tree.device])
  }

  /**
   * Unplugs a HID device. Writes fail, and reads return nothing. Resolves 50 ms later, when the monitors have been
   * notified. Has no effect if the device is not plugged in.
   */
  unplugHid(model: HidDeviceModel): Promise<void> {
    const shown = this.#shownHid.get(model)
    if (shown === undefined) return Promise.resolve()
    this.#shownHid.delete(model)
    model.unplugged()
    this.#tree.removeHid(shown.tree)
    for (const socket of shown.files.values()) socket.end()
    this.#notify('remove', [shown.tree.device])
    return this.#notified()
  }

  /** Returns the number of open files of a device, for tests that wait until a program opens it. */
  openFiles(model: UsbDeviceModel): number {
    return this.#shown.get(model)?.files.size ?? 0
  }

  /** Returns true if a program has claimed the interface. */
  isClaimed(model: UsbDeviceModel, interfaceNumber: number): boolean {
    return this.#shown.get(model)?.plugged.claims.has(interfaceNumber) ?? false
  }

  /** Number of monitors, which are connections of programs that watch for devices. */
  get watchers(): number {
    return this.#monitors.size
  }

  /** Unplugs all devices and closes the bus. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const model of [...this.#shown.keys()]) void this.unplug(model)
    for (const model of [...this.#shownHid.keys()]) void this.unplugHid(model)
    this.#flushNotifications()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.end(() => socket.destroy())
    await closed
    rmSync(this.#tree.root, { recursive: true, force: true })
  }

  #notify(action: 'add' | 'remove', entries: readonly TreeEntry[]): void {
    for (const { path, properties } of entries)
      this.#pendingNotifications.push(Buffer.from(linesOf({ ACTION: action, DEVPATH: path, ...properties })))
    if (action === 'remove' && !this.#isClosed)
      this.#notificationTimer ??= setTimeout(() => this.#flushNotifications(), REMOVAL_NOTIFICATION_MS)
    else if (this.#notificationTimer === undefined) this.#flushNotifications()
  }

  #flushNotifications(): void {
    clearTimeout(this.#notificationTimer)
    this.#notificationTimer = undefined
    for (const text of this.#pendingNotifications.splice(0))
      for (const monitor of this.#monitors) monitor.write(encodeFrame('e', 0, text))
    for (const resolve of this.#notificationWaiters.splice(0)) resolve()
  }

  #notified(): Promise<void> {
    if (this.#notificationTimer === undefined) return Promise.resolve()
    return new Promise((resolve) => this.#notificationWaiters.push(resolve))
  }

  #connected(socket: Socket): void {
    const reader = new FrameReader()
    let file: OpenFile | HidFile | undefined
    this.#sockets.add(socket)
    // A program that is killed resets its connection. The event 'close' follows.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#monitors.delete(socket)
      if (file === undefined) return
      if (file instanceof HidFile) {
        for (const { files } of this.#shownHid.values()) files.delete(file)
        return
      }
      for (const { files } of this.#shown.values()) files.delete(file)
      file.closed()
    })
    socket.on('data', (chunk) => {
      // The data was sent before the program noticed that the device was unplugged. The model may be plugged in again,
      // so it must not receive the data.
      if (!socket.writable) return
      try {
        for (const { type, id, payload } of reader.push(chunk)) {
          if (file !== undefined) file.receive(type, id, payload)
          else if (type === 'M') {
            this.#monitors.add(socket)
            socket.write(encodeFrame('m', 0))
          } else if (type === 'O') {
            file = this.#open(Buffer.from(payload).toString(), socket)
            socket.write(encodeFrame('o', 0, int32(file === undefined ? -Errno.ENODEV : 0)))
          } else
            throw new RangeError(
              `A program began its connection with an unknown frame ${JSON.stringify(type)}.`,
            )
        }
      } catch (error) {
        socket.destroy()
        this.#onFault(error)
      }
    })
  }

  #open(node: string, socket: Socket): OpenFile | HidFile | undefined {
    for (const [model, { tree, files }] of this.#shownHid) {
      if (tree.node !== node) continue
      const file = new HidFile(model, (type, id, ...parts) => {
        if (socket.writable) socket.write(encodeFrame(type, id, ...parts))
      })
      files.set(file, socket)
      return file
    }
    const shown = [...this.#shown.values()].find(({ tree }) => tree.node === node)
    if (shown === undefined) return undefined
    const file = new OpenFile(shown.plugged, {
      send: (type, id, ...parts) => {
        if (socket.writable) socket.write(encodeFrame(type, id, ...parts))
      },
      openFiles: () => [...shown.files.keys()],
      configurationSelected: (value) => this.#refreshTree(shown, value),
      fault: this.#onFault,
    })
    shown.files.set(file, socket)
    return file
  }

  // Replaces the interfaces in the tree after the program has selected another configuration.
  #refreshTree(shown: Shown, configurationValue: number): void {
    const before = shown.tree.interfaces
    this.#tree.remove(shown.tree)
    shown.tree = this.#tree.add(shown.plugged.model, shown.address, configurationValue)
    this.#notify('remove', before)
    this.#notify('add', shown.tree.interfaces)
  }
}
