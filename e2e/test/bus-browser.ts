/** Starts an unmodified Chromium on a virtual USB bus, so that its own WebUSB and WebHID drive virtual devices. */
import { createServer, type Server } from 'node:http'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import type { HidDeviceModel, UsbDeviceModel, VirtualCard } from '@webtoki/simulator'
import { chromiumOnBus, startBus, type VirtualUsbBus } from '@webtoki/simulator/node'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { build } from 'vite'
import { chromiumPath, DemoPage } from './demo.ts'

/** Arguments that keep the browser from contacting other servers. */
const quiet = ['--disable-quic', '--disable-background-networking']

/** The sandbox does not start for root, nor in some containers. scripts/test.mjs tries it and sets the variable. */
const chromiumSandbox = process.getuid?.() !== 0 && process.env['CHROMIUM_SANDBOX'] !== 'off'

/** Options of a browser on a bus. */
export interface BusBrowserOptions {
  /** The devices that pages of an origin may use without asking. */
  readonly grants: readonly { readonly origin: string; readonly devices: readonly UsbDeviceModel[] }[]
  readonly hidGrants?: readonly { readonly origin: string; readonly devices: readonly HidDeviceModel[] }[]
  readonly args?: readonly string[]
  /** Additional environment variables, such as DISPLAY. */
  readonly environment?: Readonly<Record<string, string>>
  readonly headless?: boolean
  readonly ignoreHTTPSErrors?: boolean
}

/** A bus of this process or of another one. */
export type RunningBus = Pick<VirtualUsbBus, 'environment' | 'close'>

/** A Chromium on a virtual USB bus. */
export class BusBrowser<Bus extends RunningBus = VirtualUsbBus> {
  readonly bus: Bus
  readonly context: BrowserContext
  readonly #folder: string

  private constructor(bus: Bus, context: BrowserContext, folder: string) {
    this.bus = bus
    this.context = context
    this.#folder = folder
  }

  static async start(options: BusBrowserOptions): Promise<BusBrowser> {
    return BusBrowser.on(await startBus(), options)
  }

  /** Starts Chromium on a running bus, which `stop` closes. */
  static async on<Bus extends RunningBus>(bus: Bus, options: BusBrowserOptions): Promise<BusBrowser<Bus>> {
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
    return new BusBrowser(bus, context, folder)
  }

  /** Opens a URL in a new tab and waits until the page is ready. */
  async open(url: string): Promise<Page> {
    const page = await this.context.newPage()
    await page.goto(url)
    await page.waitForSelector('html[data-ready]')
    return page
  }

  /** Opens the demo in a new tab, and records its errors from the start. */
  async openDemo(url: string): Promise<DemoPage> {
    const page = new DemoPage(await this.context.newPage())
    await page.page.goto(url)
    await page.page.waitForSelector('html[data-ready]')
    return page
  }

  async stop(): Promise<void> {
    await this.context.close()
    await this.bus.close()
    // Retries, because Chromium's last processes may still write to the folder.
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
}

/** Builds and serves the lab page. */
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

/** A card that delays certain commands until the test resumes it. */
export class DelayedCard implements VirtualCard {
  readonly card: VirtualCard
  readonly #instruction: number
  #waiting: Promise<void> | undefined
  #resume: () => void = () => {}
  #onReceived: () => void = () => {}
  /** Resolves when the card receives a command that it delays. */
  received: Promise<void> = Promise.resolve()

  /** `instruction` is the INS of the commands to delay. */
  constructor(card: VirtualCard, instruction: number) {
    this.card = card
    this.#instruction = instruction
  }

  get atr(): Uint8Array {
    return this.card.atr
  }

  /** Delays the commands from now on. */
  delay(): void {
    this.received = new Promise((resolve) => {
      this.#onReceived = resolve
    })
    this.#waiting = new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  /** Executes the delayed command, and no longer delays any. */
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
      this.#onReceived()
      await this.#waiting
    }
    return this.card.process(command)
  }
}
