/** The purposes for which a card's keys are offered, and signatures that are refused before a PIN is requested. */
import { CertificateUseError } from '@webtoki/crypto'
import { webcrypto } from 'node:crypto'
import { CKR, type PinRequest } from '@webtoki/cryptoki'
import {
  createLoginVerifier,
  memoryNonceStore,
  notChecked as revocationNotChecked,
} from '@webtoki/login/server'
import {
  createPivCard,
  type PivCardOptions,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import fc from 'fast-check'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CardCertificate, Webtoki } from 'webtoki'
import { signDocument, trustedBy, verifyDetached } from 'webtoki/documents'
import { type Issued, type IssueOptions, issue } from '../../trust/test/pki.ts'
import { qcStatements, qcTypes } from '../../trust/test/qc-statements.ts'

type PivSlot = '9A' | '9C' | '9D' | '9E'
const ids: Readonly<Record<PivSlot, number>> = { '9A': 1, '9C': 2, '9D': 3, '9E': 4 }
const purposes = {
  servers: '1.3.6.1.5.5.7.3.1',
  clients: '1.3.6.1.5.5.7.3.2',
  code: '1.3.6.1.5.5.7.3.3',
  mail: '1.3.6.1.5.5.7.3.4',
  documents: '1.3.6.1.5.5.7.3.36',
  pivCard: '2.16.840.1.101.3.6.8',
  any: '2.5.29.37.0',
  private: '1.3.6.1.4.1.99999.1',
} as const
const forPurposes = (...names: readonly (keyof typeof purposes)[]): Partial<IssueOptions> => ({
  extendedKeyUsage: names.map((name) => purposes[name]),
})

const origin = 'https://example.org'
const nonce = 'n'.repeat(44)
const letter = new Blob(['Dear reader,'])
const open: Webtoki[] = []
let ca: Issued
beforeAll(async () => {
  ca = await issue({ name: 'CA', isCa: true })
})
beforeEach(() => {
  vi.stubGlobal('location', { origin })
})
afterEach(async () => {
  vi.unstubAllGlobals()
  for (const webtoki of open.splice(0)) await webtoki.close()
})

/** A certificate for the key that a card has in a slot. */
async function certificateFor(slot: PivSlot, options: Partial<IssueOptions>): Promise<Uint8Array> {
  const card = createPivCard()
  await card.process(Uint8Array.of(0, 0xa4, 4, 0))
  const algorithm =
    slot === '9C' || slot === '9E'
      ? { name: 'ECDSA', namedCurve: slot === '9C' ? 'P-256' : 'P-384' }
      : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
  const spki = card.publicKeyOf(slot) as Uint8Array<ArrayBuffer>
  const publicKey = await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify'])
  const keys = { publicKey, privateKey: ca.keys.privateKey }
  return (await issue({ name: `Ada, ${slot}`, issuer: ca, keys, ...options })).der
}

function desk(options: PivCardOptions) {
  const card = createPivCard(options)
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const requests: PinRequest['purpose'][] = []
  const webtoki = new Webtoki({
    usb: virtualUsb([reader]),
    pin: async ({ purpose }) => {
      requests.push(purpose)
      return { pin: new TextEncoder().encode('123456') }
    },
  })
  open.push(webtoki)
  /** VERIFY with a PIN, and GENERAL AUTHENTICATE: parts of a chain too. */
  const used = () =>
    card.log.filter(({ ins, dataBytes }) => ins === 0x87 || (ins === 0x20 && dataBytes > 0)).length
  return { card, webtoki, requests, used }
}

const offered = async (webtoki: Webtoki, purpose: 'login' | 'signing'): Promise<(number | undefined)[]> =>
  (await webtoki.certificates(purpose)).map(({ id }) => id[0])
const unread = { size: 12, slice: () => expect.fail('The document is not read for a refusal.') }

describe('the card authentication key of a PIV card (9E), which signs without a PIN', () => {
  it.each([
    ['for the authentication of cards', forPurposes('pivCard')],
    ['without an extended key usage', {}],
    ['for clients', forPurposes('clients')],
    ['for mail', forPurposes('mail')],
    ['for any purpose', forPurposes('any')],
    ['of QcType esign', { extensions: [qcStatements({ types: ['esign'] })] }],
  ] as const)('is offered for nothing, with a certificate %s', async (_what, options) => {
    const der = await certificateFor('9E', options)
    const { webtoki, requests, used } = desk({ certificates: { '9E': der }, absentKeys: ['9A', '9C', '9D'] })
    expect([await offered(webtoki, 'login'), await offered(webtoki, 'signing')]).toEqual([[], []])
    const none = { rv: CKR.KEY_HANDLE_INVALID }
    await expect(signDocument(webtoki, unread)).rejects.toMatchObject(none)
    await expect(webtoki.login(nonce)).rejects.toMatchObject(none)
    expect([requests, used()]).toEqual([[], 0])
  })

  it('is refused if the page chooses it by itself', async () => {
    for (const options of [forPurposes('pivCard'), {}]) {
      const der = await certificateFor('9E', options)
      const { webtoki, requests, used } = desk({ certificates: { '9E': der } })
      const [other] = await webtoki.certificates('signing')
      const forged: CardCertificate = {
        ...(other as CardCertificate),
        id: Uint8Array.of(ids['9E']),
        der,
        purposes: ['login', 'signing'],
      }
      const refused = options.extendedKeyUsage
        ? { code: 'certificate/wrong-use', reason: 'wrong-extended-key-usage' }
        : { rv: CKR.KEY_FUNCTION_NOT_PERMITTED }
      await expect(signDocument(webtoki, unread, { certificate: forged })).rejects.toMatchObject(refused)
      await expect(webtoki.login(nonce, { certificate: forged })).rejects.toMatchObject(refused)
      expect([requests, used()]).toEqual([[], 0])
    }
  })
})

describe('a certificate that was chosen for another purpose', () => {
  it('for client authentication only signs no document, and no PIN or command is sent', async () => {
    const { webtoki, requests, used } = desk({})
    const [certificate] = await webtoki.certificates('login')
    const refused = signDocument(webtoki, unread, { certificate: certificate as CardCertificate })
    await expect(refused).rejects.toBeInstanceOf(CertificateUseError)
    await expect(refused).rejects.toMatchObject({
      code: 'certificate/wrong-use',
      purpose: 'signing',
      reason: 'wrong-extended-key-usage',
      message: expect.stringContaining('clientAuth') as string,
    })
    expect([requests, used()]).toEqual([[], 0])
  })

  it('for e-mail only does not log in, and no PIN or command is sent', async () => {
    const { webtoki, requests, used } = desk({})
    const [certificate] = await webtoki.certificates('signing')
    await expect(webtoki.login(nonce, { certificate: certificate as CardCertificate })).rejects.toMatchObject(
      {
        code: 'certificate/wrong-use',
        purpose: 'login',
        message: expect.stringContaining('emailProtection') as string,
      },
    )
    expect([requests, used()]).toEqual([[], 0])
  })
})

describe('the purposes for which certificates are offered', () => {
  const anyOptions: fc.Arbitrary<Partial<IssueOptions>> = fc.record(
    {
      keyUsage: fc.constantFrom(null, 0x80, 0x40, 0xc0, 0x88, 0x20),
      extendedKeyUsage: fc.uniqueArray(fc.constantFrom(...Object.values(purposes)), {
        minLength: 1,
        maxLength: 3,
      }),
      extensions: fc
        .record({
          compliance: fc.boolean(),
          types: fc.uniqueArray(fc.constantFrom(...(Object.keys(qcTypes) as (keyof typeof qcTypes)[]))),
        })
        .map((statements) => [qcStatements(statements)]),
    },
    { requiredKeys: [] },
  )

  it('match what signDocument signs, verifyDetached calls fitting and the server accepts', async () => {
    let [signed, letIn, refused] = [0, 0, 0]
    await fc.assert(
      fc.asyncProperty(anyOptions, async (options) => {
        const der = await certificateFor('9C', options)
        const { webtoki, requests, used } = desk({
          certificates: { '9C': der },
          absentKeys: ['9A', '9D', '9E'],
        })
        const before = used()
        const mayLogIn = (await offered(webtoki, 'login')).length > 0
        const maySign = (await offered(webtoki, 'signing')).length > 0
        const attempt = signDocument(webtoki, letter)
        if (maySign) {
          signed++
          expect(await verifyDetached(await attempt, letter, { trust: trustedBy([ca.der]) })).toMatchObject({
            valid: true,
            signers: [{ use: 'fitting' }],
          })
        } else await expect(attempt).rejects.toMatchObject({ rv: CKR.KEY_HANDLE_INVALID })
        const nonces = memoryNonceStore()
        const login = webtoki.login(await nonces.issue('session'))
        if (mayLogIn) {
          letIn++
          const verifier = createLoginVerifier({
            origin,
            anchors: [ca.der],
            revocation: revocationNotChecked,
            nonces,
          })
          await expect(verifier.verify(await login, 'session')).resolves.toHaveProperty('identity')
        } else await expect(login).rejects.toMatchObject({ rv: CKR.KEY_HANDLE_INVALID })
        if (!maySign && !mayLogIn) {
          refused++
          expect([requests, used() - before]).toEqual([[], 0])
        }
      }),
      { numRuns: 60, seed: 20261127 },
    )
    expect(Math.min(signed, letIn, refused)).toBeGreaterThan(5)
  }, 60_000)
})

describe('a document signed under an intermediate CA', () => {
  it('contains the chain that the page passes, up to the root', async () => {
    const between = await issue({ name: 'Issuing CA', issuer: ca, isCa: true })
    const der = await certificateFor('9C', { issuer: between })
    const signed = async (chain: readonly Uint8Array[]) => {
      const { webtoki } = desk({ certificates: { '9C': der }, absentKeys: ['9A', '9D', '9E'] })
      const signature = await signDocument(webtoki, letter, { chain })
      return (await verifyDetached(signature, letter, { trust: trustedBy([ca.der]) })).signers[0]
    }
    expect(await signed([])).toMatchObject({ signatureValid: true, trust: 'untrusted' })
    expect(await signed([between.der])).toMatchObject({
      indication: 'TOTAL-PASSED',
      path: [der, between.der, ca.der],
    })
  })

  it('is refused before the PIN if the signing time is outside the validity of the certificate', async () => {
    const der = await certificateFor('9C', { issuer: ca })
    const { webtoki, requests, used } = desk({ certificates: { '9C': der }, absentKeys: ['9A', '9D', '9E'] })
    const signingTime = new Date('2001-01-01T00:00:00Z')
    const refused = signDocument(webtoki, letter, { signingTime })
    await expect(refused).rejects.toMatchObject({ code: 'documents/outside-validity' })
    expect([requests, used()]).toEqual([[], 0])
  })
})
