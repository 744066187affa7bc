/** The signer's name for certificates made by OpenSSL: without a common name, or with misleading characters. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SignerResult, notChecked, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Names of signers are not compared with OpenSSL: ${missing}.`)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-holder-'))
  writeFileSync(join(folder, 'letter'), 'letter')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function openssl(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

async function signer(subject: string, ...more: readonly string[]): Promise<SignerResult> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem']
  openssl(
    'req',
    '-new',
    '-x509',
    ...key,
    '-utf8',
    '-out',
    'own.pem',
    '-subj',
    subject,
    '-days',
    '365',
    ...more,
  )
  const signed = ['-sign', '-binary', '-in', 'letter', '-signer', 'own.pem', '-inkey', 'key.pem']
  openssl('cms', ...signed, '-md', 'sha256', '-outform', 'DER', '-out', 'letter.p7s')
  const signature = new Uint8Array(readFileSync(join(folder, 'letter.p7s')))
  const letter = new TextEncoder().encode('letter')
  const [found] = (await verifyDetached(signature, letter, { trust: notChecked })).signers
  expect(found?.signatureValid).toBe(true)
  return found ?? expect.fail()
}

describe.skipIf(missing !== undefined)('the subject of a signer is', () => {
  it.each([
    ['the common name', '/C=EE/GN=Ada/SN=Example/CN=Ada E.', 'Ada E.'],
    ['given name and surname', '/C=EE/GN=Ada/SN=Example/serialNumber=PNOEE-1', 'Ada Example'],
    ['an e-mail address', '/emailAddress=ada@example.org', 'ada@example.org'],
    ['an organization', '/C=EE/O=Example', 'Example'],
  ])('%s', async (_what, subject, name) => {
    expect((await signer(subject)).subject).toBe(name)
  })

  it('the e-mail address of subjectAltName if the subject is empty', async () => {
    const found = await signer('/', '-addext', 'subjectAltName=critical,email:ada@example.org')
    expect(found.subject).toBe('ada@example.org')
  })

  it('the common name with control characters escaped', async () => {
    expect((await signer('/CN=Ada\u0001\nEve')).subject).toBe(String.raw`Ada\01\0AEve`)
  })
})

describe.skipIf(missing !== undefined)(
  'the issuer’s full name is escaped as by OpenSSL (RFC 4514, 2.4):',
  () => {
    it.each([
      ['a comma', '/C=EE/O=Example, Inc., CN=Eve/CN=Ada'],
      ['plus, semicolon, angle brackets and quotes', String.raw`/O=A\+B; <C> "D"/CN=Ada`],
      ['a backslash before a comma', String.raw`/O=A\\, B/CN=Ada`],
      ['a leading number sign and a leading space', '/O=#1/OU= two/CN=Ada'],
      ['a number sign, a space and an equals sign within', '/O=a #1=b/CN=Ada'],
      ['a trailing space, and a single space', '/O=one /OU= /CN=Ada'],
      ['letters of other scripts', '/O=Näide/CN=Ада'],
    ])('%s', async (_what, subject) => {
      const { issuer, subject: holder } = await signer(subject)
      const options = 'esc_2253,esc_ctrl,utf8,sname,sep_comma_plus_space'
      const { stdout } = spawnSync(
        'openssl',
        ['x509', '-in', 'own.pem', '-noout', '-issuer', '-nameopt', options],
        {
          cwd: folder,
          encoding: 'utf8',
        },
      )
      expect(`issuer=${issuer}`).toBe(stdout.replace(/\n$/, ''))
      expect(holder).toMatch(/^(Ada|Ада)$/)
    })
  },
)
