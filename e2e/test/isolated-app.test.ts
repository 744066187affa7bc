import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createPivCard, type ReaderProfile, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusStand } from './bus-stand.ts'
import { chromiumPath, DemoServer } from './stand.ts'

/** An origin of developer mode: 32 bytes and the type 00 00 02, in base32. */
function someAppOrigin(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  const bits = [...randomBytes(32), 0, 0, 2].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const id = (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)]).join('')
  return `isolated-app://${id}`
}

/** On Chromium's USB blocklist: a page never sees it. */
const blocklisted: ReaderProfile = { ...readerProfiles.yubikey4, productId: 0x0407 }

/** PWA.install is in no published list of commands yet. */
interface DevTools {
  send(method: string, parameters: object): Promise<unknown>
}

const origin = someAppOrigin()
const readers = {
  'a reader of class 0x0B': new VirtualCcidReader(readerProfiles.omnikey3021, { serialNumber: 'CLASS0B' }),
  'a device on the USB blocklist': new VirtualCcidReader(blocklisted, { serialNumber: 'BLOCKED' }),
}

const missing = whatIsMissing([chromiumPath, 'gcc'])
if (missing !== undefined) console.warn(`The isolated app’s stories are not told: ${missing}.`)

let server: DemoServer
let stand: BusStand
describe.skipIf(missing !== undefined)('the demo as an Isolated Web App', () => {
  beforeAll(async () => {
    server = await DemoServer.start('--iwa')
    const devices = Object.values(readers)
    stand = await BusStand.start({
      grants: [origin, server.origin].map((each) => ({ origin: each, devices })),
      args: ['--enable-features=IsolatedWebApps,IsolatedWebAppDevMode'],
      ignoreHTTPSErrors: true,
    })
    const devtools = await stand.context.browser()?.newBrowserCDPSession()
    await (devtools as unknown as DevTools).send('PWA.install', {
      manifestId: `${origin}/`,
      installUrlOrBundleUrl: server.origin,
    })
  })
  afterEach(async () => {
    for (const page of stand?.context.pages().slice(1) ?? []) await page.close()
  })
  afterAll(async () => {
    await stand?.stop()
    await server?.stop()
  })

  it.each(Object.entries(readers))('logs in and signs with %s', async (_, reader) => {
    reader.insert(createPivCard())
    stand.bus.plug(reader)
    try {
      const page = await stand.openDemo(`${origin}/`)
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
        /Signature\s+valid[\s\S]*Issuer\s+checked/,
      )
      expect(page.complaints).toEqual([])
    } finally {
      await stand.bus.unplug(reader)
    }
  })

  it('has only its own manifest and no service worker', async () => {
    const page = await stand.openDemo(`${origin}/`)
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

  it('an ordinary page never sees the device on the blocklist, permitted though it is', async () => {
    stand.bus.plug(readers['a device on the USB blocklist'])
    stand.bus.plug(readers['a reader of class 0x0B'])
    try {
      const page = await stand.open(server.url)
      const seen = () =>
        page.evaluate(async () => (await navigator.usb.getDevices()).map((device) => device.serialNumber))
      await expect.poll(seen).toEqual(['CLASS0B'])
    } finally {
      for (const reader of Object.values(readers)) await stand.bus.unplug(reader)
    }
  })
})

describe('the signed bundle', () => {
  it('has a policy as strict as the page that the server sends', async () => {
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

  it('is signed, and read anew by other means; a changed byte is found', async () => {
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
    expect(() => checkBundle(changed, files)).toThrow('The signature does not verify.')
  })
})
