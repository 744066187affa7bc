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

/** A certificate whose RSA key can be forged: if the exponent is 1, the padded message is its own signature. */
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

/** A store with one nonce that can be taken any number of times. */
const storeOf = (nonce: string): NonceStore => ({
  issue: async () => nonce,
  issued: async () => [nonce],
  take: async () => true,
})

function createVerifier(options: Partial<LoginVerifierOptions> = {}) {
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
  const { nonces, verifier } = createVerifier(options)
  const nonce = await nonces.issue('session')
  const token = await tokenFor(at, softwareSigner(issued, algorithm), nonce)
  return verifier.verify(JSON.stringify(change({ ...token })), 'session')
}

const loginErrorWith = (word: LoginReason) => expect.objectContaining({ code: `login/${word}`, reason: word })

describe('a login', () => {
  it.each(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const)(
    'with %s returns the verified identity and path',
    async (algorithm) => {
      const issued = await issue({ name: 'Ada Lovelace', issuer: ca, algorithm })
      const { identity, path } = await logIn(issued, algorithm)
      expect(identity).toMatchObject({ commonName: 'Ada Lovelace', country: 'EE', issuer: 'Test CA' })
      expect(identity.fingerprint).toMatch(/^[0-9a-f]{64}$/)
      expect(path.map((der) => der.length)).toEqual([issued.der.length, ca.der.length])
    },
  )

  it('is accepted through an intermediate CA, and with the issuing CA as the anchor', async () => {
    const between = await issue({ name: 'Between', issuer: ca, isCa: true, pathLength: 0 })
    const issued = await issue({ name: 'Ada', issuer: between })
    await expect(logIn(issued, 'ES256', { intermediates: [between.der] })).resolves.toBeDefined()
    await expect(logIn(issued, 'ES256', { anchors: [between.der] })).resolves.toBeDefined()
    await expect(logIn(issued)).rejects.toEqual(loginErrorWith('untrusted'))
  })

  it.each([
    ['servers only', '1.3.6.1.5.5.7.3.1', 'refused'],
    ['clients', '1.3.6.1.5.5.7.3.2', 'accepted'],
    ['any purpose', '2.5.29.37.0', 'accepted'],
  ] as const)('through an intermediate CA for %s (%s) is %s', async (_what, purpose, expected) => {
    const between = await issue({ name: 'Between', issuer: ca, isCa: true, extendedKeyUsage: [purpose] })
    const issued = await issue({ name: 'Ada', issuer: between })
    const outcome = logIn(issued, 'ES256', { intermediates: [between.der] })
    if (expected === 'accepted') await expect(outcome).resolves.toBeDefined()
    else await expect(outcome).rejects.toEqual(loginErrorWith('extended-key-usage'))
    // The extended key usage of an anchor is not checked.
    await expect(logIn(issued, 'ES256', { anchors: [between.der] })).resolves.toBeDefined()
  })
})

describe('an issuer', () => {
  it('whose extended key usage cannot be parsed may not issue for logins', async () => {
    const between = await issue({
      name: 'Between',
      issuer: ca,
      isCa: true,
      extensions: [unreadable('2.5.29.37')],
    })
    const outcome = logIn(await issue({ name: 'Ada', issuer: between }), 'ES256', {
      intermediates: [between.der],
    })
    await expect(outcome).rejects.toEqual(loginErrorWith('extended-key-usage'))
  })
})

describe('a token is refused', () => {
  const cases: readonly (readonly [string, LoginReason, (token: Record<string, unknown>) => unknown])[] = [
    ['of another format', 'format', (token) => ({ ...token, format: 'web-eid:2.0' })],
    ['without a format', 'format', (token) => ({ ...token, format: undefined })],
    ['of an unknown algorithm', 'algorithm', (token) => ({ ...token, algorithm: 'none' })],
    [
      'of an algorithm for another curve than that of the key',
      'signature',
      (token) => ({ ...token, algorithm: 'ES384' }),
    ],
    [
      'with the name of an inherited property as algorithm',
      'algorithm',
      (token) => ({ ...token, algorithm: 'constructor' }),
    ],
    ['without a certificate', 'format', (token) => ({ ...token, unverifiedCertificate: undefined })],
    [
      'with bytes that are not a certificate',
      'certificate-malformed',
      (token) => ({ ...token, unverifiedCertificate: 'AAAA' }),
    ],
    [
      'with a changed signature',
      'signature',
      (token) => ({ ...token, signature: changed(token['signature']) }),
    ],
    ['with an empty signature', 'format', (token) => ({ ...token, signature: '' })],
    ['with a signature that is not base64', 'format', (token) => ({ ...token, signature: '!!!!' })],
    ['that is an array', 'format', (token) => [token]],
    ['of a format with a suffix', 'format', (token) => ({ ...token, format: 'web-eid:1.0beta' })],
    ['with truncated base64', 'format', (token) => ({ ...token, signature: 'AAAAA' })],
    ['with base64 that is not canonical', 'format', (token) => ({ ...token, signature: 'AAB=' })],
    ['of more than 10,000 characters', 'format', (token) => ({ ...token, more: 'x'.repeat(10_000) })],
  ]
  it.each(cases)('%s: %s', async (_what, expected, change) => {
    await expect(logIn(person, 'ES256', {}, change)).rejects.toEqual(loginErrorWith(expected))
  })

  it('that is JSON null or a number, with a valid length', () => {
    for (const text of ['null', '1']) expect(() => readToken(text.padEnd(200))).toThrow(LoginError)
  })

  it('that was made for another origin', async () => {
    await expect(logIn(person, 'ES256', {}, undefined, 'https://evil.example')).rejects.toEqual(
      loginErrorWith('signature'),
    )
  })

  it('that is sent a second time or for another session', async () => {
    const { nonces, verifier } = createVerifier()
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    await expect(verifier.verify(token, 'another')).rejects.toEqual(loginErrorWith('nonce-missing'))
    await verifier.verify(token, 'session')
    await expect(verifier.verify(token, 'session')).rejects.toEqual(loginErrorWith('nonce-missing'))
    await nonces.issue('session')
    await expect(verifier.verify(token, 'session')).rejects.toEqual(loginErrorWith('signature'))
  })

  it('that is older than five minutes', async () => {
    let time = 0
    const nonces = memoryNonceStore(() => time)
    const { verifier } = createVerifier({ nonces })
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    time = 5 * 60_000 + 1
    await expect(verifier.verify(token, 'session')).rejects.toEqual(loginErrorWith('nonce-missing'))
  })

  it('a second time if the first login failed after its signature was verified', async () => {
    const answers = ['unknown', 'good'] as const
    let asked = 0
    const { nonces, verifier } = createVerifier({ revocation: async () => answers[asked++] ?? 'good' })
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    await expect(verifier.verify(token, 'session')).rejects.toEqual(loginErrorWith('revocation-unknown'))
    await expect(verifier.verify(token, 'session')).rejects.toEqual(loginErrorWith('nonce-missing'))
    expect(asked).toBe(1)
  })

  it('for all but one of several concurrent requests', async () => {
    const { nonces, verifier } = createVerifier()
    const nonce = await nonces.issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    const all = await Promise.allSettled([1, 2, 3].map(() => verifier.verify(token, 'session')))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('whose signature is over another nonce, before the revocation check', async () => {
    const revocation = vi.fn<RevocationCheck>(async () => 'good')
    const { nonces, verifier } = createVerifier({ revocation })
    await nonces.issue('session')
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), 'n'.repeat(44))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toEqual(
      loginErrorWith('signature'),
    )
    expect(revocation).not.toHaveBeenCalled()
  })

  const certificates: readonly (readonly [string, LoginReason, IssueOptions])[] = [
    ['expired', 'expired', { name: 'Ada', notAfter: new Date('2026-11-01T00:00:00Z') }],
    ['not valid yet', 'not-yet-valid', { name: 'Ada', notBefore: new Date('2027-01-01T00:00:00Z') }],
    ['for nonRepudiation only', 'key-usage', { name: 'Ada', keyUsage: 0x40 }],
    ['without a key usage', 'key-usage', { name: 'Ada', keyUsage: null }],
    ['for servers', 'extended-key-usage', { name: 'Ada', extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }],
    [
      'with an extended key usage that cannot be parsed',
      'extended-key-usage',
      { name: 'Ada', extensions: [unreadable('2.5.29.37')] },
    ],
    ['with policies that cannot be parsed', 'policy', { name: 'Ada', extensions: [unreadable('2.5.29.32')] }],
    ['with an unknown critical extension', 'untrusted', { name: 'Ada', unknownCritical: true }],
  ]
  it.each(certificates)('whose certificate is %s: %s', async (_what, expected, options) => {
    await expect(logIn(await issue({ ...options, issuer: ca }))).rejects.toEqual(loginErrorWith(expected))
  })

  it('whose certificate has an untrusted issuer, is self-issued, or was issued without CA rights', async () => {
    await expect(logIn(await issue({ name: 'Ada', issuer: other }))).rejects.toEqual(
      loginErrorWith('untrusted'),
    )
    await expect(logIn(await issue({ name: 'Ada' }))).rejects.toEqual(loginErrorWith('untrusted'))
    const notCa = await issue({ name: 'Bob', issuer: ca })
    const issued = await issue({ name: 'Ada', issuer: notCa })
    await expect(logIn(issued, 'ES256', { intermediates: [notCa.der] })).rejects.toEqual(
      loginErrorWith('untrusted'),
    )
    const impostor = await issue({ name: 'Test CA', isCa: true })
    await expect(logIn(await issue({ name: 'Ada', issuer: impostor }))).rejects.toEqual(
      loginErrorWith('untrusted'),
    )
    const tooLong = await issue({ name: 'Short', issuer: ca, isCa: true, pathLength: 0 })
    const below = await issue({ name: 'Below', issuer: tooLong, isCa: true })
    const leaf = await issue({ name: 'Ada', issuer: below })
    const intermediates = [tooLong.der, below.der]
    await expect(logIn(leaf, 'ES256', { intermediates })).rejects.toEqual(loginErrorWith('untrusted'))
  })

  it('whose certificate has a weak hash or key, or an expired issuer, each with its own reason', async () => {
    const rsaCa = await issue({ name: 'RSA CA', isCa: true, algorithm: 'RS256' })
    const anchors = [rsaCa.der]
    const overSha1 = await issue({ name: 'Ada', issuer: ca, hash: 'SHA-1' })
    await expect(logIn(overSha1)).rejects.toEqual(loginErrorWith('weak-hash'))
    const short = await issue({ name: 'Ada', issuer: rsaCa, algorithm: 'RS256', rsaBits: 1024 })
    await expect(logIn(short, 'RS256', { anchors })).rejects.toEqual(loginErrorWith('weak-key'))
    const old = await issue({ name: 'Old CA', isCa: true, notAfter: new Date('2026-11-01T00:00:00Z') })
    const issued = await issue({ name: 'Ada', issuer: old })
    await expect(logIn(issued, 'ES256', { anchors: [old.der] })).rejects.toEqual(loginErrorWith('untrusted'))
  })

  it.each([
    ['1', Uint8Array.of(1)],
    ['2', Uint8Array.of(2)],
    ['65536', Uint8Array.of(1, 0, 0)],
  ])('that was forged without a key, with a certificate of RSA exponent %s', async (_what, exponent) => {
    const { signer, issued } = await forged(exponent)
    const { nonces, verifier } = createVerifier()
    const token = await tokenFor(origin, signer, await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toEqual(
      loginErrorWith('weak-key'),
    )
    const statement = await statementOf('RS256', origin, 'nonce')
    const signature = await signer.sign(statement)
    const { publicKeyInfo } = readCertificate(issued.der)
    expect(await verifyStatement('RS256', publicKeyInfo, statement, signature)).toBe('unsupported')
  })

  it('whose certificate has malformed times', async () => {
    const times = (from: string): Uint8Array =>
      der(0x30, der(0x17, text(from)), der(0x17, text('360101000000Z')))
    for (const from of ['2612150000Z', '261301000000Z', '260101000000+0100', 'notatime']) {
      const issued = await reissue(person, ca, { validity: times(from) })
      await expect(logIn(issued)).rejects.toEqual(loginErrorWith('certificate-malformed'))
    }
    await expect(logIn(await reissue(person, ca, { validity: times('261215000000Z') }))).rejects.toEqual(
      loginErrorWith('not-yet-valid'),
    )
    await expect(
      logIn(await reissue(person, ca, { validity: times('260101000000Z') })),
    ).resolves.toBeDefined()
  })

  it('whose CA has name constraints for other names, critical or not', async () => {
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

  it('whose certificate is revoked or has an unknown revocation status', async () => {
    await expect(logIn(person, 'ES256', { revocation: async () => 'revoked' })).rejects.toEqual(
      loginErrorWith('revoked'),
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
      loginErrorWith('revocation-unknown'),
    )
    const pathLengths: number[] = []
    const good = async (path: readonly Uint8Array[]) => (pathLengths.push(path.length), 'good' as const)
    await expect(logIn(person, 'ES256', { revocation: good })).resolves.toBeDefined()
    // The revocation check gets the issuer's certificate too, for example to build an OCSP request.
    expect(pathLengths).toEqual([2])
  })

  it('with LoginArgumentError if now returns an invalid Date', async () => {
    await expect(logIn(person, 'ES256', { now: () => new Date('soon') })).rejects.toMatchObject({
      argument: 'now',
    })
  })

  /** A token and a verifier that accepts it any number of times. */
  async function reusableToken() {
    const nonce = await memoryNonceStore().issue('session')
    const token = JSON.stringify(await tokenFor(origin, softwareSigner(person, 'ES256'), nonce))
    const { verifier } = createVerifier({ nonces: storeOf(nonce) })
    return { token, verifier }
  }

  it.each(['A', 'z', '0', '"', '{', '='])(
    'with LoginError if %j at any position changes it',
    async (character) => {
      const { token, verifier } = await reusableToken()
      await expect(verifier.verify(token, 'session')).resolves.toBeDefined()
      const accepted: number[] = []
      for (let at = 0; at < token.length; at++) {
        const mutated = token.slice(0, at) + character + token.slice(at + 1)
        if (JSON.stringify(relevantFields(mutated)) === JSON.stringify(relevantFields(token))) continue
        const outcome: unknown = await verifier.verify(mutated, 'session').catch((error: unknown) => error)
        if (!(outcome instanceof LoginError)) accepted.push(at)
      }
      expect(accepted).toEqual([])
    },
    60_000,
  )

  it('if it is arbitrary text', async () => {
    const { verifier } = await reusableToken()
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 300 }), async (text) => {
        await expect(verifier.verify(text, 'session')).rejects.toBeInstanceOf(LoginError)
      }),
    )
  }, 60_000)
})

describe('createLoginToken', () => {
  const refused: readonly (readonly [string, string, IssueOptions])[] = [
    ['for mail only', 'wrong-extended-key-usage', { name: 'Ada', extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] }],
    ['for any purpose', 'wrong-extended-key-usage', { name: 'Ada', extendedKeyUsage: ['2.5.29.37.0'] }],
    ['without a key usage', 'wrong-key-usage', { name: 'Ada', keyUsage: null }],
    ['with nonRepudiation only', 'wrong-key-usage', { name: 'Ada', keyUsage: 0x40 }],
  ]
  it.each(refused)(
    'refuses a certificate %s before signing, as the server would refuse it (%s)',
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
    'refuses the origin %s before signing, as no site can accept it',
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

  it('signs with a certificate for client authentication only, and the server accepts it', async () => {
    vi.stubGlobal('location', { origin })
    const clients = await issue({ name: 'Ada', issuer: ca, extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })
    const { nonces, verifier } = createVerifier()
    const token = await createLoginToken(softwareSigner(clients, 'ES256'), await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
  })
})

/** The errors of the reference implementation, mapped to reasons. */
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

describe('the test tokens of Web eID get the results of its own validator', () => {
  const certificates: Readonly<Record<string, { readonly derBase64: string }>> = webEid.certificates
  const estonianMobileId = ['10015.1.3', '10015.11.1', '10015.18.1', '10015.18.3'].map(
    (arc) => `1.3.6.1.4.1.${arc}`,
  )
  const outcomeOf = (example: (typeof webEid.cases)[number]): Promise<unknown> => {
    // One case, about the version of the token, has an empty nonce. A session without a nonce would be refused before
    // that.
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
  it('is unique and long enough for the format', async () => {
    const nonces = memoryNonceStore()
    const issued = new Set<string>()
    for (let count = 0; count < 100; count++) issued.add(await nonces.issue(`session ${count}`))
    expect(issued.size).toBe(100)
    expect([...issued].every((nonce) => nonce.length === 44)).toBe(true)
  })

  it('stays valid with those of other pages of its session, and for five minutes', async () => {
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
  ])('of each of two pages of one session is accepted in any order: %i first', async (...order) => {
    const { nonces, verifier } = createVerifier()
    const issued = [await nonces.issue('session'), await nonces.issue('session')]
    for (const at of order) {
      const token = await tokenFor(origin, softwareSigner(person, 'ES256'), issued[at] as string)
      await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
    }
  })

  it('is not consumed by a failed login of another page of its session', async () => {
    const { nonces, verifier } = createVerifier()
    const nonce = await nonces.issue('session')
    const eve = softwareSigner(await issue({ name: 'Eve', issuer: other }), 'ES256')
    const refused = await tokenFor(origin, eve, await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(refused), 'session')).rejects.toEqual(
      loginErrorWith('untrusted'),
    )
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), nonce)
    await expect(verifier.verify(JSON.stringify(token), 'session')).resolves.toHaveProperty('identity')
  })

  it('is dropped after eight newer ones of its session', async () => {
    const nonces = memoryNonceStore(() => 0)
    const issued: string[] = []
    for (let count = 0; count < 10; count++) issued.push(await nonces.issue('session'))
    expect(await nonces.issued('session')).toEqual(issued.slice(2))
  })

  it('is kept for 100,000 sessions that never log in, and dropped for the oldest of more', async () => {
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

  it('of fewer than 44 or more than 128 characters is not signed', async () => {
    const signer = softwareSigner(person, 'ES256')
    for (const length of [0, 43, 129])
      await expect(tokenFor(origin, signer, 'n'.repeat(length))).rejects.toMatchObject({ argument: 'nonce' })
    for (const length of [44, 128])
      await expect(tokenFor(origin, signer, 'n'.repeat(length))).resolves.toBeDefined()
  })

  it('is signed with the abort signal passed on to the signer', async () => {
    const signer = softwareSigner(person, 'ES256')
    const sign = vi.spyOn(signer, 'sign')
    const { signal } = new AbortController()
    await tokenFor(origin, signer, 'n'.repeat(44), { signal })
    expect(sign.mock.calls[0]?.[1]?.signal).toBe(signal)
  })
})

describe('createLoginVerifier with anchors', () => {
  it('in PEM or truncated throws LoginArgumentError, not only at each login', () => {
    const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(ca.der).toString('base64')}\n-----END CERTIFICATE-----\n`
    for (const anchor of [new TextEncoder().encode(pem), ca.der.slice(0, -1)]) {
      const anchors = [ca.der, anchor]
      expect(() => createVerifier({ anchors })).toThrow('`anchors[1]` has to be an X.509 certificate in DER')
    }
  })
})

describe('createLoginVerifier with an origin', () => {
  const verifierFor = (text: string) => () =>
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
    expect(verifierFor(text)).not.toThrow()
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
  ])('refuses %j, which is not in the form of location.origin', (text) => {
    expect(verifierFor(text)).toThrow('`origin` has to be an origin as in location.origin')
  })

  it.each([
    'http://example.org',
    'http://localhost.example.org',
    'http://127.0.0.1.example.org',
    'http://10.0.0.1',
  ])('refuses %s, which is not encrypted', (text) => {
    expect(verifierFor(text)).toThrow(/is not encrypted/)
  })
})

/** An extension whose value is an INTEGER instead of a SEQUENCE. */
function unreadable(extnID: string): Extension {
  return new Extension({ extnID, extnValue: Uint8Array.of(2, 1, 1).buffer })
}

function changed(base64: unknown): string {
  const bytes = Buffer.from(String(base64), 'base64')
  bytes[7] = (bytes[7] ?? 0) ^ 1
  return bytes.toString('base64')
}

/** The fields of a token that the server reads. */
function relevantFields(text: string): unknown {
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

describe('bytes are copied at the call:', () => {
  it('changes to the anchors after createLoginVerifier have no effect', async () => {
    const own = Uint8Array.from(ca.der)
    const anchors: Uint8Array[] = [own]
    const intermediates: Uint8Array[] = []
    const made = createVerifier({ anchors, intermediates })
    const untrusted = await issue({ name: 'Eve', issuer: other })
    anchors.push(other.der)
    own.fill(0)
    const verify = async (issued: Issued) => {
      const nonce = await made.nonces.issue('session')
      const token = await tokenFor(origin, softwareSigner(issued, 'ES256'), nonce)
      return made.verifier.verify(JSON.stringify(token), 'session')
    }
    await expect(verify(untrusted)).rejects.toEqual(loginErrorWith('untrusted'))
    expect((await verify(person)).identity.commonName).toBe('Ada Lovelace')
  })

  it('changes to the signer’s certificate while it signs have no effect on the token', async () => {
    const signer = softwareSigner(person, 'ES256')
    const certificate = Uint8Array.from(person.der)
    const { nonces, verifier } = createVerifier()
    const nonce = await nonces.issue('session')
    const work = tokenFor(origin, { ...signer, certificate }, nonce)
    certificate.fill(0)
    const { identity } = await verifier.verify(JSON.stringify(await work), 'session')
    expect(identity.commonName).toBe('Ada Lovelace')
  })
})
