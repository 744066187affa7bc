/** OpenSC and yubico-piv-tool judge the virtual PIV card: in virtual readers under pcscd and libccid, and behind vpcd. */
import { constants, createPublicKey, publicEncrypt, verify } from 'node:crypto'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPivCard, type PivCard, readerProfiles, VirtualCcidReader } from '../src/index.ts'
import { connectVpcd, type Pcscd, startBus, startPcscd, type VpcdConnection } from '../src/node/index.ts'
import { whatIsMissing } from './bus/line-program.ts'

const vpcdDriver = '/usr/lib/pcsc/drivers/serial/libifdvpcd.so'
const missing =
  whatIsMissing([
    'gcc',
    'pcscd',
    'unshare',
    'nsenter',
    'opensc-tool',
    'pkcs11-tool',
    'pkcs15-tool',
    'yubico-piv-tool',
  ]) ??
  (existsSync(vpcdDriver) ? undefined : 'vpcd is missing') ??
  (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The PIV card is not judged by OpenSC and yubico-piv-tool: ${missing}.`)
}

/** Not asked of the judges, with the reason. */
const notAsked: readonly { readonly what: string; readonly reason: string }[] = [
  { what: 'yubico-piv-tool 2.2.0 selfsign-certificate', reason: 'it fails at real cards too' },
  { what: 'piv-tool -G of OpenSC 0.23', reason: 'it fails at real cards too' },
]
for (const { what, reason } of notAsked) console.info(`Not asked: ${what} (${reason}).`)

const transcripts = join(import.meta.dirname, 'vectors/judges')

/** A card where a judge finds it. */
interface Place {
  readonly card: PivCard
  readonly daemon: Pcscd
  end(): Promise<void>
}

async function inReader(profile: 'omnikey3021' | 'yubikey4'): Promise<Place> {
  const bus = await startBus()
  const reader = new VirtualCcidReader(readerProfiles[profile])
  const card = createPivCard()
  reader.insert(card)
  bus.plug(reader)
  const daemon = await startPcscd({ bus })
  if (!(await isSeen(daemon))) throw new Error('pcscd does not see the card.')
  return {
    card,
    daemon,
    end: async () => {
      await daemon.end()
      await bus.close()
    },
  }
}

/** Two ports in a row that nobody uses now: vpcd has a second slot at the next one. */
async function freePorts(): Promise<number> {
  const listen = (port: number) =>
    new Promise<Server | undefined>((resolve) => {
      const server = createServer()
      server.once('error', () => resolve(undefined))
      server.listen(port, '127.0.0.1', () => resolve(server))
    })
  for (;;) {
    const first = await listen(0)
    if (first === undefined) throw new Error('There is no free port.')
    const { port } = first.address() as AddressInfo
    const second = await listen(port + 1)
    for (const server of [first, second])
      await new Promise<void>((resolve) => server?.close(() => resolve()) ?? resolve())
    if (second !== undefined) return port
  }
}

/** Whether the daemon has the card, which it has once a judge has seen it. */
async function isSeen(daemon: Pcscd): Promise<boolean> {
  for (const endMs = Date.now() + 10_000; Date.now() < endMs; )
    if ((await runInside(daemon, 'opensc-tool', '--atr')).code === 0) return true
  return false
}

/** Somebody else may take the ports before vpcd does: then it is tried once more at others. */
async function behindVpcd(): Promise<Place> {
  return (await tryVpcd()) ?? (await tryVpcd()) ?? Promise.reject(new Error('vpcd does not listen, twice.'))
}

async function tryVpcd(): Promise<Place | undefined> {
  const port = await freePorts()
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-vpcd-'))
  const lines = [
    'FRIENDLYNAME "Virtual PCD"',
    `DEVICENAME /dev/null:${port}`,
    `LIBPATH ${vpcdDriver}`,
    `CHANNELID ${port}`,
  ]
  writeFileSync(join(folder, 'vpcd'), `${lines.join('\n')}\n`)
  const daemon = await startPcscd({ readerConf: folder })
  const card = createPivCard()
  let connection: VpcdConnection | undefined
  // Its port opens some time after the daemon has begun.
  for (const endMs = Date.now() + 10_000; connection === undefined && Date.now() < endMs; ) {
    connection = await connectVpcd(card, { port }).catch(() => undefined)
    if (connection === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const end = async () => {
    await connection?.close()
    await daemon.end()
    rmSync(folder, { recursive: true, force: true })
  }
  if (connection !== undefined && (await isSeen(daemon))) return { card, daemon, end }
  await end()
  return undefined
}

interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

function runInside(daemon: Pcscd, program: string, ...args: readonly string[]): Promise<Said> {
  const inside = daemon.inside(program, ...args)
  return new Promise((resolve) => {
    execFile(inside.program, [...inside.args], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  'in a reader that takes short APDUs': () => inReader('omnikey3021'),
  'in a reader that takes extended APDUs': () => inReader('yubikey4'),
  'behind vpcd': behindVpcd,
}

describe.skipIf(missing !== undefined).each(Object.entries(places))('the PIV card %s', (_, make) => {
  let place: Place
  let folder: string
  const file = (name: string): string => join(folder, name)
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'webtoki-judge-'))
    place = await make()
    writeFileSync(file('message'), 'Dear reader,\n')
    if (!(await isSeen(place.daemon))) throw new Error('The card was not seen by OpenSC in 10 s.')
  })
  afterAll(async () => {
    await place?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (program: string, ...args: readonly string[]): Promise<Said> =>
    runInside(place.daemon, program, ...args)

  /** The whole of what a judge says, line by line; only the reader's own name differs from place to place. */
  async function says(transcript: string, program: string, ...args: readonly string[]): Promise<void> {
    const { code, out, err } = await run(program, ...args)
    const named = err.replace(/(?<=^Using reader with a card: ).*$/m, 'NAME')
    // Objects that the module numbers by its memory are numbered by nothing.
    const steady = out.replace(/(?<=^(?:Data|Profile) object )\d+$/gm, 'NUMBER')
    const said = [...steady.split('\n'), '--- errors', ...named.split('\n'), `--- code ${code}`]
    const path = join(transcripts, `${transcript}.txt`)
    if (process.env['WRITE_TRANSCRIPTS'] === 'yes') writeFileSync(path, said.join('\n'))
    expect(said).toEqual(readFileSync(path, 'utf8').split('\n'))
  }

  it('opensc-tool knows its ATR and its name', async () => {
    await says('opensc-atr', 'opensc-tool', '--atr')
    await says('opensc-name', 'opensc-tool', '--name')
  })

  it('pkcs15-tool shows its PINs, keys, certificates and data objects', () =>
    says('pkcs15-dump', 'pkcs15-tool', '--dump'))

  it('pkcs11-tool signs, verifies and decrypts with each key that it tests', () =>
    says('pkcs11-test', 'pkcs11-tool', '--login', '--pin', '123456', '--test'))

  it.each([
    { slot: '9A', id: '01', mechanism: 'SHA256-RSA-PKCS', hash: 'sha256' },
    { slot: '9C', id: '02', mechanism: 'ECDSA-SHA256', hash: 'sha256' },
    { slot: '9E', id: '04', mechanism: 'ECDSA-SHA384', hash: 'sha384' },
  ] as const)('OpenSC’s signature with $slot verifies in Node', async ({ slot, id, mechanism, hash }) => {
    const args = ['--login', '--pin', '123456', '--sign', '--id', id, '-m', mechanism]
    const files = ['--input-file', file('message'), '--output-file', file('signature')]
    await says(`pkcs11-sign-${slot}`, 'pkcs11-tool', ...args, '--signature-format', 'openssl', ...files)
    const key = createPublicKey({
      key: Buffer.from(place.card.publicKeyOf(slot) as Uint8Array),
      format: 'der',
      type: 'spki',
    })
    expect(verify(hash, readFileSync(file('message')), key, readFileSync(file('signature')))).toBe(true)
  })

  it('OpenSC decrypts with 9D what Node encrypted', async () => {
    const spki = Buffer.from(place.card.publicKeyOf('9D') as Uint8Array)
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    const secret = Buffer.from('a secret of some bytes')
    writeFileSync(file('encrypted'), publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, secret))
    const args = ['--login', '--pin', '123456', '--decrypt', '--id', '03', '-m', 'RSA-PKCS']
    const files = ['--input-file', file('encrypted'), '--output-file', file('plain')]
    await says('pkcs11-decrypt', 'pkcs11-tool', ...args, ...files)
    expect(readFileSync(file('plain'))).toEqual(secret)
  })

  it('a wrong PIN costs one try by each judge, and the right one brings all back', async () => {
    const login = (transcript: string, pin: string) =>
      says(transcript, 'pkcs11-tool', '--login', '--pin', pin, '--list-objects')
    await login('pkcs11-wrong-pin', '654321')
    expect(place.card.pinTriesLeft).toBe(2)
    await says('yubico-wrong-pin', 'yubico-piv-tool', '-r', '', '-a', 'verify-pin', '-P', '654321')
    expect(place.card.pinTriesLeft).toBe(1)
    await login('pkcs11-objects', '123456')
    expect(place.card.pinTriesLeft).toBe(3)
  })

  it('yubico-piv-tool tells its state, certificate by certificate', async () => {
    // While a PIN stands verified the empty VERIFY answers 9000, and the tool prints -1 for the tries.
    place.card.reset('warm')
    await says('yubico-status', 'yubico-piv-tool', '-r', '', '-a', 'status')
  })

  it('yubico-piv-tool verifies the PIN, reads a certificate and tests the keys with it', async () => {
    await says('yubico-verify-pin', 'yubico-piv-tool', '-r', '', '-a', 'verify-pin', '-P', '123456')
    for (const [slot, action] of [
      ['9a', 'test-signature'],
      ['9c', 'test-signature'],
      ['9e', 'test-signature'],
      ['9d', 'test-decipher'],
    ] as const) {
      await says(
        `yubico-certificate-${slot}`,
        'yubico-piv-tool',
        '-r',
        '',
        '-a',
        'read-certificate',
        '-s',
        slot,
      )
      const read = await run('yubico-piv-tool', '-r', '', '-a', 'read-certificate', '-s', slot)
      writeFileSync(file(`${slot}.pem`), read.out)
      const args = [
        '-r',
        '',
        '-a',
        'verify-pin',
        '-P',
        '123456',
        '-a',
        action,
        '-s',
        slot,
        '-i',
        file(`${slot}.pem`),
      ]
      await says(`yubico-${action}-${slot}`, 'yubico-piv-tool', ...args)
    }
  })
})
