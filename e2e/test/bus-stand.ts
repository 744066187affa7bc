/** An unmodified Chromium on a virtual USB bus: its own WebUSB stack, and devices of ours behind it. */
import { createServer, type Server } from 'node:http'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import type { HidDeviceModel, UsbDeviceModel, VirtualCard } from '@webtoki/simulator'
import { chromiumOnBus, startBus, type VirtualUsbBus } from '@webtoki/simulator/node'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { build } from 'vite'
import { chromiumPath, DemoPage } from './stand.ts'

/** Keep a browser from talking to anybody but us. */
const quiet = ['--disable-quic', '--disable-background-networking']

/** Root cannot have it, and a container may keep others from it: whoever starts the tests has tried. */
const chromiumSandbox = process.getuid?.() !== 0 && process.env['CHROMIUM_SANDBOX'] !== 'off'

/** What a stand is made with. */
export interface BusStandOptions {
  /** Pages of these origins may use these devices. */
  readonly grants: readonly { readonly origin: string; readonly devices: readonly UsbDeviceModel[] }[]
  readonly hidGrants?: readonly { readonly origin: string; readonly devices: readonly HidDeviceModel[] }[]
  readonly args?: readonly string[]
  /** Such as DISPLAY. */
  readonly environment?: Readonly<Record<string, string>>
  readonly headless?: boolean
  readonly ignoreHTTPSErrors?: boolean
}

/** A bus of this process, or of another. */
export type RunningBus = Pick<VirtualUsbBus, 'environment' | 'close'>

/** One bus and one Chromium on it. */
export class BusStand<Bus extends RunningBus = VirtualUsbBus> {
  readonly bus: Bus
  readonly context: BrowserContext
  readonly #folder: string

  private constructor(bus: Bus, context: BrowserContext, folder: string) {
    this.bus = bus
    this.context = context
    this.#folder = folder
  }

  static async start(options: BusStandOptions): Promise<BusStand> {
    return BusStand.on(await startBus(), options)
  }

  /** The same on a bus that runs already; it ends with the stand. */
  static async on<Bus extends RunningBus>(bus: Bus, options: BusStandOptions): Promise<BusStand<Bus>> {
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-chromium-'))
    const launch = chromiumOnBus(bus as RunningBus as VirtualUsbBus, {
      userDataDir: folder,
      grants: options.grants,
      ...(options.hidGrants === undefined ? {} : { hidGrants: options.hidGrants }),
    })
    const context = await chromium.launchPersistentContext(folder, {
      executablePath: chromiumPath,
      headless: options.headless ?? true,
      chromiumSandbox,
      env: { ...launch.env, ...options.environment },
      args: [...launch.args, ...quiet, ...(options.args ?? [])],
      acceptDownloads: true,
      ...(options.headless === false ? { viewport: null } : {}),
      ...(options.ignoreHTTPSErrors === undefined ? {} : { ignoreHTTPSErrors: options.ignoreHTTPSErrors }),
    })
    return new BusStand(bus, context, folder)
  }

  /** A new tab at an address, once it says that it is ready. */
  async open(url: string): Promise<Page> {
    const page = await this.context.newPage()
    await page.goto(url)
    await page.waitForSelector('html[data-ready]')
    return page
  }

  /** The demo in a new tab, heard from its first line on. */
  async openDemo(url: string): Promise<DemoPage> {
    const page = new DemoPage(await this.context.newPage())
    await page.page.goto(url)
    await page.page.waitForSelector('html[data-ready]')
    return page
  }

  async stop(): Promise<void> {
    await this.context.close()
    await this.bus.close()
    // Chromium's last processes still write while it ends.
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
}

/** Our packages in a page without a demo around them. */
export class LabServer {
  readonly origin: string
  readonly #server: Server
  readonly #folder: string

  private constructor(server: Server, folder: string) {
    this.origin = `http://localhost:${(server.address() as AddressInfo).port}`
    this.#server = server
    this.#folder = folder
  }

  get url(): string {
    return `${this.origin}/lab.html`
  }

  static async start(): Promise<LabServer> {
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-lab-'))
    await build({
      root: join(import.meta.dirname, '../pages'),
      configFile: false,
      logLevel: 'warn',
      resolve: { conditions: ['webtoki-source', 'module', 'browser', 'import', 'default'] },
      build: {
        outDir: folder,
        emptyOutDir: true,
        target: 'es2023',
        rolldownOptions: { input: join(import.meta.dirname, '../pages/lab.html') },
      },
      worker: { format: 'es' },
    })
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://localhost')
      try {
        const bytes = readFileSync(join(folder, pathname.replaceAll('..', '')))
        response.writeHead(200, { 'content-type': types[extname(pathname)] ?? 'application/octet-stream' })
        response.end(bytes)
      } catch {
        response.writeHead(404).end()
      }
    })
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
    return new LabServer(server, folder)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A card that can be told to think about a command for as long as a test wants. */
export class Thinking implements VirtualCard {
  readonly card: VirtualCard
  readonly #instruction: number
  #waiting: Promise<void> | undefined
  #resume: () => void = () => {}
  #wasAsked: () => void = () => {}
  /** Fulfils when it begins to think. */
  asked: Promise<void> = Promise.resolve()

  /** `instruction`: INS of the commands that it thinks about. */
  constructor(card: VirtualCard, instruction: number) {
    this.card = card
    this.#instruction = instruction
  }

  get atr(): Uint8Array {
    return this.card.atr
  }

  think(): void {
    this.asked = new Promise((resolve) => {
      this.#wasAsked = resolve
    })
    this.#waiting = new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  resume(): void {
    this.#waiting = undefined
    this.#resume()
  }

  reset(kind: 'cold' | 'warm'): void {
    this.card.reset(kind)
  }

  powerOff(): void {
    this.card.powerOff()
  }

  async process(command: Uint8Array): Promise<Uint8Array> {
    if (command[1] === this.#instruction) {
      this.#wasAsked()
      await this.#waiting
    }
    return this.card.process(command)
  }
}
