/** Verifies signatures of `webtoki sign` with OpenSSL, and runs the built command line. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const webtoki = fileURLToPath(new URL('../bin/webtoki.js', import.meta.url))
const simulator = fileURLToPath(new URL('../../simulator/dist/index.js', import.meta.url))
const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`The tests of webtoki sign with OpenSSL are skipped: ${missing}.`)

let folder: string
const file = (name: string): string => join(folder, name)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-sign-'))
  writeFileSync(file('letter.txt'), 'Dear reader,\nthis is to be signed.\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(...args: string[]): {
  readonly code: number | null
  readonly out: string
  readonly err: string
} {
  const { status, stdout, stderr } = spawnSync(process.execPath, [webtoki, ...args], {
    encoding: 'utf8',
    timeout: 30_000,
  })
  return { code: status, out: stdout, err: stderr }
}

const sign = (key: string, mechanism: string, ...more: string[]) =>
  run(
    ...`sign --simulator piv --key ${key} --mechanism ${mechanism}`.split(' '),
    ...`--in ${file('letter.txt')} --out ${file('letter.sig')} --public-key ${file('key.pem')}`.split(' '),
    ...more,
  )

const verify = (hash: string, ...options: string[]): string =>
  execFileSync(
    'openssl',
    [
      'dgst',
      `-${hash}`,
      '-verify',
      file('key.pem'),
      '-signature',
      file('letter.sig'),
      ...options,
      file('letter.txt'),
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  ).trim()

describe.skipIf(missing !== undefined).each(['extended', 'short'])('webtoki sign with %s APDUs', (level) => {
  it.each([
    ['9a', 'CKM_SHA256_RSA_PKCS', 'sha256', []],
    ['9a', 'CKM_SHA512_RSA_PKCS', 'sha512', []],
    [
      '9a',
      'CKM_SHA256_RSA_PKCS_PSS',
      'sha256',
      ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32'],
    ],
    ['9c', 'CKM_ECDSA_SHA256', 'sha256', []],
    ['9e', 'CKM_ECDSA_SHA384', 'sha384', []],
  ] as const)(
    'with key %s and %s makes a signature that OpenSSL verifies, and rejects after a change',
    (key, mechanism, hash, options) => {
      const signed = sign(key, mechanism, '--simulator-reader', level)
      expect(signed).toMatchObject({ code: 0, err: '' })
      expect(verify(hash, ...options)).toBe('Verified OK')
      const signature = readFileSync(file('letter.sig'))
      signature[signature.length - 1] = (signature.at(-1) ?? 0) ^ 1
      writeFileSync(file('letter.sig'), signature)
      expect(() => verify(hash, ...options)).toThrow('Command failed')
    },
  )
})

describe.skipIf(missing !== undefined).each(['openpgp', 'multi'])(
  'webtoki sign with the virtual card %s',
  (card) => {
    it.each(['signature', 'authentication'])(
      'with the %s key makes a signature that OpenSSL verifies',
      (key) => {
        const args = `sign --simulator ${card} --key ${key} --mechanism CKM_ECDSA_SHA256`.split(' ')
        const files = `--in ${file('letter.txt')} --out ${file('letter.sig')} --public-key ${file('key.pem')}`
        expect(run(...args, ...files.split(' '))).toMatchObject({ code: 0, err: '' })
        expect(verify('sha256')).toBe('Verified OK')
      },
    )
  },
)

describe('webtoki', () => {
  it('tokens lists each token of a card with PIV and OpenPGP, and its keys', () => {
    const { code, out } = run('tokens', '--simulator', 'multi')
    expect(code).toBe(0)
    expect(out.match(/ · (PIV|OpenPGP 3\.4) · /g)).toHaveLength(3)
    expect(out).toMatch(/^ +01 private key Signature key \(P-256\)$/m)
    expect(out).toMatch(/^ +03 private key Authentication key \(P-256\)$/m)
  })

  it('sign refuses a key name of another application than the card has', () => {
    const args = 'sign --simulator openpgp --key 9a --mechanism CKM_ECDSA_SHA256'.split(' ')
    const { code, err } = run(...args, '--in', file('letter.txt'), '--out', file('letter.sig'))
    expect(code).toBe(1)
    expect(err).toContain('CKR_TOKEN_NOT_RECOGNIZED')
  })

  it('sign writes ECDSA signatures as r‖s with --signature-format raw', () => {
    expect(sign('9c', 'CKM_ECDSA_SHA256', '--signature-format', 'raw').code).toBe(0)
    expect(readFileSync(file('letter.sig'))).toHaveLength(64)
  })

  it('sign takes the PIN from standard input, and reports a wrong PIN with the attempts left', () => {
    const args = [
      'sign',
      '--simulator',
      'piv',
      '--key',
      '9a',
      '--mechanism',
      'CKM_SHA256_RSA_PKCS',
      '--pin-stdin',
    ]
    const files = ['--in', file('letter.txt'), '--out', file('letter.sig')]
    const withPin = (pin: string) =>
      spawnSync(process.execPath, [webtoki, ...args, ...files], {
        encoding: 'utf8',
        input: `${pin}\n`,
        timeout: 30_000,
      })
    expect(withPin('123456').status).toBe(0)
    const wrong = withPin('654321')
    expect(wrong.status).toBe(1)
    expect(wrong.stderr).toContain('CKR_PIN_INCORRECT')
    expect(wrong.stderr.match(/2 attempts left/g)).toHaveLength(1)
    expect(wrong.stderr).not.toContain('654321')
  })

  it('ends with 0 and without a message if the reader of its output stops, such as `| head -1`', async () => {
    const child = spawn(process.execPath, [webtoki, 'tokens', '--simulator', 'piv'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.destroy()
    let err = ''
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  it('plan continues with the next reader after a device that cannot be opened', () => {
    writeFileSync(
      file('denied.mjs'),
      `import { readerProfiles, VirtualCcidReader, virtualUsb } from ${JSON.stringify(simulator)}
      const usb = virtualUsb([new VirtualCcidReader(readerProfiles.omnikey3021)], { protectedClasses: false })
      const denied = virtualUsb([new VirtualCcidReader(readerProfiles.scr331)], { denyOpen: true })
      const devices = await Promise.all([denied.getDevices(), usb.getDevices()])
      export default Object.assign(new EventTarget(), { getDevices: async () => devices.flat() })`,
    )
    const { code, out, err } = run('plan', '--usb-module', file('denied.mjs'))
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^.+: cannot read its descriptors: .*Access denied/)
    expect(out.split('\n')[1]).toBe('OMNIKEY AG Smart Card Reader USB')
  })

  it('ends with 2 and a message if the command line is wrong', () => {
    expect(run('sign', '--simulator', 'piv')).toMatchObject({ code: 2, out: '' })
    expect(run('sign', '--simulator', 'piv', '--key', '9f').err).toContain('--key must be one of')
    expect(run('nonsense').code).toBe(2)
    expect(run('readers', '--bogus').code).toBe(2)
  })

  it('sign ends with 1 without a card, and with 2 for an unknown key name', () => {
    writeFileSync(
      file('none.mjs'),
      'export default Object.assign(new EventTarget(), { getDevices: async () => [] })',
    )
    const args = `--mechanism CKM_SHA256_RSA_PKCS --in ${file('letter.txt')} --out ${file('none.sig')}`.split(
      ' ',
    )
    const none = run('sign', '--usb-module', file('none.mjs'), '--key', '9a', ...args)
    expect(none).toMatchObject({
      code: 1,
      err: expect.stringContaining('no reader contains a card') as string,
    })
    expect(run('sign', '--simulator', 'piv', '--key', 'constructor', ...args).code).toBe(2)
  })

  it('readers and tokens list the virtual reader and the keys of its card', () => {
    expect(run('readers', '--simulator', 'piv').out).toBe(
      'DUALi DE-ABCM6 · contact · card present · 1db2:0600:V0000001/0.0\n',
    )
    const { out } = run('tokens', '--simulator', 'piv')
    expect(out).toContain('Ada Lovelace (demo) · PIV')
    expect(out.match(/^ +\d\d private key/gm)).toHaveLength(4)
  })

  it('--usb-module uses the W3C USB object that a module exports', () => {
    writeFileSync(
      file('usb.mjs'),
      `import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from ${JSON.stringify(simulator)}
const reader = new VirtualCcidReader(readerProfiles.nitrokey3)
reader.insert(createPivCard())
export default Promise.resolve(virtualUsb([reader], { protectedClasses: false }))
`,
    )
    expect(run('readers', '--usb-module', file('usb.mjs')).out).toContain('Nitrokey 3')
    expect(run('readers', '--usb-module', file('letter.txt')).code).toBe(2)
  })
})
