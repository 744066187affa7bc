/** The built demo, its relying party, and one page of Debian's Chromium. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

const server = fileURLToPath(new URL('../../demo/dist/server/main.js', import.meta.url))

/** Chromium as root needs the first; the others keep it from talking to anybody but us. */
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export class Demo {
  readonly url: string
  readonly browser: Browser
  readonly folder: string
  readonly #server: ChildProcess

  private constructor(url: string, browser: Browser, child: ChildProcess) {
    this.url = url
    this.browser = browser
    this.#server = child
    this.folder = mkdtempSync(join(tmpdir(), 'webtoki-e2e-'))
  }

  static async start(): Promise<Demo> {
    const child = spawn(process.execPath, [server], { stdio: ['ignore', 'pipe', 'inherit'] })
    const url = await new Promise<string>((resolve, reject) => {
      let said = ''
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const found = /^Webtoki demo: (\S+)$/m.exec(said)?.[1]
        if (found !== undefined) resolve(found)
      })
      child.once('exit', (code) => reject(new Error(`The demo's server ended with ${code}: ${said}`)))
    })
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags })
    return new Demo(url, browser, child)
  }

  /** A fresh page in a context of its own, with the virtual reader in use where that is wanted. */
  async page(reader: 'virtual' | 'none' = 'virtual'): Promise<DemoPage> {
    const context = await this.browser.newContext({ acceptDownloads: true })
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (
        message.type() === 'error' &&
        /Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())
      ) {
        complaints.push(message.text())
      }
    })
    await page.goto(this.url)
    await page.waitForSelector('html[data-ready]')
    const demo = new DemoPage(page, complaints)
    if (reader === 'virtual') {
      await page.getByRole('button', { name: 'Use the virtual reader' }).click()
      await demo.ready()
    }
    return demo
  }

  async stop(): Promise<void> {
    await this.browser.close()
    this.#server.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** What a person sees and does. */
export class DemoPage {
  readonly page: Page
  /** What the page itself complained of: errors that nobody caught, and breaches of its policy. */
  readonly complaints: readonly string[]

  constructor(page: Page, complaints: readonly string[]) {
    this.page = page
    this.complaints = complaints
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

  /** The lines of the panel, the oldest first. */
  async activity(): Promise<string[]> {
    const lines = await this.page.locator('#activity li').allInnerTexts()
    return lines.map((line) => line.replace(/\s+/g, ' ').trim()).reverse()
  }

  close(): Promise<void> {
    return this.page.context().close()
  }
}
