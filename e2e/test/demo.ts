/** Runs the built demo and its relying party, and drives its page in Debian's Chromium. */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

const demoFolder = fileURLToPath(new URL('../../demo', import.meta.url))
const server = join(demoFolder, 'dist/server/main.js')

/** The path of Debian's Chromium. */
export const chromiumPath = '/usr/bin/chromium'

/** Chromium's arguments. Root needs the first one; most others keep the browser from contacting other servers. */
export const flags: readonly string[] = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The server of the built demo: its relying party and its page. */
export class DemoServer {
  readonly url: string
  /** A folder for files that tests download and write. */
  readonly folder: string
  readonly #child: ChildProcess

  private constructor(url: string, child: ChildProcess) {
    this.url = url
    this.#child = child
    this.folder = mkdtempSync(join(tmpdir(), 'webtoki-e2e-'))
  }

  get origin(): string {
    return new URL(this.url).origin
  }

  static start(...args: readonly string[]): Promise<DemoServer> {
    return DemoServer.startFrom(server, '0', ...args)
  }

  /** Starts a server script on that port; '0' is any free port. */
  static async startFrom(script: string, port: string, ...args: readonly string[]): Promise<DemoServer> {
    const child = spawn(process.execPath, [script, ...args], {
      env: { ...process.env, PORT: port },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const url = await new Promise<string>((resolve, reject) => {
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString()
        const found = /^Webtoki demo: (\S+)$/m.exec(output)?.[1]
        if (found !== undefined) resolve(found)
      })
      child.once('exit', (code) => reject(new Error(`The demo's server ended with ${code}: ${output}`)))
    })
    return new DemoServer(url, child)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once('exit', resolve))
      this.#child.kill()
      await ended
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A copy of the site at a fixed origin, which can be stopped and restarted, and can get another build of the page. */
export class Deployment {
  readonly origin: string
  readonly #folder: string
  #server: DemoServer | undefined

  private constructor(folder: string, started: DemoServer) {
    this.#folder = folder
    this.#server = started
    this.origin = started.origin
  }

  /** Starts with the build in demo/dist. */
  static async start(): Promise<Deployment> {
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-site-'))
    for (const name of ['package.json', 'dist'])
      cpSync(join(demoFolder, name), join(folder, name), { recursive: true })
    symlinkSync(join(demoFolder, 'node_modules'), join(folder, 'node_modules'))
    return new Deployment(folder, await DemoServer.startFrom(join(folder, 'dist/server/main.js'), '0'))
  }

  /** Replaces the page by another build. Deletes all files of the previous one. */
  deploy(page: string): void {
    rmSync(join(this.#folder, 'dist/page'), { recursive: true })
    cpSync(page, join(this.#folder, 'dist/page'), { recursive: true })
  }

  /** Stops the server, so that the origin cannot be reached. */
  async halt(): Promise<void> {
    await this.#server?.stop()
    this.#server = undefined
  }

  async resume(): Promise<void> {
    this.#server = await DemoServer.startFrom(
      join(this.#folder, 'dist/server/main.js'),
      new URL(this.origin).port,
    )
  }

  async end(): Promise<void> {
    await this.halt()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A demo server and a browser of its own. */
export class Demo {
  readonly browser: Browser
  readonly #server: DemoServer

  private constructor(started: DemoServer, browser: Browser) {
    this.#server = started
    this.browser = browser
  }

  get folder(): string {
    return this.#server.folder
  }

  static async start(): Promise<Demo> {
    const started = await DemoServer.start()
    return new Demo(started, await chromium.launch({ executablePath: chromiumPath, args: [...flags] }))
  }

  /** Opens the demo in a new browser context and, if requested, starts its virtual reader. */
  async page(reader: 'virtual' | 'none' = 'virtual'): Promise<DemoPage> {
    const context = await this.browser.newContext({ acceptDownloads: true })
    const page = await context.newPage()
    const demo = new DemoPage(page)
    await page.goto(this.#server.url)
    await page.waitForSelector('html[data-ready]')
    if (reader === 'virtual') {
      await page.getByRole('button', { name: 'Use the virtual reader' }).click()
      await demo.ready()
    }
    return demo
  }

  async stop(): Promise<void> {
    await this.browser.close()
    await this.#server.stop()
  }
}

/** The page of the demo, as a person uses it. */
export class DemoPage {
  readonly page: Page
  /** Uncaught errors of the page and violations of its Content Security Policy. */
  readonly complaints: string[] = []

  constructor(page: Page) {
    this.page = page
    page.on('pageerror', (error) => this.complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() !== 'error') return
      if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text()))
        this.complaints.push(message.text())
    })
  }

  async ready(): Promise<void> {
    await this.page.locator('#log-in:enabled').waitFor()
  }

  get pin() {
    return this.page.getByLabel('PIN', { exact: true })
  }

  async enterPin(text: string): Promise<void> {
    await this.pin.waitFor()
    await this.pin.fill(text)
    await this.page.getByRole('button', { name: 'Confirm' }).click()
  }

  /** Submits the PIN with Enter, after the dialog accepts a submit. */
  async submitPin(): Promise<void> {
    await this.page.locator('#confirm:enabled').waitFor()
    await this.page.keyboard.press('Enter')
  }

  async logIn(pin: string = '123456'): Promise<void> {
    await this.page.getByRole('button', { name: 'Log in with your card' }).click()
    await this.enterPin(pin)
  }

  login(sentence: string | RegExp): Promise<void> {
    return this.page.locator('#login-progress').getByText(sentence).waitFor()
  }

  signing(sentence: string | RegExp): Promise<void> {
    return this.page.locator('#sign-progress').getByText(sentence).waitFor()
  }

  card(sentence: string | RegExp): Promise<void> {
    return this.page.locator('#card-state').getByText(sentence).waitFor()
  }

  async choose(name: string, bytes: Uint8Array): Promise<void> {
    await this.page.setInputFiles('#file', {
      name,
      mimeType: 'application/octet-stream',
      buffer: Buffer.from(bytes),
    })
  }

  /** Downloads the signature and resolves to its path. */
  async download(folder: string): Promise<string> {
    const [file] = await Promise.all([
      this.page.waitForEvent('download'),
      this.page.locator('#download').click(),
    ])
    const path = join(folder, file.suggestedFilename())
    await file.saveAs(path)
    return path
  }

  /** Returns the lines of the activity panel, the oldest first. */
  async activity(): Promise<string[]> {
    const lines = await this.page.locator('#activity li').allInnerTexts()
    return lines.map((line) => line.replace(/\s+/g, ' ').trim()).reverse()
  }

  close(): Promise<void> {
    return this.page.context().close()
  }
}
