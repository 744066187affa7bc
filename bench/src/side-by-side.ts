/** Compares Webtoki in Chromium with pcscd, libccid and OpenSC, with the same virtual reader and card on the same USB bus. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createEchoCard, createPivCard, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { chromiumOnBus, startBus, type VirtualUsbBus } from '@webtoki/simulator/node'
import { chromium, type Page } from 'playwright-core'
import { build, type Rolldown } from 'vite'
import { withJudge } from './judge-program.ts'

const CHROMIUM = '/usr/bin/chromium'
const OPENSC = '/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so'
const SIGNATURES = 100
const PIN = '123456'

/** The cost of 100 signatures without the login. */
export interface Cost {
  readonly apdus: number
  readonly usbTransfers: number
  readonly milliseconds: number
}

/** The costs of both, and the time of single APDUs in Chromium. */
export interface SideBySide {
  readonly ours: Cost
  /** Undefined without pcscd, OpenSC or root, which the mount namespace needs. */
  readonly judge?: Cost & { readonly program: string }
  /** The median of an echo APDU of 32 bytes through the driver. */
  readonly apduMilliseconds: number
  /** The median of the same CCID messages without the driver, in the same page. */
  readonly bareMilliseconds: number
}

const page = `
import { ccidSlots } from '@webtoki/ccid'
import { CKA, CKM, CKO, CKU, Cryptoki } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { firstValueFrom } from 'rxjs'

const deviceNamed = async (serial) => (await navigator.usb.getDevices()).find((d) => d.serialNumber === serial)
const only = (device) => {
  const usb = new EventTarget()
  return Object.assign(usb, { getDevices: async () => [device], requestDevice: async () => device })
}
const median = async (runs, work) => {
  const times = []
  for (let run = 0; run < runs + 100; run++) {
    const start = performance.now()
    await work()
    if (run >= 100) times.push(performance.now() - start)
  }
  return times.sort((a, b) => a - b)[runs >> 1]
}
let sign
globalThis.bench = {
  async logIn(pin) {
    const source = ccidSlots({ usb: only(await deviceNamed('SIGN')) })
    const cryptoki = new Cryptoki({ sources: [source], drivers: [pivDriver()] })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    const session = await slot.openSession({ pin: async () => ({ pin: new TextEncoder().encode(pin) }) })
    await session.login(CKU.USER)
    const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(1) })
    sign = (digest) => session.sign({ type: CKM.ECDSA }, key, digest).result()
  },
  async signatures(count) {
    const start = performance.now()
    for (let done = 0; done < count; done++) await sign(new Uint8Array(32).fill(done))
    return performance.now() - start
  },
  async bare(runs, apdu) {
    const device = await deviceNamed('ECHO')
    await device.open()
    await device.claimInterface(0)
    const exchange = async (...message) => {
      await device.transferOut(2, Uint8Array.from(message))
      return device.transferIn(1, 512)
    }
    await exchange(0x62, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    const time = await median(runs, () => exchange(0x6f, apdu.length, 0, 0, 0, 0, 1, 0, 0, 0, ...apdu))
    await device.close()
    return time
  },
  async driver(runs, apdu) {
    const source = ccidSlots({ usb: only(await deviceNamed('ECHO')) })
    const [slot] = await firstValueFrom(source.slots$)
    const connection = await slot.connect()
    const owner = {}
    const command = Uint8Array.from(apdu)
    const time = await median(runs, () => connection.transaction(owner, (channel) => channel.transmit(command)))
    await source.close()
    return time
  },
}
document.documentElement.dataset.ready = ''
`

interface BenchPage {
  logIn(pin: string): Promise<void>
  signatures(count: number): Promise<number>
  bare(runs: number, apdu: readonly number[]): Promise<number>
  driver(runs: number, apdu: readonly number[]): Promise<number>
}
declare const bench: BenchPage

/** Runs the comparison. Resolves to undefined without Chromium. */
export async function sideBySide(): Promise<SideBySide | undefined> {
  if (!existsSync(CHROMIUM)) return undefined
  const profile = { ...readerProfiles.dualiAbcm6, productId: 0x080c }
  const reader = new VirtualCcidReader(profile, { serialNumber: 'SIGN' })
  reader.insert(createPivCard({ nineA: 'p256' }))
  const echo = new VirtualCcidReader(profile, { serialNumber: 'ECHO' })
  echo.insert(createEchoCard())
  const bus = await startBus()
  try {
    bus.plug(reader)
    bus.plug(echo)
    const inPage = await withPage(bus, [reader, echo], async (opened) => {
      await opened.evaluate((pin) => bench.logIn(pin), PIN)
      await opened.evaluate(() => bench.signatures(10))
      reader.counters.reset()
      const milliseconds = await opened.evaluate((count) => bench.signatures(count), SIGNATURES)
      const ours = { ...countsOf(reader), milliseconds: round(milliseconds) }
      const apdu = [0, 0x10, 0, 0, 32, ...new Uint8Array(32), 0]
      const bareMilliseconds = round(await opened.evaluate((each) => bench.bare(500, each), apdu))
      const apduMilliseconds = round(await opened.evaluate((each) => bench.driver(500, each), apdu))
      return { ours, bareMilliseconds, apduMilliseconds }
    })
    await bus.unplug(echo)
    const judge = await byOpenSc(bus, reader)
    return { ...inPage, ...(judge === undefined ? {} : { judge }) }
  } finally {
    await bus.close()
  }
}

function countsOf({ counters }: VirtualCcidReader): Omit<Cost, 'milliseconds'> {
  return { apdus: counters.apdus, usbTransfers: counters.usbTransfers }
}

async function withPage<T>(
  bus: VirtualUsbBus,
  devices: readonly VirtualCcidReader[],
  work: (page: Page) => Promise<T>,
): Promise<T> {
  const script = await bundled()
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(
      isScript ? script : '<!doctype html><title>Bench</title><script type="module" src="/page.js"></script>',
    )
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`
  const userDataDir = mkdtempSync(join(tmpdir(), 'webtoki-bench-'))
  try {
    const context = await chromium.launchPersistentContext(userDataDir, {
      executablePath: CHROMIUM,
      ...chromiumOnBus(bus, { userDataDir, grants: [{ origin, devices }] }),
    })
    try {
      const opened = await context.newPage()
      await opened.goto(origin)
      await opened.waitForSelector('html[data-ready]')
      return await work(opened)
    } finally {
      await context.close()
    }
  } finally {
    server.closeAllConnections()
    server.close()
    // Retries, because Chromium's last processes may still write to the folder.
    rmSync(userDataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

async function bundled(): Promise<string> {
  const folder = mkdtempSync(join(fileURLToPath(new URL('..', import.meta.url)), '.bundle-'))
  try {
    const input = join(folder, 'page.js')
    writeFileSync(input, page)
    const built = (await build({
      configFile: false,
      root: folder,
      logLevel: 'error',
      build: {
        write: false,
        minify: true,
        target: 'es2023',
        modulePreload: false,
        // The server of this page serves only one script.
        rolldownOptions: { input, output: { codeSplitting: false } },
      },
    })) as Rolldown.RolldownOutput
    const main = built.output.find((each) => each.type === 'chunk' && each.isEntry)
    if (main?.type !== 'chunk') throw new Error('Vite built no script for the page.')
    return main.code
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Makes the signatures with Debian's pcscd, libccid and OpenSC. Resolves to undefined if one of them is missing. */
function byOpenSc(bus: VirtualUsbBus, reader: VirtualCcidReader): Promise<SideBySide['judge']> {
  const source = {
    file: 'judges/sign-by-pkcs11.c',
    flags: ['-I/usr/include/p11-kit-1', '-ldl'],
    needs: [OPENSC, '/usr/include/p11-kit-1/p11-kit/pkcs11.h'],
    args: [OPENSC, PIN],
  }
  return withJudge(source, bus, reader, async (exchange) => {
    await exchange('')
    await exchange('10')
    reader.counters.reset()
    const milliseconds = Number((await exchange(String(SIGNATURES))).split(' ')[1])
    return { program: 'pcscd + libccid + OpenSC', ...countsOf(reader), milliseconds }
  })
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
