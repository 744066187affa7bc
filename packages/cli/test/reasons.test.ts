/** What commands say, and end with, if there is no card to work with. */
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

/** Runs a command; what it wrote, and its exit code. */
async function run(...args: string[]): Promise<{ out: string; said: string; code: number }> {
  const written = { out: '', said: '' }
  const spies = (
    [
      ['out', process.stdout],
      ['said', process.stderr],
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

/** A module with a W3C USB whose devices are made by these lines. */
function usbModule(name: string, lines: string): string {
  const file = join(folder, `${name}.mjs`)
  writeFileSync(
    file,
    `${lines}\nexport default { getDevices: async () => devices, addEventListener() {}, removeEventListener() {} }\n`,
  )
  return file
}

const inUse = `
const head = [9, 2, 99, 0, 1, 1, 0, 0x80, 50]
const ccid = [54, 0x21, 0x10, 1, 0, 7, 3, 0, 0, 0, ...Array(30).fill(0), 0x30, 0, 2, 0, 0x0f, 1, 0, 0, ...Array(5).fill(0), 1]
const bulk = [7, 5, 0x81, 2, 64, 0, 0, 7, 5, 2, 2, 64, 0, 0]
const whole = [...head, 9, 4, 0, 0, 2, 0x0b, 0, 0, 0, ...ccid, ...bulk]
whole[2] = whole.length
const face = { interfaceClass: 0x0b, interfaceSubclass: 0, interfaceProtocol: 0, endpoints: [] }
const configuration = { configurationValue: 1, interfaces: [{ interfaceNumber: 0, alternate: face, alternates: [face] }] }
const fail = async () => { throw Object.assign(new Error('Unable to claim interface.'), { name: 'NetworkError' }) }
const devices = [{ vendorId: 0x04e6, productId: 0x5116, productName: 'A reader', configuration, configurations: [configuration],
  opened: false, open: async () => {}, close: async () => {}, claimInterface: fail,
  controlTransferIn: async (_, bytes) => ({ status: 'ok', data: new DataView(Uint8Array.from(whole.slice(0, bytes)).buffer) }) }]`

const device = (error: string): string => `
const face = { interfaceClass: 0x0b, interfaceSubclass: 0, interfaceProtocol: 0, endpoints: [] }
const configuration = { configurationValue: 1, interfaces: [{ interfaceNumber: 0, alternate: face, alternates: [face] }] }
const open = () => Promise.reject(Object.assign(new Error('Access denied.'), { name: '${error}' }))
const devices = [{ vendorId: 0x04e6, productId: 0x5116, productName: 'A reader', configuration, configurations: [configuration], open, close: async () => {} }]`

const sign = ['sign', '--key', '9a', '--mechanism', 'CKM_SHA256_RSA_PKCS', '--in', 'x', '--out', 'y']

describe.each([['readers'], ['tokens'], sign])('webtoki %s', (...command) => {
  it('ends with 1 and names the simulator if there is no reader', async () => {
    const { out, said, code } = await run(...command, '--usb-module', usbModule('none', 'const devices = []'))
    expect([out, code]).toEqual(['', 1])
    expect(said).toContain('There is no reader')
    expect(said).toContain('--simulator piv')
  })

  it('names the service that may hold the reader if it is in use', async () => {
    const { said, code } = await run(...command, '--usb-module', usbModule('in-use', inUse))
    expect(said).toContain('pcscd')
    // `readers` tells of a reader that is there, and of its use.
    expect(code).toBe(command[0] === 'readers' ? 0 : 1)
  })

  it.runIf(process.platform === 'linux')('names the udev rule if the system gives no access', async () => {
    const file = usbModule('denied', device('SecurityError'))
    const { said, code } = await run(...command, '--usb-module', file)
    expect(code).toBe(1)
    expect(said).toMatch(/A reader.*04e6:5116/)
    expect(said).toContain('udev rule')
  })
})

describe('a card that is not recognized', () => {
  it('is told by tokens on standard error, with exit code 1', async () => {
    const { out, said, code } = await run('tokens', '--simulator', 'echo')
    expect([out, code]).toEqual(['', 1])
    expect(said).toContain('CKR_TOKEN_NOT_RECOGNIZED')
  })
})

describe('help', () => {
  it('of one command has its options and no other command’s', async () => {
    const { out, code } = await run('readers', '--help')
    expect(code).toBe(0)
    expect(out).toContain('webtoki readers [options]')
    expect(out).toContain('--usb-module')
    expect(out).not.toContain('--mechanism')
    expect((await run('sign', '-h')).out).toContain('--mechanism')
  })

  it('has a version, and both are asked for without a command', async () => {
    expect(await run('--version')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    })
    expect((await run('--help')).code).toBe(0)
    expect((await run()).code).toBe(2)
  })
})
