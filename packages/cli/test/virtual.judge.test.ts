import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['gcc', 'lsusb'])
if (missing !== undefined) console.warn(`webtoki virtual-usb is not judged: ${missing}.`)

const webtoki = fileURLToPath(new URL('../bin/webtoki.js', import.meta.url))
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Starts a command that serves; resolves to what it said before it was ready. */
async function serve(
  ...args: readonly string[]
): Promise<{ readonly said: string[]; readonly child: ChildProcess }> {
  const child = spawn(process.execPath, [webtoki, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const said: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') break
    said.push(line)
  }
  return { said, child }
}

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve))

describe.skipIf(missing !== undefined)('webtoki virtual-usb', () => {
  it('shows its readers to lsusb, and ends when it is told to', async () => {
    const { said, child } = await serve('virtual-usb', '--device', 'scr331:echo', '--device', 'yubikey4')
    const environment = Object.fromEntries(
      said.map((line) => /^export (\w+)='(.*)'$/.exec(line)?.slice(1) as [string, string]),
    )
    expect(Object.keys(environment)).toContain('LD_PRELOAD')
    const { stdout } = await promisify(execFile)('lsusb', [], { env: { ...process.env, ...environment } })
    expect(stdout).toMatch(/ID 04e6:e001 .*SCRx31/)
    expect(stdout).toMatch(/ID 1050:0404 /)
    child.kill('SIGTERM')
    expect(await ended(child)).toBe(0)
  })

  it('knows the names of readers', () => {
    const { status, stderr } = spawnSync(process.execPath, [webtoki, 'virtual-usb', '--device', 'abacus'], {
      encoding: 'utf8',
    })
    expect(status).toBe(2)
    expect(stderr).toContain("There is no virtual reader 'abacus'; there is: dualiAbcm6,")
  })
})

describe('webtoki vpcd', () => {
  it('answers as a card does: ATR, SELECT; and ends when its reader goes', async () => {
    // vpcd itself: two bytes of length, and what it asks (its judge with the real one is the simulator's).
    let socket: Socket | undefined
    const came = { connected: () => {} }
    const connected = new Promise<void>((resolve) => {
      came.connected = resolve
    })
    const server = createServer((each) => {
      socket = each
      came.connected()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { child } = await serve('vpcd', '--card', 'piv', '--port', String(port))
    await connected
    const ask = (...payload: readonly number[]): Promise<string> => {
      socket?.write(Uint8Array.of(payload.length >> 8, payload.length & 0xff, ...payload))
      return new Promise((resolve) => {
        socket?.once('data', (chunk: Buffer) => resolve(chunk.subarray(2).toString('hex')))
      })
    }
    socket?.write(Uint8Array.of(0, 1, 1))
    expect(await ask(4)).toMatch(/^3b95/)
    expect(await ask(0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8, 0)).toMatch(/^61.*9000$/)
    socket?.end()
    expect(await ended(child)).toBe(0)
    server.close()
  })
})

describe('webtoki plan', () => {
  const run = (...args: readonly string[]) =>
    spawnSync(process.execPath, [webtoki, ...args], { encoding: 'utf8' })

  it('prints what will be done with a virtual reader', () => {
    const { stdout } = run('plan', '--simulator', 'piv', '--simulator-reader', 'tpdu')
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'SCM Microsystems Inc. SCRx31 USB Smart Card Reader',
      '  exchange      TPDUs over bulk endpoints',
      '  protocols     T=0 and T=1',
    ])
  })

  it('prints it for a descriptor alone, and refuses what is none', () => {
    const descriptor =
      '36211001000703000000a00f0000a00f000000002a00001640050000fe0000000000000000000000300201000f010000000000000001'
    expect(run('plan', '--reader', '08e6:3437', '--descriptor', descriptor).stdout).toContain(
      'the host, by PPS',
    )
    expect(run('plan', '--descriptor', '00').status).toBe(2)
  })
})

it('a reader at TPDU level signs like any other', () => {
  const { status, stdout } = spawnSync(
    process.execPath,
    [webtoki, 'tokens', '--simulator', 'piv', '--simulator-reader', 'tpdu'],
    { encoding: 'utf8' },
  )
  expect(status).toBe(0)
  expect(stdout).toContain('Ada Lovelace (demo)')
})
