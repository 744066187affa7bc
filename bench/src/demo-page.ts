/** Measures the demo's page in Chromium: the time until it is ready, and the cost of signing a large file. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync, closeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
const server = fileURLToPath(new URL('../../demo/dist/server/main.js', import.meta.url))
const FILE_BYTES = 1_000_000_000

/** The figures of the demo's page. */
export interface DemoPageFigures {
  /** From navigation start to `data-ready`, with a warm cache, in milliseconds. */
  readonly readyMs: number
  /** The time to sign and verify a file of 1 GB, which takes two digests, in milliseconds. */
  readonly gigabyteMs: number
  /** The highest resident set of the renderer meanwhile, minus that when idle, in megabytes. */
  readonly memoryMegabytes: number
  /** The longest task of the main thread meanwhile, in milliseconds; 0 if none was longer than 50. */
  readonly longestTaskMs: number
}

/** Measures the page. Resolves to undefined without Chromium or a built demo. */
export async function demoPage(): Promise<DemoPageFigures | undefined> {
  if (!existsSync(CHROMIUM) || !existsSync(server)) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-bench-'))
  // Port 0, because another server may use the PORT of the environment.
  const child = spawn(process.execPath, [server], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`The demo's server ended with ${code}.`)))
      child.stdout.on('data', (chunk: Buffer) => {
        const found = /Webtoki demo: (\S+)/.exec(chunk.toString())?.[1]
        if (found !== undefined) resolve(found)
      })
    })
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
      ],
    })
    try {
      const page = await browser.newPage()
      await page.goto(url)
      const readyMs = await readyAfter(page, url)
      return { readyMs, ...(await gigabyte(page, await renderersOf(browser), folder)) }
    } finally {
      await browser.close()
    }
  } finally {
    child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function readyAfter(page: Page, url: string): Promise<number> {
  await page.addInitScript(() => {
    new MutationObserver(() => {
      const { dataset } = document.documentElement
      if (dataset['ready'] !== undefined && dataset['readyAt'] === undefined)
        dataset['readyAt'] = String(performance.now())
    }).observe(document, { attributes: true, subtree: true, childList: true })
    const tasks = ((globalThis as { longTasks?: number[] }).longTasks = [] as number[])
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration)
    }).observe({ entryTypes: ['longtask'] })
  })
  await page.goto(url)
  await page.waitForSelector('html[data-ready-at]')
  return Number(await page.getAttribute('html', 'data-ready-at'))
}

async function gigabyte(
  page: Page,
  megabytes: () => number,
  folder: string,
): Promise<Omit<DemoPageFigures, 'readyMs'>> {
  const path = join(folder, 'gigabyte')
  const file = openSync(path, 'w')
  const block = Buffer.alloc(10_000_000, 'webtoki')
  for (let bytes = 0; bytes < FILE_BYTES; bytes += block.length) writeSync(file, block)
  closeSync(file)
  await page.click('#use-virtual')
  await page.locator('#log-in:enabled').waitFor()
  await page.setInputFiles('#file', path)
  const idle = megabytes()
  await page.evaluate(() => ((globalThis as { longTasks?: number[] }).longTasks ?? []).splice(0))
  const start = performance.now()
  await page.click('#sign')
  let highest = idle
  const watch = setInterval(() => {
    highest = Math.max(highest, megabytes())
  }, 100)
  const pin = page.locator('webtoki-pin input[type=password]')
  await pin.waitFor({ timeout: 120_000 })
  await pin.fill('123456')
  // The dialog ignores a submit in its first moment, so the button is disabled until then.
  await page.locator('webtoki-pin #confirm:enabled').waitFor()
  await page.keyboard.press('Enter')
  await page.locator('#signed:not([hidden])').waitFor({ timeout: 120_000 })
  clearInterval(watch)
  const tasks = await page.evaluate(() => (globalThis as { longTasks?: number[] }).longTasks ?? [])
  return {
    gigabyteMs: Math.round(performance.now() - start),
    memoryMegabytes: Math.round(highest - idle),
    longestTaskMs: Math.round(Math.max(0, ...tasks)),
  }
}

/** Returns a function that measures the largest renderer of this browser. The page is the only renderer that grows. */
async function renderersOf(browser: Browser): Promise<() => number> {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const ids = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id)
  return () => Math.max(0, ...ids.map(residentMegabytes))
}

function residentMegabytes(id: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1]
    return Number(kilobytes ?? 0) / 1000
  } catch {
    // The process has ended.
    return 0
  }
}
