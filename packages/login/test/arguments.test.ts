/**
 * Arguments of a wrong type, as a program without TypeScript may pass them, are refused with a typed error that names
 * them.
 */
import { checkLogin, createLoginToken } from '@webtoki/login/browser'
import {
  createLoginVerifier,
  type LoginVerifierOptions,
  memoryNonceStore,
  notChecked,
} from '@webtoki/login/server'
import type { Signer } from '@webtoki/trust'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Issued, issue, softwareSigner } from '../../trust/test/pki.ts'
import { outcomeOf, wrongKinds } from '../../trust/test/wrong-kinds.ts'

const nonce = 'n'.repeat(44)
let ca: Issued
let person: Issued
let signer: Signer
beforeAll(async () => {
  ca = await issue({ name: 'Test CA', isCa: true })
  person = await issue({ name: 'Ada Lovelace', issuer: ca })
  signer = softwareSigner(person, 'ES256')
})
beforeEach(() => {
  vi.stubGlobal('location', { origin: 'https://example.org' })
})
afterEach(() => {
  vi.unstubAllGlobals()
})

const options = (): LoginVerifierOptions => ({
  origin: 'https://example.org',
  anchors: [ca.der],
  revocation: notChecked,
  nonces: memoryNonceStore(),
})
const verifier = (changed: object) => createLoginVerifier({ ...options(), ...changed })

type Row = readonly [what: string, names: RegExp, call: (value: never) => unknown, fits?: readonly string[]]
const rows: readonly Row[] = [
  ['checkLogin(nonce)', /^nonce$/, (value) => checkLogin(value)],
  ['createLoginToken(signer)', /^signer$/, (value) => createLoginToken(value, nonce)],
  [
    'createLoginToken({ certificate })',
    /^signer$/,
    (certificate) => createLoginToken({ ...signer, certificate }, nonce),
  ],
  [
    'createLoginToken({ algorithm })',
    /^signer.algorithm$/,
    (algorithm) => createLoginToken({ ...signer, algorithm }, nonce),
  ],
  ['createLoginToken(, nonce)', /^nonce$/, (value) => createLoginToken(signer, value)],
  [
    'createLoginToken(, , options)',
    /^options$/,
    (value) => createLoginToken(signer, nonce, value),
    ['[]', '{}'],
  ],
  ['createLoginVerifier(options)', /^(options|origin)$/, (value) => createLoginVerifier(value)],
  ['createLoginVerifier({ origin })', /^origin$/, (origin) => verifier({ origin })],
  ['createLoginVerifier({ anchors })', /^anchors$/, (anchors) => verifier({ anchors })],
  ['createLoginVerifier({ anchors: [ ] })', /^anchors\[0\]$/, (value) => verifier({ anchors: [value] })],
  [
    'createLoginVerifier({ intermediates })',
    /^intermediates$/,
    (intermediates) => verifier({ intermediates }),
    ['[]'],
  ],
  [
    'createLoginVerifier({ intermediates: [ ] })',
    /^intermediates\[0\]$/,
    (value) => verifier({ intermediates: [value] }),
  ],
  ['createLoginVerifier({ revocation })', /^revocation$/, (revocation) => verifier({ revocation })],
  ['createLoginVerifier({ nonces })', /^nonces$/, (nonces) => verifier({ nonces })],
  [
    'createLoginVerifier({ disallowedPolicies })',
    /^disallowedPolicies$/,
    (disallowedPolicies) => verifier({ disallowedPolicies }),
    ['[]'],
  ],
  ['createLoginVerifier({ now })', /^now$/, (now) => verifier({ now })],
  ['memoryNonceStore(now)', /^now$/, (value) => memoryNonceStore(value)],
  ['issue(session)', /^session$/, (value) => memoryNonceStore().issue(value), ['a text']],
]

const rowsFor = (kind: string) =>
  rows.flatMap(([what, names, call, fits]) => (fits?.includes(kind) ? [] : [[what, names, call] as const]))

describe.each(wrongKinds)('%s is refused with an error that names the argument', (kind, value) => {
  it.each(rowsFor(kind))('as %s', async (_what, names, call) => {
    expect(await outcomeOf(() => call(value as never))).toMatchObject({
      isWebtokiError: true,
      code: 'login/wrong-argument',
      argument: expect.stringMatching(names),
    })
  })

  it('as a token or a session: verify rejects with LoginError', async () => {
    const made = verifier({})
    const refused = { isWebtokiError: true, code: expect.stringMatching(/^login\/(format|nonce-missing)$/) }
    expect(await outcomeOf(() => made.verify(value as string, 'session'))).toMatchObject(refused)
    expect(await outcomeOf(() => made.verify('{}', value as string))).toMatchObject(refused)
  })
})
