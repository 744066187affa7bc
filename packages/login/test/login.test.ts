import { readCertificate } from '@webtoki/crypto'
import { createHash } from 'node:crypto'
import { createLoginToken } from '@webtoki/login/browser'
import {
  createLoginVerifier,
  LoginError,
  type LoginReason,
  type LoginVerifierOptions,
  memoryNonceStore,
  type NonceStore,
  notChecked,
  type RevocationCheck,
} from '@webtoki/login/server'
import type { SignatureAlgorithm, Signer } from '@webtoki/trust'
import fc from 'fast-check'
import { Extension } from 'pkijs'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { tokenFor } from '../src/browser/token.ts'
import { verifyStatement } from '../src/server/signature.ts'
import { readToken } from '../src/server/token.ts'
import { statementOf } from '../src/statement.ts'
import {
  der,
  type Issued,
  type IssueOptions,
  issue,
  reissue,
  softwareSigner,
  text,
} from '../../trust/test/pki.ts'
import webEid from './vectors/web-eid-tokens.json' with { type: 'json' }

const origin = 'https://example.org'
const now = new Date('2026-11-24T12:00:00Z')
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))

afterEach(() => {
  vi.unstubAllGlobals()
})

let ca: Issued
let other: Issued
let person: Issued
beforeAll(async () => {
  ca = await issue({ name: 'Test CA', isCa: true })
  other = await issue({ name: 'Other CA', isCa: true })
  person = await issue({ name: 'Ada Lovelace', issuer: ca })
})

/** A certificate under whose RSA key anybody signs: the padded message is its own signature if the exponent is 1. */
async function forged(exponent: Uint8Array): Promise<{ readonly issued: Issued; readonly signer: Signer }> {
  const modulus = new Uint8Array(256).fill(0xff)
  const key = der(0x30, der(0x02, [0], modulus), der(0x02, exponent))
  const algorithm = der(0x30, [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0])
  const issued = await reissue(person, ca, { publicKeyInfo: der(0x30, algorithm, der(0x03, [0], key)) })
  const sha256 = [0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0]
  const sign = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const digest = createHash('sha256').update(bytes).digest()
    const info = der(0x30, sha256, der(0x04, digest))
    return Uint8Array.of(0, 1, ...new Uint8Array(253 - info.length).fill(0xff), 0, ...info)
  }
  return { issued, signer: { certificate: issued.der, chain: [], algorithm: 'RS256', sign } }
}

/** Has the one nonce, as often as it is wanted. */
const storeOf = (nonce: string): NonceStore => ({
  issue: async () => nonce,
  issued: async () => [nonce],
  take: async () => true,
})

function verifierWith(options: Partial<LoginVerifierOptions> = {}) {
  const nonces = memoryNonceStore(() => now.getTime())
  const verifier = createLoginVerifier({
    origin,
    anchors: [ca.der],
    revocation: notChecked,
    nonces,
    now: () => now,
    ...options,
  })
  return { nonces, verifier }
}

async function logIn(
  issued: Issued = person,
  algorithm: SignatureAlgorithm = 'ES256',
  options: Partial<LoginVerifierOptions> = {},
  change: (token: Record<string, unknown>) => unknown = (token) => token,
  at: string = origin,
) {
  const { nonces, verifier } = verifierWith(options)
  const nonce = await nonces.issue('session')
  const token = await tokenFor(at, softwareSigner(issued, algorithm), nonce)
  return verifier.verify(JSON.stringify(change({ ...token })), 'session')
}

const reason = (word: LoginReason) => expect.objectContaining({ code: `login/${word}`, reason: word })

describe('a login', () => {
  it.each(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const)(
    'by %s ends in a verified identity',
    async (algorithm) => {
      const issued = await issue({ name: 'Ada Lovelace', issuer: ca, algorithm })
      const { identity, path } = await logIn(issued, algorithm)
      expect(identity).toMatchObject({ commonName: 'Ada Lovelace', country: 'EE', issuer: 'Test CA' })
      expect(identity.fingerprint).toMatch(/^[0-9a-f]{64}$/)
      expect(path.map((der) => der.length)).toEqual([issued.der.length, ca.der.length])
    },
  )

  it('through an intermediate CA, and with the issuing CA pinned', async () => {
    const between = await issue({ name: 'Between', issuer: ca, isCa: true, pathLength: 0 })
    const issued = await issue({ name: 'Ada', issuer: between })
    await expect(logIn(issued, 'ES256', { intermediates: [between.der] })).resolves.toBeDefined()
    await expect(logIn(issued, 'ES256', { anchors: [between.der] })).resolves.toBeDefined()
    await expect(logIn(issued)).rejects.toEqual(reason('untrusted'))
  })

  it.each([
    ['servers alone', '1.3.6.1.5.5.7.3.1', 'refused'],
    ['clients', '1.3.6.1.5.5.7.3.2', 'taken'],
    ['any purpose', '2.5.29.37.0', 'taken'],
  ] as const)('through an intermediate CA for %s (%s) is %s', async (_what, purpose, expected) => {
    const between = await issue({ name: 'Between', issuer: ca, isCa: true, extendedKeyUsage: [purpose] })
    const issued = await issue({ name: 'Ada', issuer: between })
    const outcome = logIn(issued, 'ES256', { intermediates: [between.der] })
    if (expected === 'taken') await expect(outcome).resolves.toBeDefined()
    else await expect(outcome).rejects.toEqual(reason('extended-key-usage'))
    // A site that pins the CA itself has said what it trusts it for.
    await expect(logIn(issued, 'ES256', { anchors: [between.der] })).resolves.toBeDefined()
  })
})

describe('an issuer', () => {
  it('whose purposes cannot be read issues for none', async () => {
    const between = await issue({
      name: 'Between',
      issuer: ca,
      isCa: true,
      extensions: [unreadable('2.5.29.37')],
    })
    const outcome = logIn(await issue({ name: 'Ada', issuer: between }), 'ES256', {
      intermediates: [between.der],
    })
    await expect(outcome).rejects.toEqual(reason('extended-key-usage'))
  })
})

describe('a token is refused', () => {
  const cases: readonly (readonly [string, LoginReason, (token: Record<string, unknown>) => unknown])[] = [
    ['of another format', 'format', (token) => ({ ...token, format: 'web-eid:2.0' })],
    ['without a format', 'format', (token) => ({ ...token, format: undefined })],
    ['of an unknown algorithm', 'algorithm', (token) => ({ ...token, algorithm: 'none' })],
    ['of an algorithm that its key is not for', 'signature', (token) => ({ ...token, algorithm: 'ES384' })],
    [
      'of an inherited property as algorithm',
      'algorithm',
      (token) => ({ ...token, algorithm: 'constructor' }),
    ],
    ['without a certificate', 'format', (token) => ({ ...token, unverifiedCertificate: undefined })],
    [
      'with bytes for a certificate',
      'certificate-malformed',
      (token) => ({ ...token, unverifiedCertificate: 'AAAA' }),
    ],
    [
      'with a signature changed',
      'signature',
      (token) => ({ ...token, signature: changed(token['signature']) }),
    ],
    ['with no signature', 'format', (token) => ({ ...token, signature: '' })],
    ['with a signature that is no base64', 'format', (token) => ({ ...token, signature: '!!!!' })],
    ['that is a list', 'format', (token) => [token]],
    ['of a format with more behind it', 'format', (token) => ({ ...token, format: 'web-eid:1.0beta' })],
    ['with base64 that is cut', 'format', (token) => ({ ...token, signature: 'AAAAA' })],
    ['with base64 of two texts for one value', 'format', (token) => ({ ...token, signature: 'AAB=' })],
    ['longer than a token could be', 'format', (token) => ({ ...token, more: 'x'.repeat(10_000) })],
  ]
  it.each(cases)('%s: %s', async (_what, expected, change) => {
    await expect(logIn(person, 'ES256', {}, change)).rejects.toEqual(reason(expected))
  })

  it('that is null, or a number, however long it is written', () => {
    for (const text of ['null', '1']) expect(() => readToken(text.padEnd(200))).toThrow(LoginError)
  })

  it('made for another origin', async () => {
    await expect(logIn(person, 'ES256', {}, undefined, 'https://evil.example')).rejects.toEqual(
      reason('signature'),
    )
  })

  it('a second time, and for another session', async () => {
    const { nonces, verifier } = verifierWith()
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    await expect(verifier.verify(token, 'another')).rejects.toEqual(reason('nonce-missing'))
    await verifier.verify(token, 'session')
    await expect(verifier.verify(token, 'session')).rejects.toEqual(reason('nonce-missing'))
    await nonces.issue('session')
    await expect(verifier.verify(token, 'session')).rejects.toEqual(reason('signature'))
  })

  it('after five minutes', async () => {
    let time = 0
    const nonces = memoryNonceStore(() => time)
    const { verifier } = verifierWith({ nonces })
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    time = 5 * 60_000 + 1
    await expect(verifier.verify(token, 'session')).rejects.toEqual(reason('nonce-missing'))
  })

  it('a second time, though the first one failed after its signature was found right', async () => {
    const answers = ['unknown', 'good'] as const
    let asked = 0
    const { nonces, verifier } = verifierWith({ revocation: async () => answers[asked++] ?? 'good' })
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    await expect(verifier.verify(token, 'session')).rejects.toEqual(reason('revocation-unknown'))
    await expect(verifier.verify(token, 'session')).rejects.toEqual(reason('nonce-missing'))
    expect(asked).toBe(1)
  })

  it('by all but one of those who send it at once', async () => {
    const { nonces, verifier } = verifierWith()
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    const all = await Promise.allSettled([1, 2, 3].map(() => verifier.verify(token, 'session')))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('whose signature is another one’s before anybody is asked about revocation', async () => {
    const revocation = vi.fn<RevocationCheck>(async () => 'good')
    const { nonces, verifier } = verifierWith({ revocation })
    await nonces.issue('session')
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), 'n'.repeat(44))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toEqual(reason('signature'))
    expect(revocation).not.toHaveBeenCalled()
  })

  const certificates: readonly (readonly [string, LoginReason, IssueOptions])[] = [
    ['expired', 'expired', { name: 'Ada', notAfter: new Date('2026-11-01T00:00:00Z') }],
    ['not valid yet', 'not-yet-valid', { name: 'Ada', notBefore: new Date('2027-01-01T00:00:00Z') }],
    ['for signatures that bind (nonRepudiation) alone', 'key-usage', { name: 'Ada', keyUsage: 0x40 }],
    ['without a key usage', 'key-usage', { name: 'Ada', keyUsage: null }],
    ['for servers', 'extended-key-usage', { name: 'Ada', extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }],
    [
      'for purposes that cannot be read',
      'extended-key-usage',
      { name: 'Ada', extensions: [unreadable('2.5.29.37')] },
    ],
    ['under policies that cannot be read', 'policy', { name: 'Ada', extensions: [unreadable('2.5.29.32')] }],
    ['with an extension that nobody knows', 'untrusted', { name: 'Ada', unknownCritical: true }],
  ]
  it.each(certificates)('whose certificate is %s: %s', async (_what, expected, options) => {
    await expect(logIn(await issue({ ...options, issuer: ca }))).rejects.toEqual(reason(expected))
  })

  it('whose certificate leads elsewhere, is its own issuer, or was issued by one who may not', async () => {
    await expect(logIn(await issue({ name: 'Ada', issuer: other }))).rejects.toEqual(reason('untrusted'))
    await expect(logIn(await issue({ name: 'Ada' }))).rejects.toEqual(reason('untrusted'))
    const noCa = await issue({ name: 'Bob', issuer: ca })
    const issued = await issue({ name: 'Ada', issuer: noCa })
    await expect(logIn(issued, 'ES256', { intermediates: [noCa.der] })).rejects.toEqual(reason('untrusted'))
    const impostor = await issue({ name: 'Test CA', isCa: true })
    await expect(logIn(await issue({ name: 'Ada', issuer: impostor }))).rejects.toEqual(reason('untrusted'))
    const tooLong = await issue({ name: 'Short', issuer: ca, isCa: true, pathLength: 0 })
    const below = await issue({ name: 'Below', issuer: tooLong, isCa: true })
    const leaf = await issue({ name: 'Ada', issuer: below })
    const intermediates = [tooLong.der, below.der]
    await expect(logIn(leaf, 'ES256', { intermediates })).rejects.toEqual(reason('untrusted'))
  })

  it('whose certificate is weak, or whose issuer has expired, each with a word of its own', async () => {
    const rsaCa = await issue({ name: 'RSA CA', isCa: true, algorithm: 'RS256' })
    const anchors = [rsaCa.der]
    const overSha1 = await issue({ name: 'Ada', issuer: ca, hash: 'SHA-1' })
    await expect(logIn(overSha1)).rejects.toEqual(reason('weak-hash'))
    const short = await issue({ name: 'Ada', issuer: rsaCa, algorithm: 'RS256', rsaBits: 1024 })
    await expect(logIn(short, 'RS256', { anchors })).rejects.toEqual(reason('weak-key'))
    const old = await issue({ name: 'Old CA', isCa: true, notAfter: new Date('2026-11-01T00:00:00Z') })
    const issued = await issue({ name: 'Ada', issuer: old })
    await expect(logIn(issued, 'ES256', { anchors: [old.der] })).rejects.toEqual(reason('untrusted'))
  })

  it.each([
    ['1', Uint8Array.of(1)],
    ['2', Uint8Array.of(2)],
    ['65536', Uint8Array.of(1, 0, 0)],
  ])('forged without a key, by a certificate with RSA exponent %s', async (_what, exponent) => {
    const { signer, issued } = await forged(exponent)
    const { nonces, verifier } = verifierWith()
    const token = await tokenFor(origin, signer, await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toEqual(reason('weak-key'))
    const statement = await statementOf('RS256', origin, 'nonce')
    const signature = await signer.sign(statement)
    const { publicKeyInfo } = readCertificate(issued.der)
    expect(await verifyStatement('RS256', publicKeyInfo, statement, signature)).toBe('unsupported')
  })

  it('whose certificate’s times are written in an unusual form, or are no times', async () => {
    const times = (from: string): Uint8Array =>
      der(0x30, der(0x17, text(from)), der(0x17, text('360101000000Z')))
    for (const from of ['2612150000Z', '261301000000Z', '260101000000+0100', 'notatime']) {
      const issued = await reissue(person, ca, { validity: times(from) })
      await expect(logIn(issued)).rejects.toEqual(reason('certificate-malformed'))
    }
    await expect(logIn(await reissue(person, ca, { validity: times('261215000000Z') }))).rejects.toEqual(
      reason('not-yet-valid'),
    )
    await expect(
      logIn(await reissue(person, ca, { validity: times('260101000000Z') })),
    ).resolves.toBeDefined()
  })

  it('whose CA is for other names, marked critical or not', async () => {
    const other = der(0xa4, der(0x30, der(0x31, der(0x30, [0x06, 3, 0x55, 4, 10], der(0x0c, text('A'))))))
    for (const critical of [false, true]) {
      const extnValue = Uint8Array.from(der(0x30, der(0xa0, der(0x30, other)))).buffer
      const between = await issue({
        name: 'Between',
        issuer: ca,
        isCa: true,
        extensions: [new Extension({ extnID: '2.5.29.30', critical, extnValue })],
      })
      const issued = await issue({ name: 'Ada', issuer: between })
      const outcome = logIn(issued, 'ES256', { intermediates: [between.der] })
      await expect(outcome).rejects.toMatchObject({
        reason: 'untrusted',
        cause: { reason: 'name-constraints' },
      })
    }
  })

  it('whose certificate is revoked, or nobody can say', async () => {
    await expect(logIn(person, 'ES256', { revocation: async () => 'revoked' })).rejects.toEqual(
      reason('revoked'),
    )
    const down = new Error('no network')
    const failing = () => Promise.reject(down)
    const throwing = () => {
      throw down
    }
    for (const revocation of [failing, throwing]) {
      const refused = await logIn(person, 'ES256', { revocation }).catch((error: unknown) => error)
      expect(refused).toMatchObject({ reason: 'revocation-unknown' })
      expect(refused).toHaveProperty('cause', down)
    }
    const strange = async () => 'maybe' as 'good'
    await expect(logIn(person, 'ES256', { revocation: strange })).rejects.toEqual(
      reason('revocation-unknown'),
    )
    const heard: number[] = []
    const good = async (path: readonly Uint8Array[]) => (heard.push(path.length), 'good' as const)
    await expect(logIn(person, 'ES256', { revocation: good })).resolves.toBeDefined()
    // The issuer's certificate too: whoever asks needs it.
    expect(heard).toEqual([2])
  })

  it('at a moment that is none, with the error of whoever handed it in', async () => {
    await expect(logIn(person, 'ES256', { now: () => new Date('soon') })).rejects.toMatchObject({
      argument: 'now',
    })
  })

  /** A token, and a verifier that takes it again and again. */
  async function patient() {
    const nonce = await memoryNonceStore().issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    const { verifier } = verifierWith({ nonces: storeOf(nonce) })
    return { token, verifier }
  }

  it.each(['A', 'z', '0', '"', '{', '='])(
    'or accepted as sent: with %j at any position it is told by a typed error',
    async (character) => {
      const { token, verifier } = await patient()
      await expect(verifier.verify(token, 'session')).resolves.toBeDefined()
      const accepted: number[] = []
      for (let at = 0; at < token.length; at++) {
        const mutated = token.slice(0, at) + character + token.slice(at + 1)
        if (JSON.stringify(read(mutated)) === JSON.stringify(read(token))) continue
        const outcome: unknown = await verifier.verify(mutated, 'session').catch((error: unknown) => error)
        if (!(outcome instanceof LoginError)) accepted.push(at)
      }
      expect(accepted).toEqual([])
    },
    60_000,
  )

  it('where it is any text', async () => {
    const { verifier } = await patient()
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 300 }), async (text) => {
        await expect(verifier.verify(text, 'session')).rejects.toBeInstanceOf(LoginError)
      }),
    )
  }, 60_000)
})

describe('a page', () => {
  const refused: readonly (readonly [string, string, IssueOptions])[] = [
    ['for mail alone', 'wrong-extended-key-usage', { name: 'Ada', extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] }],
    ['for any purpose', 'wrong-extended-key-usage', { name: 'Ada', extendedKeyUsage: ['2.5.29.37.0'] }],
    ['without a key usage', 'wrong-key-usage', { name: 'Ada', keyUsage: null }],
    ['that binds alone', 'wrong-key-usage', { name: 'Ada', keyUsage: 0x40 }],
  ]
  it.each(refused)(
    'asks for no signature with a certificate %s, which the server would not let in (%s)',
    async (_what, word, options) => {
      vi.stubGlobal('location', { origin })
      const signer = softwareSigner(await issue({ ...options, issuer: ca }), 'ES256')
      const sign = vi.spyOn(signer, 'sign')
      await expect(createLoginToken(signer, 'n'.repeat(44))).rejects.toMatchObject({
        code: 'certificate/wrong-use',
        purpose: 'login',
        reason: word,
      })
      expect(sign).not.toHaveBeenCalled()
    },
  )

  it.each(['null', 'file://', 'data:', 'chrome-extension://abc'])(
    'whose origin is %s asks for no signature: no site can accept the login',
    async (own) => {
      vi.stubGlobal('location', { origin: own })
      const signer = softwareSigner(person, 'ES256')
      const sign = vi.spyOn(signer, 'sign')
      await expect(createLoginToken(signer, 'n'.repeat(44))).rejects.toMatchObject({
        code: 'login/no-origin',
      })
      expect(sign).not.toHaveBeenCalled()
    },
  )

  it('asks with a certificate for clients alone, as many cards have it, and the server lets it in', async () => {
    vi.stubGlobal('location', { origin })
    const clients = await issue({ name: 'Ada', issuer: ca, extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })
    const { nonces, verifier } = verifierWith()
    const token = await createLoginToken(softwareSigner(clients, 'ES256'), await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
  })
})

/** The reference implementation's refusals in our words. */
const refusals: Readonly<Record<string, readonly LoginReason[]>> = {
  AuthTokenSignatureValidation: ['signature'],
  AuthTokenParse: ['format', 'algorithm'],
  CertificateDecoding: ['format', 'certificate-malformed'],
  UserCertificateMissingPurpose: ['key-usage', 'extended-key-usage'],
  UserCertificateDisallowedPolicy: ['policy'],
  CertificateNotYetValid: ['not-yet-valid'],
  CertificateExpired: ['expired'],
  CertificateNotTrusted: ['untrusted'],
}

describe('Web eID’s own tokens, judged as its own validator judges them', () => {
  const certificates: Readonly<Record<string, { readonly derBase64: string }>> = webEid.certificates
  const estonianMobileId = ['10015.1.3', '10015.11.1', '10015.18.1', '10015.18.3'].map(
    (arc) => `1.3.6.1.4.1.${arc}`,
  )
  const outcomeOf = (example: (typeof webEid.cases)[number]): Promise<unknown> => {
    // One case has an empty nonce: it is about the token's version, and a session without a nonce is refused before.
    const nonce = example.nonce || 'x'.repeat(44)
    const verifier = createLoginVerifier({
      origin: example.origin,
      anchors: example.trustedCAs.map((name) => bytesOf(certificates[name]?.derBase64 ?? '')),
      revocation: notChecked,
      nonces: storeOf(nonce),
      disallowedPolicies: estonianMobileId,
      now: () => new Date(example.clock ?? now),
    })
    return verifier.verify(example.token as string, 'session').catch((error: unknown) => error)
  }

  it.each(webEid.cases.filter(({ expect: { outcome } }) => outcome === 'rejected'))(
    'refused: $name',
    async (example) => {
      const words = refusals[example.expect.error ?? ''] ?? []
      expect(words.length).toBeGreaterThan(0)
      const error = await outcomeOf(example)
      expect(error).toBeInstanceOf(LoginError)
      expect(words).toContain((error as LoginError).reason)
    },
  )

  it.each(
    webEid.cases.filter(({ expect: { outcome, scope } }) => outcome === 'valid' && scope === undefined),
  )('accepted: $name', async (example) => {
    const outcome = await outcomeOf(example)
    expect(outcome).toHaveProperty('identity.commonName')
    const { subject } = example.expect
    if (subject !== undefined) {
      expect(outcome).toMatchObject({
        identity: { commonName: subject.CN, surname: subject.surname, serialNumber: subject.idCode },
      })
    }
  })

  it.each(webEid.cases.filter(({ expect: { scope } }) => scope === 'signature only'))(
    'signature of $name',
    async (example) => {
      const { algorithm, certificate, signature } = readToken(example.token as string)
      const spki = readCertificate(certificate).publicKeyInfo
      const statement = await statementOf(algorithm, example.origin, example.nonce as string)
      expect(await verifyStatement(algorithm, spki, statement, signature)).toBe('valid')
      expect(await verifyStatement(algorithm, spki, statement.slice(1), signature)).toBe('invalid')
    },
  )
})

describe('a nonce', () => {
  it('is never the same twice, and long enough for the format', async () => {
    const nonces = memoryNonceStore()
    const issued = new Set<string>()
    for (let count = 0; count < 100; count++) issued.add(await nonces.issue(`session ${count}`))
    expect(issued.size).toBe(100)
    expect([...issued].every((nonce) => nonce.length === 44)).toBe(true)
  })

  it('stays beside those of other pages of its session, and is good to the end of its fifth minute', async () => {
    let time = 0
    const nonces = memoryNonceStore(() => time)
    const first = await nonces.issue('session')
    time = 60_000
    const second = await nonces.issue('session')
    expect(second).not.toBe(first)
    expect(await nonces.issued('session')).toEqual([first, second])
    time = 5 * 60_000
    expect(await nonces.issued('session')).toEqual([first, second])
    time += 1
    expect(await nonces.issued('session')).toEqual([second])
    expect(await nonces.take('session', first)).toBe(false)
    expect(await nonces.take('session', second)).toBe(true)
    expect(await nonces.take('session', second)).toBe(false)
    expect(await nonces.issued('session')).toEqual([])
  })

  it.each([
    [0, 1],
    [1, 0],
  ])('lets each of two pages of one session in, whichever comes first: %i', async (...order) => {
    const { nonces, verifier } = verifierWith()
    const issued = [await nonces.issue('session'), await nonces.issue('session')]
    for (const at of order) {
      const token = await tokenFor(origin, softwareSigner(person, 'ES256'), issued[at] as string)
      await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
    }
  })

  it('is not used up by another page of its session whose login fails', async () => {
    const { nonces, verifier } = verifierWith()
    const nonce = await nonces.issue('session')
    const eve = softwareSigner(await issue({ name: 'Eve', issuer: other }), 'ES256')
    const refused = await tokenFor(origin, eve, await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(refused), 'session')).rejects.toEqual(reason('untrusted'))
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), nonce)
    await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
  })

  it('is one of the latest eight of its session', async () => {
    const nonces = memoryNonceStore(() => 0)
    const issued: string[] = []
    for (let count = 0; count < 10; count++) issued.push(await nonces.issue('session'))
    expect(await nonces.issued('session')).toEqual(issued.slice(2))
  })

  it('is kept for a hundred thousand sessions that only ask, and of more the oldest is forgotten', async () => {
    const nonces = memoryNonceStore(() => 0)
    await nonces.issue('oldest')
    const renewed = await nonces.issue('renewed')
    for (let count = 2; count < 100_000; count++) await nonces.issue(`session ${count}`)
    const again = await nonces.issue('renewed')
    expect(again).not.toBe(renewed)
    await nonces.issue('one more')
    expect(await nonces.issued('oldest')).toEqual([])
    expect(await nonces.issued('renewed')).toEqual([renewed, again])
    expect(await nonces.issued('session 2')).toHaveLength(1)
    expect(await nonces.issued('one more')).toHaveLength(1)
  })

  it('that could be guessed is not signed', async () => {
    const signer = softwareSigner(person, 'ES256')
    for (const length of [0, 43, 129])
      await expect(tokenFor(origin, signer, 'n'.repeat(length))).rejects.toMatchObject({ argument: 'nonce' })
    for (const length of [44, 128])
      await expect(tokenFor(origin, signer, 'n'.repeat(length))).resolves.toBeDefined()
  })

  it('is signed by a signer that hears when nobody wants it any more', async () => {
    const signer = softwareSigner(person, 'ES256')
    const sign = vi.spyOn(signer, 'sign')
    const { signal } = new AbortController()
    await tokenFor(origin, signer, 'n'.repeat(44), { signal })
    expect(sign.mock.calls[0]?.[1]?.signal).toBe(signal)
  })
})

describe('the anchors of a site', () => {
  it('in PEM, or cut, are refused when the verifier is made and not at each login', () => {
    const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(ca.der).toString('base64')}\n-----END CERTIFICATE-----\n`
    for (const anchor of [new TextEncoder().encode(pem), ca.der.slice(0, -1)]) {
      const anchors = [ca.der, anchor]
      expect(() => verifierWith({ anchors })).toThrow('`anchors[1]` has to be an X.509 certificate in DER')
    }
  })
})

describe('the origin of a site', () => {
  const made = (text: string) => () =>
    createLoginVerifier({
      origin: text,
      anchors: [ca.der],
      revocation: notChecked,
      nonces: memoryNonceStore(),
    })

  it.each([
    'https://example.org',
    'http://localhost:8080',
    'http://demo.localhost',
    'http://127.0.0.1:8080',
    'http://[::1]:8080',
    `isolated-app://${'a'.repeat(51)}aaaac`,
  ])('may be %s', (text) => {
    expect(made(text)).not.toThrow()
  })

  it.each([
    'https://example.org/',
    'https://example.org/path',
    'example.org',
    'isolated-app://short',
    `isolated-app://${'a'.repeat(56)}.example`,
    '',
    'https://Example.org',
    'https://example.org:443',
    'https://a@example.org',
    'https://münchen.example',
    'null',
    'file://',
  ])('is refused as %j, which no browser prints', (text) => {
    expect(made(text)).toThrow('`origin` has to be an origin as browsers print it')
  })

  it.each([
    'http://example.org',
    'http://localhost.example.org',
    'http://127.0.0.1.example.org',
    'http://10.0.0.1',
  ])('is refused as %s, where anybody on the way can read and change what is sent', (text) => {
    expect(made(text)).toThrow(/without encryption/)
  })
})

/** An extension whose value is an INTEGER, where a SEQUENCE should stand. */
function unreadable(extnID: string): Extension {
  return new Extension({ extnID, extnValue: Uint8Array.of(2, 1, 1).buffer })
}

function changed(base64: unknown): string {
  const bytes = Buffer.from(String(base64), 'base64')
  bytes[7] = (bytes[7] ?? 0) ^ 1
  return bytes.toString('base64')
}

/** What of a token counts. */
function read(text: string): unknown {
  try {
    const { format, algorithm, unverifiedCertificate, signature } = JSON.parse(text) as Record<
      string,
      unknown
    >
    return [format, algorithm, unverifiedCertificate, signature]
  } catch {
    return undefined
  }
}

describe('the bytes at the call are those that count:', () => {
  it('anchors that are added or changed after the verifier was made change nothing', async () => {
    const own = Uint8Array.from(ca.der)
    const anchors: Uint8Array[] = [own]
    const intermediates: Uint8Array[] = []
    const made = verifierWith({ anchors, intermediates })
    const stranger = await issue({ name: 'Eve', issuer: other })
    anchors.push(other.der)
    own.fill(0)
    const verify = async (issued: Issued) => {
      const nonce = await made.nonces.issue('session')
      const token = await tokenFor(origin, softwareSigner(issued, 'ES256'), nonce)
      return made.verifier.verify(JSON.stringify(token), 'session')
    }
    await expect(verify(stranger)).rejects.toEqual(reason('untrusted'))
    expect((await verify(person)).identity.commonName).toBe('Ada Lovelace')
  })

  it('the certificate of a token is the one that the signer had when it was asked', async () => {
    const signer = softwareSigner(person, 'ES256')
    const certificate = Uint8Array.from(person.der)
    const { nonces, verifier } = verifierWith()
    const nonce = await nonces.issue('session')
    const work = tokenFor(origin, { ...signer, certificate }, nonce)
    certificate.fill(0)
    const { identity } = await verifier.verify(JSON.stringify(await work), 'session')
    expect(identity.commonName).toBe('Ada Lovelace')
  })
})
