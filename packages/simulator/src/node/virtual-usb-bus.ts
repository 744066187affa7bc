/** A USB bus of virtual devices for other programs on this machine: a Unix socket and a folder that the preload library reads. */
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

/** How a bus is started. */
export interface BusOptions {
  /** Where the bus listens; default: in a new folder under the system's for temporary files. Less than 108 bytes. */
  readonly socketPath?: string
  /** A device model threw, or a program sent what is no frame. Default: thrown, so that a test fails. */
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

/** sockaddr_un of Linux. */
const maxSocketPathBytes = 107

/**
 * Programs that hold a device see it go at once, those that watch some time later: the kernel ends the transfers first, and
 * udevd works through its rules before it tells anybody. pcscd and libccid take the two in this order for granted: told
 * both at once, a thread that still tries to read an interrupt endpoint meets the one that closes the device.
 */
const REMOVAL_NOTIFICATION_MS = 50

/**
 * Starts a bus. Programs under it must run beside this process's event loop, which answers them: `spawn`, not `spawnSync`.
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
  /** Starts any program under this bus, added to the environment it would have. */
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
  /** What watchers are still to be told, in order. */
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
        `A Unix socket's path has at most ${maxSocketPathBytes} bytes: ${this.#socketPath}`,
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

  /** Plugs the device in; programs that watch are told. The same model may be plugged into a page's bus another time. */
  plug(model: UsbDeviceModel): void {
    if (this.#isClosed) throw new Error('The virtual USB bus is closed.')
    if (this.#shown.has(model)) throw new Error('The virtual device is plugged in already.')
    const plugged = new PluggedDevice(model)
    const address = ++this.#lastAddress
    model.plugged({ unplug: () => void this.unplug(model) })
    const tree = this.#tree.add(model, address, plugged.configurationValue)
    this.#shown.set(model, { plugged, address, files: new Map(), tree })
    this.#notify('add', [tree.device, ...tree.interfaces])
  }

  /**
   * Pulls the device: pending transfers end with ESHUTDOWN, all else with ENODEV, at once; resolves when watchers have been
   * told, 50 ms later. Nothing if it is out.
   */
  unplug(model: UsbDeviceModel): Promise<void> {
    const shown = this.#shown.get(model)
    if (shown === undefined) return Promise.resolve()
    this.#shown.delete(model)
    shown.plugged.isPlugged = false
    shown.plugged.claims.clear()
    model.unplugged()
    this.#tree.remove(shown.tree)
    // The end of the connection is what tells a program's open file: the same when this process is killed.
    for (const socket of shown.files.values()) socket.end()
    this.#notify('remove', [...shown.tree.interfaces, shown.tree.device])
    return this.#notified()
  }

  /** Plugs a HID device in, as a hidraw file; programs that watch are told. */
  plugHid(model: HidDeviceModel): void {
    if (this.#isClosed) throw new Error('The virtual USB bus is closed.')
    if (this.#shownHid.has(model)) throw new Error('The virtual device is plugged in already.')
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

  /** Pulls a HID device: what is written fails, what is read stays silent; resolves when watchers have been told, 50 ms later. Nothing if it is out. */
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

  /** How many programs hold the device open: for tests that wait until one does. */
  openFiles(model: UsbDeviceModel): number {
    return this.#shown.get(model)?.files.size ?? 0
  }

  /** Whether a program holds the interface. */
  isClaimed(model: UsbDeviceModel, interfaceNumber: number): boolean {
    return this.#shown.get(model)?.plugged.claims.has(interfaceNumber) ?? false
  }

  /** How many programs watch for devices. */
  get watchers(): number {
    return this.#monitors.size
  }

  /** Pulls every device, and goes. */
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
    for (const told of this.#notificationWaiters.splice(0)) told()
  }

  #notified(): Promise<void> {
    if (this.#notificationTimer === undefined) return Promise.resolve()
    return new Promise((resolve) => this.#notificationWaiters.push(resolve))
  }

  #connected(socket: Socket): void {
    const reader = new FrameReader()
    let file: OpenFile | HidFile | undefined
    this.#sockets.add(socket)
    // A program that dies resets its connection; 'close' follows.
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
      // On its way when the device was pulled, which the end of the connection tells: the model may be plugged in again.
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
          } else throw new RangeError(`No frame ${JSON.stringify(type)} begins a connection.`)
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

  // Another configuration has other interfaces.
  #refreshTree(shown: Shown, configurationValue: number): void {
    const before = shown.tree.interfaces
    this.#tree.remove(shown.tree)
    shown.tree = this.#tree.add(shown.plugged.model, shown.address, configurationValue)
    this.#notify('remove', before)
    this.#notify('add', shown.tree.interfaces)
  }
}
