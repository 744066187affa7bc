/** Opens the lab page in a Chromium without USB devices. */
import { type Browser, chromium, type Page } from 'playwright-core'
import { LabServer } from './bus-browser.ts'
import { chromiumPath, flags } from './demo.ts'

/** A server of the lab page and a browser, for one test file. */
export class LabBrowser {
  readonly #server: LabServer
  readonly #browser: Browser

  private constructor(server: LabServer, browser: Browser) {
    this.#server = server
    this.#browser = browser
  }

  static async start(): Promise<LabBrowser> {
    const launched = chromium.launch({ executablePath: chromiumPath, args: [...flags] })
    const [server, browser] = await Promise.all([LabServer.start(), launched])
    return new LabBrowser(server, browser)
  }

  /** Opens the lab page and waits until it is ready. `prepare` runs before the page is loaded. */
  async open(prepare?: (page: Page) => Promise<void>): Promise<Page> {
    const page = await this.#browser.newPage()
    await prepare?.(page)
    await page.goto(this.#server.url)
    await page.waitForSelector('html[data-ready]')
    return page
  }

  async stop(): Promise<void> {
    await this.#browser.close()
    await this.#server.stop()
  }
}
