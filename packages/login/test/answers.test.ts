/** Answers of a site's own functions that are no yes. */
import {
  createLoginVerifier,
  type LoginVerifierOptions,
  memoryNonceStore,
  notChecked,
  type RevocationCheck,
} from '@webtoki/login/server'
import { beforeAll, describe, expect, it } from 'vitest'
import { tokenFor } from '../src/browser/token.ts'
import { statementOf } from '../src/statement.ts'
import { type Issued, issue, softwareSigner } from '../../trust/test/pki.ts'

const origin = 'https://example.org'
let ca: Issued
let person: Issued
beforeAll(async () => {
  ca = await issue({ name: 'Test CA', isCa: true })
  person = await issue({ name: 'Ada Lovelace', issuer: ca })
})

const verifierWith = (options: Partial<LoginVerifierOptions>) =>
  createLoginVerifier({
    origin,
    anchors: [ca.der],
    revocation: notChecked,
    nonces: memoryNonceStore(),
    ...options,
  })

/** A token over whatever text: what somebody would sign who knows how an answer is written as text. */
async function tokenOver(text: string): Promise<string> {
  const signer = softwareSigner(person, 'ES256')
  const token = await tokenFor(origin, signer, 'n'.repeat(44))
  const signature = await signer.sign(await statementOf('ES256', origin, text))
  return JSON.stringify({ ...token, signature: Buffer.from(signature).toString('base64') })
}

const wrong = (argument: string | RegExp) => ({
  code: 'login/wrong-argument',
  argument: expect.stringMatching(argument),
})

const unclear: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['false', false],
  ['true', true],
  ['{}', {}],
  ['[]', []],
  ["['good']", ['good']],
  ["''", ''],
  ["'no'", 'no'],
  ['0', 0],
  ['1', 1],
  ['NaN', Number.NaN],
]

describe('a nonce counts only if it is one', () => {
  const logIn = async (issued: unknown, text: string, taken: unknown = true) => {
    const nonces = {
      issue: async () => text,
      issued: async () => issued as string[],
      take: async () => taken as boolean,
    }
    return verifierWith({ nonces }).verify(await tokenOver(text), 'session')
  }
  const missing = { reason: 'nonce-missing' }

  it.each([...unclear, ['43 characters', 'n'.repeat(43)], ['129 characters', 'n'.repeat(129)]] as const)(
    'a store that gives %s for a nonce lets nobody in who signed just that',
    async (_name, answer) => {
      const texts = [String(answer), ...(answer === undefined ? [''] : [])]
      for (const text of texts) {
        await expect(logIn(answer, text)).rejects.toMatchObject(missing)
        await expect(logIn([answer], text)).rejects.toMatchObject(missing)
      }
    },
  )

  it('a store may give any texts of 44 to 128 characters, and whatever else among them', async () => {
    for (const text of ['n'.repeat(44), 'n'.repeat(128)])
      await expect(logIn([null, 'o'.repeat(44), text], text)).resolves.toHaveProperty(
        'identity.commonName',
        'Ada Lovelace',
      )
  })

  it.each(unclear.filter(([, taken]) => taken !== true))(
    'a store that takes a nonce away with the answer %s lets nobody in',
    async (_name, taken) => {
      const nonce = 'n'.repeat(44)
      await expect(logIn([nonce], nonce, taken ?? null)).rejects.toMatchObject(missing)
    },
  )

  it('a store that answers at once, or forgets its return, lets nobody in', async () => {
    for (const issued of [() => null, () => undefined, async () => {}]) {
      const take = () => true
      const nonces = { issue: async () => '', issued, take } as unknown as LoginVerifierOptions['nonces']
      for (const text of ['null', 'undefined', ''])
        await expect(verifierWith({ nonces }).verify(await tokenOver(text), 'session')).rejects.toMatchObject(
          missing,
        )
    }
  })

  it.each(unclear.filter(([, session]) => session !== 'no'))(
    'visitors whose session is %s share no nonce',
    async (_name, session) => {
      const nonces = memoryNonceStore()
      await expect(nonces.issue(session as string)).rejects.toMatchObject(wrong('session'))
      const nonce = 'n'.repeat(44)
      const shared = { issue: async () => nonce, issued: async () => [nonce], take: async () => true }
      const token = await tokenOver(nonce)
      await expect(verifierWith({ nonces: shared }).verify(token, session as string)).rejects.toMatchObject({
        reason: 'nonce-missing',
      })
    },
  )
})

describe('a certificate counts as not revoked only if the answer is good', () => {
  const logIn = async (revocation: unknown) => {
    const nonces = memoryNonceStore()
    const verifier = verifierWith({ nonces, revocation: revocation as RevocationCheck })
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
    return verifier.verify(JSON.stringify(token), 'session')
  }

  it.each(unclear)(
    '%s is not good, as an answer and as a promise, and is refused in place of the function',
    async (_name, answer) => {
      const unknown = { reason: 'revocation-unknown' }
      await expect(logIn(() => answer)).rejects.toMatchObject(unknown)
      await expect(logIn(async () => answer)).rejects.toMatchObject(unknown)
      expect(() => verifierWith({ revocation: answer as RevocationCheck })).toThrow(/^`revocation` /)
    },
  )

  it('a function that forgets its return says nothing of it, which the types refuse', async () => {
    // @ts-expect-error A return that was forgotten.
    const forgotten: RevocationCheck = async (path) => {
      expect(path).toHaveLength(2)
    }
    await expect(logIn(forgotten)).rejects.toMatchObject({ reason: 'revocation-unknown' })
  })
})

describe('options that would be wrong in silence are refused when the verifier is made:', () => {
  const refused = (options: object): unknown => {
    try {
      verifierWith(options)
    } catch (error) {
      return error
    }
    return expect.fail('The verifier was made.')
  }

  it.each([...unclear, ['bytes', new Uint8Array(4)]] as const)('anchors: %s', (_name, anchors) => {
    expect(refused({ anchors })).toMatchObject(wrong(/^anchors/))
  })

  it.each(unclear.filter(([, given]) => given !== undefined && !isEmptyList(given)))(
    'intermediates: %s',
    (_name, intermediates) => {
      expect(refused({ intermediates })).toMatchObject(wrong(/^intermediates/))
    },
  )

  it.each<readonly [string, unknown]>([
    ...unclear.filter(([, given]) => given !== undefined && !isEmptyList(given)),
    ['a text', '1.2.3.4'],
    ['a name', ['anyPolicy']],
    ['an arc that begins with 0', ['1.2.03']],
  ])('disallowedPolicies: %s', (_name, disallowedPolicies) => {
    expect(refused({ disallowedPolicies })).toMatchObject(wrong('disallowedPolicies'))
  })

  it.each<readonly [string, unknown]>([
    ...unclear,
    ['a store of another kind', { issue: async () => '', take: async () => '' }],
  ])('nonces: %s', (_name, nonces) => {
    expect(refused({ nonces })).toMatchObject(wrong('nonces'))
  })

  it.each(unclear.filter(([, now]) => now !== undefined))(
    'now: %s, itself and as its answer',
    (_name, now) => {
      expect(refused({ now })).toMatchObject(wrong('now'))
      expect(refused({ now: () => now })).toMatchObject(wrong('now'))
      expect(refused({ now: () => new Date('soon') })).toMatchObject(wrong('now'))
    },
  )

  it('a clock that tells no moment later lets nobody in', async () => {
    const nonces = memoryNonceStore()
    const answers = [new Date()]
    const verifier = verifierWith({ nonces, now: () => answers.pop() ?? new Date('soon') })
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toMatchObject(wrong('now'))
  })
})

function isEmptyList(given: unknown): boolean {
  return Array.isArray(given) && given.length === 0
}
