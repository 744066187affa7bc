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
  // Self-signed, so it is trusted only if the trust function says so.
  person = await issue({ name: 'Mallory' })
  signature = await signDetached(softwareSigner(person, 'ES256'), letter)
})

/** Results of a trust or digest function that do not mean yes, or are not a digest. */
const wrongAnswers: readonly (readonly [string, unknown])[] = [
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
  ['an object with valueOf true', { trusted: true, valueOf: () => true }],
]

describe('a trust function', () => {
  const found = async (trust: unknown) => {
    const { valid, signers } = await verifyDetached(signature, letter, { trust: trust as Trust })
    return { valid, trust: signers[0]?.trust, error: signers[0]?.trustError }
  }

  it.each(wrongAnswers)(
    'that returns or resolves to %s leaves the signer untrusted',
    async (_name, answer) => {
      const no = { valid: false, trust: 'untrusted', error: expect.any(DocumentError) as unknown }
      expect(await found(async () => answer)).toEqual(no)
      expect(await found(() => answer)).toEqual(no)
    },
  )

  it('that returns nothing leaves the signer untrusted, and the error names undefined', async () => {
    const { trust, error } = await found(async (certificate: Uint8Array) => {
      expect(certificate).toEqual(person.der)
    })
    expect(trust).toBe('untrusted')
    expect(error).toMatchObject({
      reason: 'untrusted',
      cause: { message: expect.stringContaining('undefined') as string },
    })
  })

  it('that resolves to true or a path that begins with the signer’s certificate trusts the signer', async () => {
    const yes = { valid: true, trust: 'trusted', error: undefined }
    expect(await found(async () => true)).toEqual(yes)
    expect(await found(async () => [person.der])).toEqual(yes)
    expect(await found(trustedBy([person.der]))).toEqual(yes)
    expect(await found(async () => [other.der, person.der])).toMatchObject({
      valid: false,
      trust: 'untrusted',
    })
  })

  it('trustedBy([]) trusts no signer', async () => {
    expect(await found(trustedBy([]))).toMatchObject({ valid: false, trust: 'untrusted' })
  })

  const pem = '-----BEGIN CERTIFICATE-----'
  it.each([undefined, null, pem, [pem], {}, 7])(
    'trustedBy(%j) throws an error that names `anchors`',
    (anchors) => {
      expect(() => trustedBy(anchors as [])).toThrow(
        expect.objectContaining({
          code: 'documents/wrong-argument',
          message: expect.stringContaining('`anchors`') as string,
        }) as Error,
      )
    },
  )

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
  ])('verifyDetached names `%s` as the wrong argument in %j', async (name, options) => {
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
  ])(
    'signDetached names `%s` as the wrong argument before the key is used: %j %j',
    async (name, options, odd) => {
      const sign = () => expect.fail('The key is not used.')
      const signer = { ...softwareSigner(person, 'ES256'), sign, ...odd } as unknown as Signer
      await expect(signDetached(signer, letter, options as SignDetachedOptions)).rejects.toMatchObject({
        code: 'documents/wrong-argument',
        message: expect.stringContaining(`\`${name}\``) as string,
      })
    },
  )

  it('that returns nothing, a number or a string is a type error', () => {
    const accepted: Trust[] = [async () => true, async () => false, async () => [person.der], trustedBy([])]
    // @ts-expect-error It resolves to undefined.
    const nothing: Trust = async () => {}
    // @ts-expect-error It has no return statement.
    const forgotten: Trust = async (certificate) => {
      trustedBy([certificate])
    }
    // @ts-expect-error It resolves to a number.
    const counted: Trust = async () => 1
    // @ts-expect-error It resolves to a string.
    const text: Trust = async () => 'yes'
    // @ts-expect-error The option `trust` is required.
    const none: VerifyDetachedOptions = {}
    expect([...accepted, nothing, forgotten, counted, text, none]).toHaveLength(9)
  })
})

describe('a digest function that resolves to', () => {
  const messageDigest = '1.2.840.113549.1.9.4'
  const digestOf = (answer: unknown) => async () => answer as Uint8Array

  it.each([...wrongAnswers, ['31 bytes', new Uint8Array(31)]] as const)(
    '%s makes signDetached reject before the key is used',
    async (_name, answer) => {
      const signer = softwareSigner(person, 'ES256')
      let signatures = 0
      const counting = { ...signer, sign: (bytes: Uint8Array) => (signatures++, signer.sign(bytes)) }
      await expect(signDetached(counting, letter, { digest: digestOf(answer) })).rejects.toMatchObject({
        code: 'documents/unreadable',
        reason: 'unreadable',
      })
      expect(signatures).toBe(0)
    },
  )

  it.each(wrongAnswers)(
    '%s makes verifyDetached reject, even if the signed digest is empty',
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
