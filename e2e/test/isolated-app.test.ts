/** Tests the demo as an Isolated Web App, which may use readers that browsers keep from web pages, and its signed bundle. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createPivCard, type ReaderProfile, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusBrowser } from './bus-browser.ts'
import { chromiumPath, DemoServer } from './demo.ts'

/** Returns a random origin for developer mode: 32 bytes and the type 00 00 02, in base32. */
function randomAppOrigin(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  const bits = [...randomBytes(32), 0, 0, 2].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const id = (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)]).join('')
  return `isolated-app://${id}`
}

/** A device on Chromium's USB blocklist, which web pages cannot use. */
const blocklisted: ReaderProfile = { ...readerProfiles.yubikey4, productId: 0x0407 }

/** Allows the command PWA.install, which playwright's types lack. */
interface DevTools {
  send(method: string, parameters: object): Promise<unknown>
}

const origin = randomAppOrigin()
const readers = {
  'a reader of class 0x0B': new VirtualCcidReader(readerProfiles.omnikey3021, { serialNumber: 'CLASS0B' }),
  'a device on the USB blocklist': new VirtualCcidReader(blocklisted, { serialNumber: 'BLOCKED' }),
}

const missing = whatIsMissing([chromiumPath, 'gcc'])
if (missing !== undefined) console.warn(`The tests of the isolated app are skipped: ${missing}.`)

let server: DemoServer
let browser: BusBrowser
describe.skipIf(missing !== undefined)('the demo as an Isolated Web App', () => {
  beforeAll(async () => {
    server = await DemoServer.start('--iwa')
    const devices = Object.values(readers)
    browser = await BusBrowser.start({
      grants: [origin, server.origin].map((each) => ({ origin: each, devices })),
      args: ['--enable-features=IsolatedWebApps,IsolatedWebAppDevMode'],
      ignoreHTTPSErrors: true,
    })
    const devtools = await browser.context.browser()?.newBrowserCDPSession()
    await (devtools as unknown as DevTools).send('PWA.install', {
      manifestId: `${origin}/`,
      installUrlOrBundleUrl: server.origin,
    })
  })
  afterEach(async () => {
    for (const page of browser?.context.pages().slice(1) ?? []) await page.close()
  })
  afterAll(async () => {
    await browser?.stop()
    await server?.stop()
  })

  it.each(Object.entries(readers))('logs in and signs with %s', async (_, reader) => {
    reader.insert(createPivCard())
    browser.bus.plug(reader)
    try {
      const page = await browser.openDemo(`${origin}/`)
      await page.page.getByRole('button', { name: 'Connect a reader' }).click()
      await page.ready()
      await page.logIn()
      await page.login('You are logged in')
      expect(await page.page.locator('#who-name').innerText()).toBe('Ada Lovelace (demo)')
      await page.choose('letter.txt', new TextEncoder().encode('Dear reader,\n'))
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      expect(await page.page.locator('#verification').innerText()).toMatch(
        /Signature\s+valid[\s\S]*Issuer\s+trusted/,
      )
      expect(page.complaints).toEqual([])
    } finally {
      await browser.bus.unplug(reader)
    }
  })

  it('has only its own manifest and no service worker', async () => {
    const page = await browser.openDemo(`${origin}/`)
    const own = (await (await fetch(`${server.url}.well-known/manifest.webmanifest`)).json()) as object
    expect(own).toMatchObject({ isolated_storage: true })
    const linked = await page.page.evaluate(async () => {
      const { href } = document.querySelector('link[rel=manifest]') as HTMLLinkElement
      return (await (await fetch(href)).json()) as object
    })
    expect(linked).toEqual(own)
    expect((await fetch(`${server.url}sw.js`)).status).toBe(404)
    const workers = await page.page.evaluate(
      async () => (await navigator.serviceWorker.getRegistrations()).length,
    )
    expect(workers).toBe(0)
    expect(page.complaints).toEqual([])
  })

  it('does not make a blocklisted device available to an ordinary page with permission', async () => {
    browser.bus.plug(readers['a device on the USB blocklist'])
    browser.bus.plug(readers['a reader of class 0x0B'])
    try {
      const page = await browser.open(server.url)
      const seen = () =>
        page.evaluate(async () => (await navigator.usb.getDevices()).map((device) => device.serialNumber))
      await expect.poll(seen).toEqual(['CLASS0B'])
    } finally {
      for (const reader of Object.values(readers)) await browser.bus.unplug(reader)
    }
  })
})

describe('the signed bundle', () => {
  it('has every directive of the Content Security Policy that the server sends', async () => {
    const { filesOf, signBundle } = await import('../../demo/scripts/bundle.mjs')
    const ordinary = await DemoServer.start()
    try {
      const { headers } = await fetch(ordinary.url)
      const policy = (headers.get('content-security-policy') ?? '').split('; ')
      expect(policy).toContain("default-src 'none'")
      const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
      const { bytes } = await signBundle(filesOf(ordinary.origin), ordinary.origin, pem)
      const text = Buffer.from(bytes).toString('latin1')
      expect(policy.filter((directive) => !text.includes(directive))).toEqual([])
    } finally {
      await ordinary.stop()
    }
  })

  it('contains the files of the page and has a signature that does not verify after a change', async () => {
    const { checkBundle, filesOf, signBundle } = await import('../../demo/scripts/bundle.mjs')
    const site = 'https://localhost:8443'
    const files = filesOf(site)
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
    const { origin: own, bytes } = await signBundle(files, site, pem)
    expect(checkBundle(bytes, files)).toBe(own)
    expect(files.get('/manifest.webmanifest')).toEqual(files.get('/.well-known/manifest.webmanifest'))
    expect(files.has('/sw.js')).toBe(false)
    const changed = bytes.slice()
    changed[changed.length - 100] = (changed[changed.length - 100] as number) ^ 1
    expect(() => checkBundle(changed, files)).toThrow('The signature of the bundle is not valid.')
  })
})
