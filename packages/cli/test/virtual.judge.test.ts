/** Tests the commands that serve virtual readers and cards, and `webtoki plan`, from the build. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['gcc', 'lsusb'])
if (missing !== undefined) console.warn(`The tests of webtoki virtual-usb are skipped: ${missing}.`)

const webtoki = fileURLToPath(new URL('../bin/webtoki.js', import.meta.url))
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Starts a command that serves. Resolves to the lines that it printed before `ready`. */
async function serve(
  ...args: readonly string[]
): Promise<{ readonly lines: string[]; readonly child: ChildProcess }> {
  const child = spawn(process.execPath, [webtoki, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') break
    lines.push(line)
  }
  return { lines, child }
}

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve))

describe.skipIf(missing !== undefined)('webtoki virtual-usb', () => {
  it('presents its readers to lsusb, and ends with 0 at SIGTERM', async () => {
    const { lines, child } = await serve('virtual-usb', '--device', 'scr331:echo', '--device', 'yubikey4')
    const environment = Object.fromEntries(
      lines.map((line) => /^export (\w+)='(.*)'$/.exec(line)?.slice(1) as [string, string]),
    )
    expect(Object.keys(environment)).toContain('LD_PRELOAD')
    const { stdout } = await promisify(execFile)('lsusb', [], { env: { ...process.env, ...environment } })
    expect(stdout).toMatch(/ID 04e6:e001 .*SCRx31/)
    expect(stdout).toMatch(/ID 1050:0404 /)
    child.kill('SIGTERM')
    expect(await ended(child)).toBe(0)
  })

  it('ends with 2 and lists the virtual readers if a reader name is unknown', () => {
    const { status, stderr } = spawnSync(process.execPath, [webtoki, 'virtual-usb', '--device', 'abacus'], {
      encoding: 'utf8',
    })
    expect(status).toBe(2)
    expect(stderr).toContain("Unknown virtual reader 'abacus'. Use one of dualiAbcm6,")
  })
})

describe('webtoki vpcd', () => {
  it('sends the ATR, responds to SELECT, and ends with 0 when vpcd closes the connection', async () => {
    // A stand-in for vpcd, which sends two bytes of length and a payload. The simulator's tests use the real vpcd.
    let socket: Socket | undefined
    let onConnected = (): void => {}
    const connected = new Promise<void>((resolve) => {
      onConnected = resolve
    })
    const server = createServer((each) => {
      socket = each
      onConnected()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { child } = await serve('vpcd', '--card', 'piv', '--port', String(port))
    await connected
    const exchange = (...payload: readonly number[]): Promise<string> => {
      socket?.write(Uint8Array.of(payload.length >> 8, payload.length & 0xff, ...payload))
      return new Promise((resolve) => {
        socket?.once('data', (chunk: Buffer) => resolve(chunk.subarray(2).toString('hex')))
      })
    }
    socket?.write(Uint8Array.of(0, 1, 1))
    expect(await exchange(4)).toMatch(/^3b95/)
    expect(await exchange(0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8, 0)).toMatch(/^61.*9000$/)
    socket?.end()
    expect(await ended(child)).toBe(0)
    server.close()
  })
})

describe('webtoki plan', () => {
  const run = (...args: readonly string[]) =>
    spawnSync(process.execPath, [webtoki, ...args], { encoding: 'utf8' })

  it('prints how the driver would use a virtual reader', () => {
    const { stdout } = run('plan', '--simulator', 'piv', '--simulator-reader', 'tpdu')
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'SCM Microsystems Inc. SCRx31 USB Smart Card Reader',
      '  exchange      TPDUs over bulk endpoints',
      '  protocols     T=0 and T=1',
    ])
  })

  it('prints the plan of a descriptor given in hex, and ends with 2 for a malformed one', () => {
    const descriptor =
      '36211001000703000000a00f0000a00f000000002a00001640050000fe0000000000000000000000300201000f010000000000000001'
    expect(run('plan', '--reader', '08e6:3437', '--descriptor', descriptor).stdout).toContain(
      'the host, by PPS',
    )
    expect(run('plan', '--descriptor', '00').status).toBe(2)
  })
})

it('webtoki tokens lists the keys of a card in a virtual reader with TPDU level exchange', () => {
  const { status, stdout } = spawnSync(
    process.execPath,
    [webtoki, 'tokens', '--simulator', 'piv', '--simulator-reader', 'tpdu'],
    { encoding: 'utf8' },
  )
  expect(status).toBe(0)
  expect(stdout).toContain('Ada Lovelace (demo)')
})
