import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignerEngine } from '@webtoki/trust/engine'
import { ObjectIdentifier, OctetString } from 'asn1js'
import {
  Attribute,
  Certificate,
  CertificationRequest,
  ContentInfo,
  EncapsulatedContentInfo,
  IssuerAndSerialNumber,
  SignedAndUnsignedAttributes,
  SignedData,
  SignerInfo,
} from 'pkijs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issue, softwareSigner } from './pki.ts'

const DATA = '1.2.840.113549.1.7.1'
const letter = Uint8Array.from(Buffer.from('Dear reader,\nthis is to be signed.\n'))
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-engine-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const openssl = (...args: readonly string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

describe.each(['ES256', 'ES384', 'ES512', 'RS256', 'PS256'] as const)(
  'pkijs with a SignerEngine of %s',
  (algorithm) => {
    it('signs CMS that OpenSSL verifies for the document and refuses for another', async () => {
      const root = await issue({ name: 'Root', isCa: true })
      const person = await issue({ name: 'Ada Lovelace', issuer: root, algorithm })
      const engine = new SignerEngine(softwareSigner(person, algorithm))
      const certificate = Certificate.fromBER(person.der.slice())
      const digest = await crypto.subtle.digest(engine.hash, letter.slice())
      const signed = new SignedData({
        version: 1,
        encapContentInfo: new EncapsulatedContentInfo({ eContentType: DATA }),
        certificates: [certificate],
        signerInfos: [
          new SignerInfo({
            version: 1,
            sid: new IssuerAndSerialNumber({
              issuer: certificate.issuer,
              serialNumber: certificate.serialNumber,
            }),
            signedAttrs: new SignedAndUnsignedAttributes({
              type: 0,
              attributes: [
                new Attribute({
                  type: '1.2.840.113549.1.9.3',
                  values: [new ObjectIdentifier({ value: DATA })],
                }),
                new Attribute({
                  type: '1.2.840.113549.1.9.4',
                  values: [new OctetString({ valueHex: digest })],
                }),
              ],
            }),
          }),
        ],
      })
      await signed.sign(engine.privateKey, 0, engine.hash, letter, engine)
      const content = new ContentInfo({ contentType: '1.2.840.113549.1.7.2', content: signed.toSchema(true) })
      const verify = (document: Uint8Array) =>
        openssl(
          ...['cms', '-verify', '-binary', '-inform', 'DER', '-purpose', 'any', '-out', join(folder, 'out')],
          ...['-in', file('sig.p7s', new Uint8Array(content.toSchema().toBER()))],
          ...['-content', file('content', document), '-CAfile', file('root.pem', pem(root.der))],
        )
      verify(letter)
      expect(() => verify(letter.slice(1))).toThrow('Command failed')
    })

    it('signs a certificate request that OpenSSL verifies', async () => {
      const person = await issue({ name: 'Ada Lovelace', algorithm })
      const engine = new SignerEngine(softwareSigner(person, algorithm))
      const request = new CertificationRequest()
      request.subject = person.certificate.subject
      request.subjectPublicKeyInfo = person.certificate.subjectPublicKeyInfo
      await request.sign(engine.privateKey, engine.hash, engine)
      const path = file('request.der', new Uint8Array(request.toSchema().toBER()))
      expect(() => openssl('req', '-verify', '-inform', 'DER', '-in', path, '-noout')).not.toThrow()
    })
  },
)

describe('SignerEngine', () => {
  it('refuses another hash and another key before the signer is called', async () => {
    let signatures = 0
    const person = await issue({ name: 'Ada Lovelace' })
    const signer = softwareSigner(person, 'ES256')
    const counting = { ...signer, sign: (bytes: Uint8Array) => (signatures++, signer.sign(bytes)) }
    const engine = new SignerEngine(counting)
    const request = new CertificationRequest()
    request.subject = person.certificate.subject
    request.subjectPublicKeyInfo = person.certificate.subjectPublicKeyInfo
    await expect(request.sign(engine.privateKey, 'SHA-512', engine)).rejects.toThrow(
      /^`algorithm.hash` has to be SHA-256/,
    )
    const other = new SignerEngine(signer).privateKey
    await expect(request.sign(other, engine.hash, engine)).rejects.toThrow(
      /^`key` has to be the privateKey of this engine/,
    )
    expect(signatures).toBe(0)
  })
})

function pem(der: Uint8Array): Uint8Array {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`)
}
