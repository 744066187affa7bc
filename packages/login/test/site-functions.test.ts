/** Wrong return values of a site's own functions: none of them lets a person in. */
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

const createVerifier = (options: Partial<LoginVerifierOptions>) =>
  createLoginVerifier({
    origin,
    anchors: [ca.der],
    revocation: notChecked,
    nonces: memoryNonceStore(),
    ...options,
  })

/** A token that signs any text as its nonce, for an attacker who guesses how a wrong value is converted to text. */
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

const wrongAnswers: readonly (readonly [string, unknown])[] = [
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

describe('a nonce store with wrong return values', () => {
  const logIn = async (issued: unknown, text: string, taken: unknown = true) => {
    const nonces = {
      issue: async () => text,
      issued: async () => issued as string[],
      take: async () => taken as boolean,
    }
    return createVerifier({ nonces }).verify(await tokenOver(text), 'session')
  }
  const missing = { reason: 'nonce-missing' }

  it.each([...wrongAnswers, ['43 characters', 'n'.repeat(43)], ['129 characters', 'n'.repeat(129)]] as const)(
    'that returns %s as a nonce does not let in a token that signs this text',
    async (_name, answer) => {
      const texts = [String(answer), ...(answer === undefined ? [''] : [])]
      for (const text of texts) {
        await expect(logIn(answer, text)).rejects.toMatchObject(missing)
        await expect(logIn([answer], text)).rejects.toMatchObject(missing)
      }
    },
  )

  it('may return strings of 44 to 128 characters with other values among them', async () => {
    for (const text of ['n'.repeat(44), 'n'.repeat(128)])
      await expect(logIn([null, 'o'.repeat(44), text], text)).resolves.toHaveProperty(
        'identity.commonName',
        'Ada Lovelace',
      )
  })

  it.each(wrongAnswers.filter(([, taken]) => taken !== true))(
    'whose take resolves to %s lets nobody in',
    async (_name, taken) => {
      const nonce = 'n'.repeat(44)
      await expect(logIn([nonce], nonce, taken ?? null)).rejects.toMatchObject(missing)
    },
  )

  it('whose issued returns nothing, or not a promise, lets nobody in', async () => {
    for (const issued of [() => null, () => undefined, async () => {}]) {
      const take = () => true
      const nonces = { issue: async () => '', issued, take } as unknown as LoginVerifierOptions['nonces']
      for (const text of ['null', 'undefined', ''])
        await expect(
          createVerifier({ nonces }).verify(await tokenOver(text), 'session'),
        ).rejects.toMatchObject(missing)
    }
  })

  it.each(wrongAnswers.filter(([, session]) => session !== 'no'))(
    'is not asked for the session %s, which visitors without a cookie would share',
    async (_name, session) => {
      const nonces = memoryNonceStore()
      await expect(nonces.issue(session as string)).rejects.toMatchObject(wrong('session'))
      const nonce = 'n'.repeat(44)
      const shared = { issue: async () => nonce, issued: async () => [nonce], take: async () => true }
      const token = await tokenOver(nonce)
      await expect(createVerifier({ nonces: shared }).verify(token, session as string)).rejects.toMatchObject(
        {
          reason: 'nonce-missing',
        },
      )
    },
  )
})

describe('a revocation check', () => {
  const logIn = async (revocation: unknown) => {
    const nonces = memoryNonceStore()
    const verifier = createVerifier({ nonces, revocation: revocation as RevocationCheck })
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
    return verifier.verify(JSON.stringify(token), 'session')
  }

  it.each(wrongAnswers)(
    'that returns or resolves to %s refuses the login, and this value is refused as the option',
    async (_name, answer) => {
      const unknown = { reason: 'revocation-unknown' }
      await expect(logIn(() => answer)).rejects.toMatchObject(unknown)
      await expect(logIn(async () => answer)).rejects.toMatchObject(unknown)
      expect(() => createVerifier({ revocation: answer as RevocationCheck })).toThrow(/^`revocation` /)
    },
  )

  it('that returns nothing refuses the login and is a type error', async () => {
    // @ts-expect-error The function does not return a status.
    const forgotten: RevocationCheck = async (path) => {
      expect(path).toHaveLength(2)
    }
    await expect(logIn(forgotten)).rejects.toMatchObject({ reason: 'revocation-unknown' })
  })
})

describe('createLoginVerifier refuses', () => {
  const refused = (options: object): unknown => {
    try {
      createVerifier(options)
    } catch (error) {
      return error
    }
    return expect.fail('The verifier was created.')
  }

  it.each([...wrongAnswers, ['bytes', new Uint8Array(4)]] as const)('anchors: %s', (_name, anchors) => {
    expect(refused({ anchors })).toMatchObject(wrong(/^anchors/))
  })

  it.each(wrongAnswers.filter(([, given]) => given !== undefined && !isEmptyList(given)))(
    'intermediates: %s',
    (_name, intermediates) => {
      expect(refused({ intermediates })).toMatchObject(wrong(/^intermediates/))
    },
  )

  it.each<readonly [string, unknown]>([
    ...wrongAnswers.filter(([, given]) => given !== undefined && !isEmptyList(given)),
    ['a text', '1.2.3.4'],
    ['a policy name', ['anyPolicy']],
    ['an arc with a leading zero', ['1.2.03']],
  ])('disallowedPolicies: %s', (_name, disallowedPolicies) => {
    expect(refused({ disallowedPolicies })).toMatchObject(wrong('disallowedPolicies'))
  })

  it.each<readonly [string, unknown]>([
    ...wrongAnswers,
    ['a store without issued', { issue: async () => '', take: async () => '' }],
  ])('nonces: %s', (_name, nonces) => {
    expect(refused({ nonces })).toMatchObject(wrong('nonces'))
  })

  it.each(wrongAnswers.filter(([, now]) => now !== undefined))(
    'now: %s, as the option and as its return value',
    (_name, now) => {
      expect(refused({ now })).toMatchObject(wrong('now'))
      expect(refused({ now: () => now })).toMatchObject(wrong('now'))
      expect(refused({ now: () => new Date('soon') })).toMatchObject(wrong('now'))
    },
  )

  it('a login if now returns an invalid Date later', async () => {
    const nonces = memoryNonceStore()
    const answers = [new Date()]
    const verifier = createVerifier({ nonces, now: () => answers.pop() ?? new Date('soon') })
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
    await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toMatchObject(wrong('now'))
  })
})

function isEmptyList(given: unknown): boolean {
  return Array.isArray(given) && given.length === 0
}
