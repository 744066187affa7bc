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
  const logIn = async (answer: unknown, text: string) => {
    const nonces = { issue: async () => text, take: async () => answer as string }
    return verifierWith({ nonces }).verify(await tokenOver(text), 'session')
  }

  it.each([...unclear, ['43 characters', 'n'.repeat(43)], ['129 characters', 'n'.repeat(129)]] as const)(
    'a store that gives %s for a nonce lets nobody in who signed just that',
    async (_name, answer) => {
      const texts = [String(answer), ...(answer === undefined ? [''] : [])]
      for (const text of texts)
        await expect(logIn(answer, text)).rejects.toMatchObject({ reason: 'nonce-missing' })
    },
  )

  it('a store may give any text of 44 to 128 characters', async () => {
    for (const text of ['n'.repeat(44), 'n'.repeat(128)])
      await expect(logIn(text, text)).resolves.toHaveProperty('identity.commonName', 'Ada Lovelace')
  })

  it('a store that answers at once, or forgets its return, lets nobody in', async () => {
    for (const take of [() => null, () => undefined, async () => {}]) {
      const nonces = { issue: async () => '', take } as unknown as LoginVerifierOptions['nonces']
      for (const text of ['null', 'undefined', ''])
        await expect(verifierWith({ nonces }).verify(await tokenOver(text), 'session')).rejects.toMatchObject(
          {
            reason: 'nonce-missing',
          },
        )
    }
  })

  it.each(unclear.filter(([, session]) => session !== 'no'))(
    'visitors whose session is %s share no nonce',
    async (_name, session) => {
      const nonces = memoryNonceStore()
      await expect(nonces.issue(session as string)).rejects.toThrow(TypeError)
      const nonce = 'n'.repeat(44)
      const shared = { issue: async () => nonce, take: async () => nonce }
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
    '%s is not good, as an answer, as a promise, and in place of the function',
    async (_name, answer) => {
      const unknown = { reason: 'revocation-unknown' }
      await expect(logIn(() => answer)).rejects.toMatchObject(unknown)
      await expect(logIn(async () => answer)).rejects.toMatchObject(unknown)
      await expect(logIn(answer)).rejects.toMatchObject(unknown)
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

describe('an issuer is trusted only if it is named', () => {
  it('no certificate is trusted where the list of anchors is empty, and no list is refused', async () => {
    const nonces = memoryNonceStore()
    const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
    await expect(
      verifierWith({ nonces, anchors: [] }).verify(JSON.stringify(token), 'session'),
    ).rejects.toMatchObject({ reason: 'untrusted' })
    for (const anchors of [undefined, null, {}, '', 0, 'no', ca.der])
      expect(() => verifierWith({ anchors: anchors as unknown as [] })).toThrow(Error)
  })

  it.each(unclear.filter(([, answer]) => answer !== undefined && answer !== null))(
    'a clock that answers %s lets nobody in',
    async (_name, answer) => {
      const nonces = memoryNonceStore()
      const verifier = verifierWith({ nonces, now: () => answer as Date })
      const token = await tokenFor(origin, softwareSigner(person, 'ES256'), await nonces.issue('session'))
      await expect(verifier.verify(JSON.stringify(token), 'session')).rejects.toThrow(Error)
    },
  )
})
