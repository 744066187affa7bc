/** Tests the demo as an installed app: it can be installed, works offline, and never mixes files of two builds. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { demoCa } from '@webtoki/simulator'
import { type BrowserContext, chromium } from 'playwright-core'
import { build } from 'vite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { chromiumPath, Deployment, DemoPage, flags } from './demo.ts'

const missing = whatIsMissing([chromiumPath, 'openssl'])
if (missing !== undefined) console.warn(`The tests of the installed app are skipped: ${missing}.`)

const demoFolder = join(import.meta.dirname, '../../demo')
const pageA = join(demoFolder, 'dist/page')
const letter = new TextEncoder().encode('Dear reader,\nthis is to be signed.\n')
const unreachable = 'The site cannot be reached.'

let folder: string
/** Another build of the page, in which the demo's own scripts have another content and so another name. */
let pageB: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-installed-'))
  pageB = join(folder, 'page-b')
  await build({
    root: demoFolder,
    configFile: join(demoFolder, 'vite.config.ts'),
    logLevel: 'warn',
    build: { outDir: pageB },
    plugins: [
      {
        name: 'build-b',
        transform: (code, id) =>
          id.startsWith(join(demoFolder, 'src')) && /\.ts(\?|$)/.test(id)
            ? `${code}\nObject.assign(globalThis, { build: 'B' })`
            : undefined,
      },
    ],
  })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let site: Deployment
let context: BrowserContext
async function openBrowser(serviceWorkers: 'allow' | 'block' = 'allow'): Promise<void> {
  context = await chromium.launchPersistentContext(mkdtempSync(join(folder, 'profile-')), {
    executablePath: chromiumPath,
    args: [...flags],
    acceptDownloads: true,
    serviceWorkers,
  })
}
beforeEach(async () => {
  site = await Deployment.start()
})
afterEach(async () => {
  await context?.close()
  await site?.end()
})

async function open(): Promise<DemoPage> {
  const demo = new DemoPage(await context.newPage())
  await demo.page.goto(`${site.origin}/`)
  await demo.page.waitForSelector('html[data-ready]')
  return demo
}

/** Opens the page and waits until the service worker controls it. */
async function visit(): Promise<DemoPage> {
  const demo = await open()
  await demo.page.evaluate(async () => {
    const { serviceWorker } = navigator
    if (serviceWorker.controller === null)
      await new Promise((resolve) => serviceWorker.addEventListener('controllerchange', resolve))
  })
  return demo
}

async function useVirtual(demo: DemoPage): Promise<void> {
  await demo.page.getByRole('button', { name: 'Use the virtual reader' }).click()
  await demo.ready()
}

async function sign(demo: DemoPage): Promise<void> {
  await demo.choose('letter.txt', letter)
  await demo.page.getByRole('button', { name: 'Sign', exact: true }).click()
  await demo.enterPin('123456')
  await demo.signing('Signed')
  expect(await demo.page.locator('#verification').innerText()).toMatch(
    /Signature\s+valid[\s\S]*Issuer\s+trusted/,
  )
}

const buildOf = (demo: DemoPage) =>
  demo.page.evaluate(() => (globalThis as unknown as { build?: string }).build ?? 'A')

/** Returns the paths of all files in the service worker's caches. */
const cachedBy = (demo: DemoPage): Promise<string[]> =>
  demo.page.evaluate(async () => {
    const cached = await Promise.all(
      (await caches.keys()).map(async (name) => (await caches.open(name)).keys()),
    )
    return cached.flat().map(({ url }) => new URL(url).pathname)
  })

const assetsOf = (page: string): string[] =>
  readdirSync(join(page, 'assets')).map((name) => `/assets/${name}`)

/** Returns the paths of a build's assets that the other build does not have. */
const onlyIn = (page: string, other: string): string[] => {
  const others = new Set(assetsOf(other))
  return assetsOf(page).filter((path) => !others.has(path))
}

/** True if the worker of another build is installed and waits until no page of this build is open. */
const hasWaiting = (demo: DemoPage) =>
  demo.page.evaluate(
    async () => ((await navigator.serviceWorker.getRegistration())?.waiting ?? null) !== null,
  )

/** Closes the page and waits until the browser has activated the waiting service worker. */
async function closeLast({ page }: DemoPage): Promise<void> {
  const [outside] = context.pages()
  if (outside === undefined || outside === page)
    throw new Error('The browser needs a page besides the demo’s.')
  const devtools = await context.newCDPSession(outside)
  const states = new Map<string, string>()
  devtools.on('ServiceWorker.workerVersionUpdated', ({ versions }) => {
    for (const { versionId, status } of versions) states.set(versionId, status)
  })
  await devtools.send('ServiceWorker.enable')
  await expect.poll(() => [...states.values()]).toContain('installed')
  await page.close()
  // A page that is opened earlier would still get the old worker, and the new one would keep waiting.
  await expect.poll(() => [...states.values()]).not.toContain('installed')
}

async function axeViolations(demo: DemoPage): Promise<string[]> {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await demo.page.evaluate(axe)
  return demo.page.evaluate(async () => {
    const { axe: loaded } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
    }
    const { violations } = await loaded.run()
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  })
}

describe.skipIf(missing !== undefined)('the installable demo', () => {
  it('has no error in its manifest and no installability error in Chromium', async () => {
    await openBrowser()
    const demo = await visit()
    const devtools = await context.newCDPSession(demo.page)
    expect(await devtools.send('Page.getInstallabilityErrors')).toEqual({ installabilityErrors: [] })
    const { errors, url, data } = await devtools.send('Page.getAppManifest')
    expect(errors).toEqual([])
    expect(new URL(url).pathname).toBe('/manifest.webmanifest')
    expect(JSON.parse(data ?? '')).toMatchObject({
      name: 'Webtoki demo',
      short_name: 'Webtoki',
      description: expect.any(String),
      id: '/',
      start_url: '/',
      scope: '/',
      display: 'standalone',
      theme_color: expect.any(String),
      background_color: expect.any(String),
    })
    expect(demo.complaints).toEqual([])
  })

  it('has icons of the sizes in its manifest, and a separate maskable icon', async () => {
    const manifest = (await (await fetch(`${site.origin}/manifest.webmanifest`)).json()) as {
      icons: { src: string; sizes: string; type: string; purpose?: string }[]
    }
    const kinds = manifest.icons.map(({ sizes, purpose }) => `${sizes} ${purpose}`)
    expect(kinds).toEqual(expect.arrayContaining(['192x192 any', '512x512 any', '512x512 maskable']))
    expect(new Set(manifest.icons.map(({ src }) => src)).size).toBe(manifest.icons.length)
    for (const { src, sizes, type } of manifest.icons) {
      const response = await fetch(new URL(src, site.origin))
      expect(response.headers.get('content-type')).toBe(type)
      const png = new DataView(await response.arrayBuffer())
      expect(`${png.getUint32(16)}x${png.getUint32(20)}`).toBe(sizes)
    }
  })

  it('serves the service worker and the manifest with their types, no-cache and the strict policy', async () => {
    const policy = (await fetch(`${site.origin}/`)).headers.get('content-security-policy')
    expect(policy).toContain("require-trusted-types-for 'script'")
    for (const [path, type] of [
      ['/sw.js', 'text/javascript; charset=utf-8'],
      ['/manifest.webmanifest', 'application/manifest+json'],
    ] as const) {
      const { status, headers } = await fetch(site.origin + path)
      expect([path, status, headers.get('content-type'), headers.get('cache-control')]).toEqual([
        path,
        200,
        type,
        'no-cache',
      ])
      expect(headers.get('content-security-policy')).toBe(policy)
    }
  })
})

describe.skipIf(missing !== undefined)('the demo without its site', () => {
  it('signs and verifies, reports that it cannot log in, and logs in when the site is back', async () => {
    await openBrowser()
    const demo = await visit()
    await demo.page.setViewportSize({ width: 390, height: 844 })
    await site.halt()
    await demo.page.reload()
    await demo.page.waitForSelector('html[data-ready]')
    await demo.page.getByText(unreachable).waitFor()
    await useVirtual(demo)
    await sign(demo)
    const [ca, content] = [join(folder, 'ca.pem'), join(folder, 'content')]
    writeFileSync(ca, demoCa.pem)
    writeFileSync(content, letter)
    const args = ['cms', '-verify', '-binary', '-inform', 'DER', '-content', content, '-CAfile', ca]
    execFileSync('openssl', [...args, '-purpose', 'any', '-in', await demo.download(folder)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await demo.page.getByRole('button', { name: 'Log in with your card' }).click()
    await demo.login('The site is not responding.')
    expect(await demo.pin.isVisible()).toBe(false)
    expect(await axeViolations(demo)).toEqual([])
    expect(await demo.page.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
    await site.resume()
    await expect.poll(() => demo.page.getByText(unreachable).isVisible()).toBe(false)
    await expect.poll(() => demo.page.getByText('The site is not responding.').isVisible()).toBe(false)
    await demo.logIn()
    await demo.login('You are logged in')
    await site.halt()
    await demo.page.getByRole('button', { name: 'Log out' }).click()
    await demo.login(
      'Your card is logged out, but you are still logged in at the site. The site is not responding.',
    )
    await demo.page.getByText(unreachable).waitFor()
    // The site stores its sessions in memory, so nobody is logged in after its restart, and the page shows that.
    await site.resume()
    await demo.page.locator('#who').waitFor({ state: 'hidden' })
    expect(demo.complaints).toEqual([])
  })

  it('has every file of the build in its cache, and no response of the relying party', async () => {
    await openBrowser()
    const demo = await visit()
    await useVirtual(demo)
    await demo.logIn()
    await demo.login('You are logged in')
    await site.halt()
    const statuses = await demo.page.evaluate(
      (paths) => Promise.all(paths.map(async (path) => `${path} ${(await fetch(path)).status}`)),
      ['/index.html', ...assetsOf(pageA)],
    )
    expect(statuses.filter((each) => !each.endsWith(' 200'))).toEqual([])
    expect((await cachedBy(demo)).filter((path) => /api|sw\.js|\.well-known/.test(path))).toEqual([])
  })
})

describe.skipIf(missing !== undefined)('the demo after a deployment', () => {
  it('completes a login and a signature in an open page of the old build; the next start is the new build', async () => {
    await openBrowser()
    const before = await visit()
    await useVirtual(before)
    await before.page.getByRole('button', { name: 'Log in with your card' }).click()
    await before.pin.waitFor()
    site.deploy(pageB)
    const after = await open()
    expect(await buildOf(after)).toBe('B')
    await expect.poll(() => hasWaiting(after)).toBe(true)
    await before.enterPin('123456')
    await before.login('You are logged in')
    await sign(before)
    expect(await buildOf(before)).toBe('A')
    await useVirtual(after)
    await sign(after)
    // The new build is completely cached, although the old worker is still active.
    await site.halt()
    const another = onlyIn(pageB, pageA)
    const statuses = await after.page.evaluate(
      (paths) => Promise.all(paths.map(async (path) => (await fetch(path)).status)),
      another,
    )
    expect(statuses).toEqual(another.map(() => 200))
    expect([...before.complaints, ...after.complaints]).toEqual([])
  })

  it('deletes the old files after all old pages are closed, and starts the new build offline', async () => {
    await openBrowser()
    const before = await visit()
    const old = onlyIn(pageA, pageB)
    expect(await cachedBy(before)).toEqual(expect.arrayContaining(old))
    site.deploy(pageB)
    await before.page.reload()
    await before.page.waitForSelector('html[data-ready]')
    expect(await buildOf(before)).toBe('B')
    await expect.poll(() => hasWaiting(before)).toBe(true)
    await closeLast(before)
    const after = await open()
    await expect.poll(() => hasWaiting(after)).toBe(false)
    await expect.poll(async () => (await cachedBy(after)).filter((path) => old.includes(path))).toEqual([])
    await site.halt()
    await after.page.reload()
    await after.page.waitForSelector('html[data-ready]')
    expect(await buildOf(after)).toBe('B')
    await useVirtual(after)
    await sign(after)
  })

  it('shows the cached page instead of a gateway’s error', async () => {
    await openBrowser()
    const demo = await visit()
    await context.route(`${site.origin}/`, (route) => route.fulfill({ status: 502, body: 'Bad gateway' }))
    await demo.page.reload()
    await demo.page.waitForSelector('html[data-ready]')
    expect(await demo.page.title()).toBe('Webtoki demo')
    await useVirtual(demo)
  })

  it('reports that a part of an old page cannot be loaded, and what to do', async () => {
    // Without a service worker, as in a private window, the old files are not cached.
    await openBrowser('block')
    const sentence = 'A part of this page could not be loaded. Reload the page, then try again.'
    const demo = await open()
    site.deploy(pageB)
    await demo.page.getByRole('button', { name: 'Use the virtual reader' }).click()
    await demo.page.locator('#reader-note').getByText(sentence, { exact: true }).waitFor()
    await demo.page.reload()
    await demo.page.waitForSelector('html[data-ready]')
    await useVirtual(demo)
    site.deploy(pageA)
    await demo.choose('letter.txt', letter)
    await demo.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await demo.page.locator('#sign-progress').getByText(sentence, { exact: true }).waitFor()
    expect(await demo.pin.isVisible()).toBe(false)
    expect(demo.complaints).toEqual([])
  })

  it('reports that the digest worker cannot be loaded, and does not blame the document', async () => {
    await openBrowser('block')
    const demo = await open()
    await useVirtual(demo)
    await context.route('**/digest-worker-*.js', (route) => route.fulfill({ status: 404 }))
    await demo.choose('letter.txt', letter)
    await demo.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await demo.signing('A part of this page could not be loaded. Reload the page, then try again.')
    expect(await demo.pin.isVisible()).toBe(false)
  })
})
