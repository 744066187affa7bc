/** Tests the messages and exit codes of commands that find no usable card, and the help. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { main } from '@webtoki/cli'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a command. Resolves to its output and exit code. */
async function run(...args: string[]): Promise<{ stdout: string; stderr: string; code: number }> {
  const written = { stdout: '', stderr: '' }
  const spies = (
    [
      ['stdout', process.stdout],
      ['stderr', process.stderr],
    ] as const
  ).map(([key, stream]) =>
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      written[key] += String(text)
      return true
    }),
  )
  try {
    const code = await main(args)
    return { ...written, code }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

/** Writes a module that exports a W3C USB; `lines` define its `devices`. */
function usbModule(name: string, lines: string): string {
  const file = join(folder, `${name}.mjs`)
  writeFileSync(
    file,
    `${lines}\nexport default { getDevices: async () => devices, addEventListener() {}, removeEventListener() {} }\n`,
  )
  return file
}

/** A reader whose interface another program has claimed. */
const inUse = `
const head = [9, 2, 99, 0, 1, 1, 0, 0x80, 50]
const ccid = [54, 0x21, 0x10, 1, 0, 7, 3, 0, 0, 0, ...Array(30).fill(0), 0x30, 0, 2, 0, 0x0f, 1, 0, 0, ...Array(5).fill(0), 1]
const bulk = [7, 5, 0x81, 2, 64, 0, 0, 7, 5, 2, 2, 64, 0, 0]
const whole = [...head, 9, 4, 0, 0, 2, 0x0b, 0, 0, 0, ...ccid, ...bulk]
whole[2] = whole.length
const alternate = { interfaceClass: 0x0b, interfaceSubclass: 0, interfaceProtocol: 0, endpoints: [] }
const configuration = { configurationValue: 1, interfaces: [{ interfaceNumber: 0, alternate, alternates: [alternate] }] }
const fail = async () => { throw Object.assign(new Error('Unable to claim interface.'), { name: 'NetworkError' }) }
const devices = [{ vendorId: 0x04e6, productId: 0x5116, productName: 'A reader', configuration, configurations: [configuration],
  opened: false, open: async () => {}, close: async () => {}, claimInterface: fail,
  controlTransferIn: async (_, bytes) => ({ status: 'ok', data: new DataView(Uint8Array.from(whole.slice(0, bytes)).buffer) }) }]`

/** A reader whose `open` fails with an error of that name. */
const device = (error: string): string => `
const alternate = { interfaceClass: 0x0b, interfaceSubclass: 0, interfaceProtocol: 0, endpoints: [] }
const configuration = { configurationValue: 1, interfaces: [{ interfaceNumber: 0, alternate, alternates: [alternate] }] }
const open = () => Promise.reject(Object.assign(new Error('Access denied.'), { name: '${error}' }))
const devices = [{ vendorId: 0x04e6, productId: 0x5116, productName: 'A reader', configuration, configurations: [configuration], open, close: async () => {} }]`

const sign = ['sign', '--key', '9a', '--mechanism', 'CKM_SHA256_RSA_PKCS', '--in', 'x', '--out', 'y']

describe.each([['readers'], ['tokens'], sign])('webtoki %s', (...command) => {
  it('ends with 1 and suggests the simulator without a reader', async () => {
    const { stdout, stderr, code } = await run(
      ...command,
      '--usb-module',
      usbModule('none', 'const devices = []'),
    )
    expect([stdout, code]).toEqual(['', 1])
    expect(stderr).toContain('No reader is available')
    expect(stderr).toContain('--simulator piv')
  })

  it('names the service that may use the reader if the reader is in use', async () => {
    const { stderr, code } = await run(...command, '--usb-module', usbModule('in-use', inUse))
    expect(stderr).toContain('pcscd')
    // `readers` lists a reader that is in use, and succeeds.
    expect(code).toBe(command[0] === 'readers' ? 0 : 1)
  })

  it.runIf(process.platform === 'linux')('suggests a udev rule if the system denies access', async () => {
    const file = usbModule('denied', device('SecurityError'))
    const { stderr, code } = await run(...command, '--usb-module', file)
    expect(code).toBe(1)
    expect(stderr).toMatch(/A reader.*04e6:5116/)
    expect(stderr).toContain('udev rule')
  })
})

describe('webtoki tokens with a card that no driver recognizes', () => {
  it('reports CKR_TOKEN_NOT_RECOGNIZED on standard error and ends with 1', async () => {
    const { stdout, stderr, code } = await run('tokens', '--simulator', 'echo')
    expect([stdout, code]).toEqual(['', 1])
    expect(stderr).toContain('CKR_TOKEN_NOT_RECOGNIZED')
  })
})

describe('webtoki', () => {
  it('COMMAND --help prints only the options of that command', async () => {
    const { stdout, code } = await run('readers', '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('webtoki readers [options]')
    expect(stdout).toContain('--usb-module')
    expect(stdout).not.toContain('--mechanism')
    expect((await run('sign', '-h')).stdout).toContain('--mechanism')
  })

  it('prints its version and its help, which ends with 2 if a command is missing', async () => {
    expect(await run('--version')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    })
    expect((await run('--help')).code).toBe(0)
    expect((await run()).code).toBe(2)
  })
})
