import { CKA, type CkObject, type Slot } from '@webtoki/cryptoki'
import { createLoginVerifier, memoryNonceStore, notChecked } from '@webtoki/login/server'
import { describe, expect, it } from 'vitest'
import { tokenFor } from '../../login/src/browser/token.ts'
import { issue, type IssueOptions, softwareSigner } from '../../trust/test/pki.ts'
import real from '../../trust/test/vectors/certificates-in-use.json' with { type: 'json' }
import { describeCertificate } from '../src/card-certificate.ts'

const origin = 'https://example.org'
const clients = '1.3.6.1.5.5.7.3.2'

function onCard(der: Uint8Array, flags: { readonly sign?: unknown; readonly isPrivate?: unknown } = {}) {
  const values = new Map<unknown, unknown>([
    [CKA.VALUE, der],
    [CKA.ID, Uint8Array.of(1)],
    [CKA.LABEL, 'a certificate'],
  ])
  const certificate = { get: (attribute: unknown) => values.get(attribute) } as unknown as CkObject
  const { sign = true, isPrivate = true } = flags
  const key = { attributes: { [CKA.SIGN]: sign, [CKA.PRIVATE]: isPrivate } } as unknown as CkObject
  return describeCertificate({} as Slot, certificate, key)
}

describe('a certificate is offered for a login if and only if the server accepts it', () => {
  it.each([
    ['for digital signatures', ['login', 'signing'], {}],
    ['without a key usage', ['signing'], { keyUsage: null }],
    ['that binds', ['signing'], { keyUsage: 0x40 }],
    ['for clients alone', ['login'], { extendedKeyUsage: [clients] }],
    ['for clients and mail', ['login', 'signing'], { extendedKeyUsage: [clients, '1.3.6.1.5.5.7.3.4'] }],
    [
      'for clients and logon by smartcard',
      ['login'],
      { extendedKeyUsage: [clients, '1.3.6.1.4.1.311.20.2.2'] },
    ],
    ['for any purpose', ['signing'], { extendedKeyUsage: ['2.5.29.37.0'] }],
  ] as const)('%s: %j', async (_what, purposes, options: Partial<IssueOptions>) => {
    const ca = await issue({ name: 'CA', isCa: true })
    const issued = await issue({ name: 'Ada', issuer: ca, ...options })
    expect(onCard(issued.der)?.purposes).toEqual(purposes)
    const nonces = memoryNonceStore()
    const verifier = createLoginVerifier({ origin, anchors: [ca.der], revocation: notChecked, nonces })
    const token = await tokenFor(origin, softwareSigner(issued, 'ES256'), await nonces.issue('one'))
    const isTaken = await verifier.verify(JSON.stringify(token), 'one').then(
      () => true,
      () => false,
    )
    expect(isTaken).toBe((purposes as readonly string[]).includes('login'))
  })

  it.each([undefined, null, false, 0, 1, '', 'yes', {}])(
    'is not offered if its key does not say that it signs, and asks for a PIN, but %j',
    async (answer) => {
      const { der } = await issue({ name: 'Ada' })
      expect(onCard(der)).toBeDefined()
      expect(onCard(der, { sign: answer ?? null })).toBeUndefined()
      expect(onCard(der, { isPrivate: answer ?? null })).toBeUndefined()
    },
  )

  it.each(real.map((each) => [each.name, each] as const))(
    'that is real is offered as its issuer means it: %s',
    (_name, each) => {
      const offered = onCard(new Uint8Array(Buffer.from(each.derBase64, 'base64')))?.purposes ?? []
      const meant = (['login', 'signing'] as const).filter((purpose) => each[purpose] === 'fitting')
      expect(offered).toEqual(meant)
    },
  )

  it('a certificate for encryption is not offered', async () => {
    expect(onCard((await issue({ name: 'Ada', keyUsage: 0x20 })).der)).toBeUndefined()
  })
})
