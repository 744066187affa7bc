import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { notChecked, trustedBy, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined)
  console.warn(`Signatures on rare curves are not compared with OpenSSL: ${missing}.`)

const letter = new TextEncoder().encode('letter')
let folder: string
const file = (name: string): string => join(folder, name)
const openssl = (...args: readonly string[]): void => {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
}
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-curves-'))
  writeFileSync(file('letter'), letter)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Signs the letter with OpenSSL and a self-signed certificate, and checks that OpenSSL accepts the signature. */
function signWithOpenssl(...key: readonly string[]): { certificate: Uint8Array; signature: Uint8Array } {
  const isMade = ['-new', '-x509', '-nodes', '-subj', '/CN=Brain', '-days', '3650']
  const usage = ['-addext', 'keyUsage=critical,digitalSignature']
  openssl('req', ...isMade, ...usage, '-newkey', ...key, '-keyout', file('key'), '-out', file('pem'))
  const of = ['-signer', file('pem'), '-inkey', file('key'), '-md', 'sha256']
  openssl('cms', '-sign', '-binary', '-in', file('letter'), '-outform', 'DER', '-out', file('p7s'), ...of)
  const against = ['-content', file('letter'), '-noverify', '-out', file('out')]
  openssl('cms', '-verify', '-binary', '-inform', 'DER', '-in', file('p7s'), ...against)
  openssl('x509', '-in', file('pem'), '-outform', 'DER', '-out', file('der'))
  const read = (name: string): Uint8Array => new Uint8Array(readFileSync(file(name)))
  return { certificate: read('der'), signature: read('p7s') }
}

// PKI.js, issue 120: European eID cards and CAs use brainpool curves, which WebCrypto lacks.
describe.skipIf(missing !== undefined)('a document signed on a curve that WebCrypto lacks', () => {
  it.each(['brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1', 'secp256k1'])(
    'is valid on %s, and invalid if it was changed',
    async (curve) => {
      const { certificate, signature } = signWithOpenssl('ec', '-pkeyopt', `ec_paramgen_curve:${curve}`)
      const trust = trustedBy([certificate])
      const [signer] = (await verifyDetached(signature, letter, { trust })).signers
      expect(signer).toMatchObject({ signatureValid: true, trust: 'trusted' })
      const changed = signature.slice()
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
      const [other] = (await verifyDetached(changed, letter, { trust: notChecked })).signers
      expect(other).toMatchObject({ signatureValid: false, digestMatches: true })
    },
  )

  it.each(['brainpoolP320r1', 'secp224r1'])(
    'is undecided, not invalid, on the unsupported curve %s',
    async (curve) => {
      const { signature } = signWithOpenssl('ec', '-pkeyopt', `ec_paramgen_curve:${curve}`)
      const { valid, signers } = await verifyDetached(signature, letter, { trust: notChecked })
      expect(valid).toBe(false)
      expect(signers[0]).toMatchObject({ signatureValid: undefined, digestMatches: true })
    },
  )
})
