import {
  DocumentError,
  notChecked,
  signDetached,
  type SignDetachedOptions,
  trustedBy,
  verifyDetached,
  type VerifyDetachedOptions,
} from '@webtoki/documents'
import type { Signer } from '@webtoki/trust'
import { OctetString } from 'asn1js'
import { Attribute } from 'pkijs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Issued, issue, softwareSigner } from '../../trust/test/pki.ts'
import { resign } from './resign.ts'

const letter = new TextEncoder().encode('Dear reader,')
type Trust = Exclude<VerifyDetachedOptions['trust'], typeof notChecked>

let other: Issued
let person: Issued
let signature: Uint8Array
beforeAll(async () => {
  other = await issue({ name: 'Other' })
  // Nobody has issued it: whoever trusts it has to say so.
  person = await issue({ name: 'Mallory' })
  signature = await signDetached(softwareSigner(person, 'ES256'), letter)
})

/** What a function answers that says no, says nothing, or says something else. */
const unclear: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['false', false],
  ['{}', {}],
  ['[]', []],
  ["''", ''],
  ["'no'", 'no'],
  ["'true'", 'true'],
  ['0', 0],
  ['1', 1],
  ['NaN', Number.NaN],
  ['[undefined]', [undefined]],
  ["['path']", ['path']],
  ['[[]]', [[]]],
  ['an empty certificate', [new Uint8Array()]],
  ['an object that says true', { trusted: true, valueOf: () => true }],
]

describe('a signer is trusted only if the answer is an explicit yes', () => {
  const found = async (trust: unknown) => {
    const { valid, signers } = await verifyDetached(signature, letter, { trust: trust as Trust })
    return { valid, trust: signers[0]?.trust, error: signers[0]?.trustError }
  }

  it.each(unclear)('%s is a no, at once and as a promise', async (_name, answer) => {
    const no = { valid: false, trust: 'untrusted', error: expect.any(DocumentError) as unknown }
    expect(await found(async () => answer)).toEqual(no)
    expect(await found(() => answer)).toEqual(no)
  })

  it('a function that forgets its return says no, and the error tells what came', async () => {
    const { trust, error } = await found(async (certificate: Uint8Array) => {
      expect(certificate).toEqual(person.der)
    })
    expect(trust).toBe('untrusted')
    expect(error).toMatchObject({
      reason: 'untrusted',
      cause: { message: expect.stringContaining('undefined') as string },
    })
  })

  it('true is a yes, and so is a path that begins with the signer’s certificate', async () => {
    const yes = { valid: true, trust: 'trusted', error: undefined }
    expect(await found(async () => true)).toEqual(yes)
    expect(await found(async () => [person.der])).toEqual(yes)
    expect(await found(trustedBy([person.der]))).toEqual(yes)
    expect(await found(async () => [other.der, person.der])).toMatchObject({
      valid: false,
      trust: 'untrusted',
    })
  })

  it('no signer is trusted by an empty list of issuers', async () => {
    expect(await found(trustedBy([]))).toMatchObject({ valid: false, trust: 'untrusted' })
  })

  const pem = '-----BEGIN CERTIFICATE-----'
  it.each([undefined, null, pem, [pem], {}, 7])('a list of issuers that is %j is named', (anchors) => {
    expect(() => trustedBy(anchors as [])).toThrow(
      expect.objectContaining({
        code: 'documents/wrong-argument',
        message: expect.stringContaining('`anchors`') as string,
      }) as Error,
    )
  })

  it.each([
    ['options', undefined],
    ['options', null],
    ['options', 'trust'],
    ['trust', {}],
    ['trust', { trust: true }],
    ['trust', { trust: [] }],
    ['at', { trust: notChecked, at: new Date('soon') }],
    ['at', { trust: notChecked, at: '2026-11-28' }],
    ['at', { trust: notChecked, at: 0 }],
    ['certificates', { trust: notChecked, certificates: pem }],
    ['certificates', { trust: notChecked, certificates: [pem] }],
    ['digest', { trust: notChecked, digest: 'SHA-256' }],
  ])('a wrong argument is named as `%s`: %j', async (name, options) => {
    await expect(verifyDetached(signature, letter, options as VerifyDetachedOptions)).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringContaining(`\`${name}\``) as string,
    })
  })

  it.each([
    ['options', null, {}],
    ['signingTime', { signingTime: 'now' }, {}],
    ['chain', { chain: pem }, {}],
    ['chain', { chain: [[48, 0]] }, {}],
    ['signer.algorithm', {}, { algorithm: 'RS1' }],
    ['signer', {}, { certificate: pem }],
    ['signer', {}, { sign: undefined }],
  ])('a wrong argument is named as `%s` before the key is used: %j %j', async (name, options, odd) => {
    const sign = () => expect.fail('The key is not used.')
    const signer = { ...softwareSigner(person, 'ES256'), sign, ...odd } as unknown as Signer
    await expect(signDetached(signer, letter, options as SignDetachedOptions)).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringContaining(`\`${name}\``) as string,
    })
  })

  it('the types refuse a function that answers nothing, a number or a word', () => {
    const accepted: Trust[] = [async () => true, async () => false, async () => [person.der], trustedBy([])]
    // @ts-expect-error A promise of nothing.
    const nothing: Trust = async () => {}
    // @ts-expect-error A return that was forgotten.
    const forgotten: Trust = async (certificate) => {
      trustedBy([certificate])
    }
    // @ts-expect-error A number.
    const counted: Trust = async () => 1
    // @ts-expect-error A word.
    const said: Trust = async () => 'yes'
    // @ts-expect-error Trust cannot be left out.
    const none: VerifyDetachedOptions = {}
    expect([...accepted, nothing, forgotten, counted, said, none]).toHaveLength(9)
  })
})

describe('a digest made elsewhere counts only if it is one', () => {
  const messageDigest = '1.2.840.113549.1.9.4'
  const digestOf = (answer: unknown) => async () => answer as Uint8Array

  it.each([...unclear, ['31 bytes', new Uint8Array(31)]] as const)(
    '%s is refused before anybody signs it',
    async (_name, answer) => {
      const signer = softwareSigner(person, 'ES256')
      let asked = 0
      const counting = { ...signer, sign: (bytes: Uint8Array) => (asked++, signer.sign(bytes)) }
      await expect(signDetached(counting, letter, { digest: digestOf(answer) })).rejects.toMatchObject({
        code: 'documents/unreadable',
        reason: 'unreadable',
      })
      expect(asked).toBe(0)
    },
  )

  it.each(unclear)(
    '%s matches no document, not even one whose signed digest is empty',
    async (_name, answer) => {
      const empty = await resign(signature, person, (attributes) =>
        attributes.map((each) =>
          each.type === messageDigest
            ? new Attribute({
                type: messageDigest,
                values: [new OctetString({ valueHex: new ArrayBuffer(0) })],
              })
            : each,
        ),
      )
      const outcome = verifyDetached(empty, letter, { trust: notChecked, digest: digestOf(answer) })
      await expect(outcome).rejects.toMatchObject({ code: 'documents/unreadable', reason: 'unreadable' })
    },
  )
})
