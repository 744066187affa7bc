import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { notChecked, trustedBy, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Documents are not judged: ${missing}.`)

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

/** A self-signed certificate's detached signature over the letter, which OpenSSL accepts. */
function signed(...key: readonly string[]): { certificate: Uint8Array; signature: Uint8Array } {
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

// PKI.js, issue 120: European eID cards and CAs have brainpool curves, which WebCrypto lacks.
describe.skipIf(missing !== undefined)('a document signed on a curve that WebCrypto lacks', () => {
  it.each(['brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1', 'secp256k1'])(
    'is valid on %s, and false if it was changed',
    async (curve) => {
      const { certificate, signature } = signed('ec', '-pkeyopt', `ec_paramgen_curve:${curve}`)
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
    'and that has no arithmetic here, %s, is not told as false',
    async (curve) => {
      const { signature } = signed('ec', '-pkeyopt', `ec_paramgen_curve:${curve}`)
      const { valid, signers } = await verifyDetached(signature, letter, { trust: notChecked })
      expect(valid).toBe(false)
      expect(signers[0]).toMatchObject({ signatureValid: undefined, digestMatches: true })
    },
  )
})
