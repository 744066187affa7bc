/**
 * Checks the virtual PIV card with OpenSC and yubico-piv-tool: in virtual readers with pcscd and libccid, and with
 * vpcd.
 */
import { constants, createPublicKey, publicEncrypt, verify } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPivCard, type PivCard } from '../src/index.ts'
import {
  behindVpcd,
  inReader,
  isSeen,
  type Place,
  runInside,
  type ProgramResult,
  whatPlacesLack,
} from './places.ts'

const missing = whatPlacesLack(['pkcs11-tool', 'pkcs15-tool', 'yubico-piv-tool'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The PIV card is not checked with OpenSC and yubico-piv-tool: ${missing}.`)
}

/** Operations that the tests skip, with the reason. */
const skipped: readonly { readonly what: string; readonly reason: string }[] = [
  { what: 'yubico-piv-tool 2.2.0 selfsign-certificate', reason: 'it fails with real cards too' },
  { what: 'piv-tool -G of OpenSC 0.23', reason: 'it fails with real cards too' },
]
for (const { what, reason } of skipped) console.info(`Not checked: ${what} (${reason}).`)

const transcripts = join(import.meta.dirname, 'vectors/judges')

const places: Readonly<Record<string, () => Promise<Place<PivCard>>>> = {
  'in a reader at short APDU level': () => inReader(createPivCard(), 'omnikey3021'),
  'in a reader at extended APDU level': () => inReader(createPivCard(), 'yubikey4'),
  'connected to vpcd': () => behindVpcd(createPivCard),
}

describe.skipIf(missing !== undefined).each(Object.entries(places))('the PIV card %s', (_, make) => {
  let place: Place<PivCard>
  let folder: string
  const file = (name: string): string => join(folder, name)
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'webtoki-judge-'))
    place = await make()
    writeFileSync(file('message'), 'Dear reader,\n')
    if (!(await isSeen(place.daemon))) throw new Error('OpenSC did not find the card in 10 s.')
  })
  afterAll(async () => {
    await place?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (program: string, ...args: readonly string[]): Promise<ProgramResult> =>
    runInside(place.daemon, program, ...args)

  /**
   * Expects the complete output of a program, line by line, as in the transcript. Only the name of the reader may
   * differ.
   */
  async function says(transcript: string, program: string, ...args: readonly string[]): Promise<void> {
    const { code, out, err } = await run(program, ...args)
    const stableErr = err.replace(/(?<=^Using reader with a card: ).*$/m, 'NAME')
    // The module numbers these objects by memory addresses, so the numbers are replaced.
    const stableOut = out.replace(/(?<=^(?:Data|Profile) object )\d+$/gm, 'NUMBER')
    const output = [...stableOut.split('\n'), '--- errors', ...stableErr.split('\n'), `--- code ${code}`]
    const path = join(transcripts, `${transcript}.txt`)
    if (process.env['WRITE_TRANSCRIPTS'] === 'yes') writeFileSync(path, output.join('\n'))
    expect(output).toEqual(readFileSync(path, 'utf8').split('\n'))
  }

  it('opensc-tool prints its ATR and its name', async () => {
    await says('opensc-atr', 'opensc-tool', '--atr')
    await says('opensc-name', 'opensc-tool', '--name')
  })

  it('pkcs15-tool lists its PINs, keys, certificates and data objects', () =>
    says('pkcs15-dump', 'pkcs15-tool', '--dump'))

  it('pkcs11-tool --test signs, verifies and decrypts with its keys', () =>
    says('pkcs11-test', 'pkcs11-tool', '--login', '--pin', '123456', '--test'))

  it.each([
    { slot: '9A', id: '01', mechanism: 'SHA256-RSA-PKCS', hash: 'sha256' },
    { slot: '9C', id: '02', mechanism: 'ECDSA-SHA256', hash: 'sha256' },
    { slot: '9E', id: '04', mechanism: 'ECDSA-SHA384', hash: 'sha384' },
  ] as const)(
    'Node verifies a signature that OpenSC makes with the key in $slot',
    async ({ slot, id, mechanism, hash }) => {
      const args = ['--login', '--pin', '123456', '--sign', '--id', id, '-m', mechanism]
      const files = ['--input-file', file('message'), '--output-file', file('signature')]
      await says(`pkcs11-sign-${slot}`, 'pkcs11-tool', ...args, '--signature-format', 'openssl', ...files)
      const key = createPublicKey({
        key: Buffer.from(place.card.publicKeyOf(slot) as Uint8Array),
        format: 'der',
        type: 'spki',
      })
      expect(verify(hash, readFileSync(file('message')), key, readFileSync(file('signature')))).toBe(true)
    },
  )

  it('OpenSC decrypts with the key in 9D what Node encrypted', async () => {
    const spki = Buffer.from(place.card.publicKeyOf('9D') as Uint8Array)
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    const secret = Buffer.from('a secret of some bytes')
    writeFileSync(file('encrypted'), publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, secret))
    const args = ['--login', '--pin', '123456', '--decrypt', '--id', '03', '-m', 'RSA-PKCS']
    const files = ['--input-file', file('encrypted'), '--output-file', file('plain')]
    await says('pkcs11-decrypt', 'pkcs11-tool', ...args, ...files)
    expect(readFileSync(file('plain'))).toEqual(secret)
  })

  it('a wrong PIN from either program uses one attempt, and the right PIN restores all attempts', async () => {
    const login = (transcript: string, pin: string) =>
      says(transcript, 'pkcs11-tool', '--login', '--pin', pin, '--list-objects')
    await login('pkcs11-wrong-pin', '654321')
    expect(place.card.pinTriesLeft).toBe(2)
    await says('yubico-wrong-pin', 'yubico-piv-tool', '-r', '', '-a', 'verify-pin', '-P', '654321')
    expect(place.card.pinTriesLeft).toBe(1)
    await login('pkcs11-objects', '123456')
    expect(place.card.pinTriesLeft).toBe(3)
  })

  it('yubico-piv-tool prints its status with all certificates', async () => {
    // While the PIN is verified, VERIFY without data returns 9000, and the tool prints -1 for the attempts.
    place.card.reset('warm')
    await says('yubico-status', 'yubico-piv-tool', '-r', '', '-a', 'status')
  })

  it('yubico-piv-tool verifies the PIN, reads the certificates and tests the keys with them', async () => {
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
