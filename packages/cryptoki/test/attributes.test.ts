/** Attributes: the value types of templates, and the attributes of each object class (PKCS#11 v3.0, 4). */
import { type Attributes, CKA, CKK, CKO, CKR, type Session } from '@webtoki/cryptoki'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkChange, checkTemplate, type CreationMethod } from '../src/attribute-rules.ts'
import { openMemory, rv } from './memory-setup.ts'

describe('a template', () => {
  let session: Session
  beforeEach(async () => {
    ;({ session } = await openMemory())
  })
  afterEach(() => session.close())

  it.each<[string, unknown]>([
    ['a month', '2025-12'],
    ['the 31st of February', '2025-02-31'],
    ['a 13th month', '2025-13-01'],
    ['a time with a zone', '2025-02-03T00:00Z'],
    ['a Date', new Date('2025-02-03')],
    ['a number', 20_250_203],
  ])('is refused with CKR_ATTRIBUTE_VALUE_INVALID if its CKA_END_DATE is %s', async (_, value) => {
    const template = { [CKA.END_DATE]: value } as unknown as Attributes
    await expect(session.findObjects(template)).rejects.toEqual(
      expect.objectContaining({
        rv: CKR.ATTRIBUTE_VALUE_INVALID,
        message: expect.stringContaining('CKA_END_DATE'),
      }),
    )
  })

  it.each(['2024-02-29', '9999-12-31', '0001-01-01', ''])('accepts the day %j', async (day) => {
    await expect(session.findObjects({ [CKA.END_DATE]: day })).resolves.toBeInstanceOf(Array)
  })

  it.each<[string, unknown]>([
    ['a number', 0x40],
    ['bytes', Uint8Array.of(0x40)],
    ['a list with a name in it', [0x40, 'CKM_RSA_PKCS']],
    ['a list with a hole', Object.assign([0x40], { 2: 0x41 })],
    ['a list with a negative number', [-1]],
  ])('is refused with CKR_ATTRIBUTE_VALUE_INVALID if its mechanisms are %s', async (_, value) => {
    const template = { [CKA.ALLOWED_MECHANISMS]: value } as unknown as Attributes
    await expect(session.findObjects(template)).rejects.toEqual(rv(CKR.ATTRIBUTE_VALUE_INVALID))
  })

  it('of 10 000 attributes that PKCS#11 does not have is refused with CKR_ATTRIBUTE_TYPE_INVALID', async () => {
    const entries = Array.from({ length: 10_000 }, (_, at) => [0x8000_0000 + at, at])
    const template = Object.fromEntries(entries) as Attributes
    await expect(session.findObjects(template)).rejects.toEqual(rv(CKR.ATTRIBUTE_TYPE_INVALID))
  })
})

const bytes = Uint8Array.of(1)
const rsa = { [CKA.CLASS]: CKO.PUBLIC_KEY, [CKA.KEY_TYPE]: CKK.RSA }
const aes = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES }

describe('the rules of an object class', () => {
  it.each<[CreationMethod, Attributes]>([
    ['create', { ...rsa, [CKA.MODULUS]: bytes, [CKA.PUBLIC_EXPONENT]: bytes, [CKA.VERIFY]: true }],
    ['create', { ...aes, [CKA.VALUE]: bytes }],
    ['generate', { ...aes, [CKA.VALUE_LEN]: 16, [CKA.ALLOWED_MECHANISMS]: [] }],
    ['unwrap', { ...aes, [CKA.LABEL]: 'unwrapped' }],
    ['derive', { ...aes, [CKA.VALUE_LEN]: 16 }],
    ['create', { [CKA.CLASS]: CKO.DATA, [CKA.APPLICATION]: 'a', [CKA.VALUE]: bytes }],
  ])('%s accepts template %#', (making, template) => {
    expect(() => checkTemplate(making, template)).not.toThrow()
  })

  it.each<[CreationMethod, string, Attributes, CKR]>([
    ['create', 'no class', {}, CKR.TEMPLATE_INCOMPLETE],
    ['create', 'no key type', { [CKA.CLASS]: CKO.SECRET_KEY }, CKR.TEMPLATE_INCOMPLETE],
    ['create', 'no value', aes, CKR.TEMPLATE_INCOMPLETE],
    ['generate', 'no length', aes, CKR.TEMPLATE_INCOMPLETE],
    ['unwrap', 'no key type', { [CKA.CLASS]: CKO.SECRET_KEY }, CKR.TEMPLATE_INCOMPLETE],
    ['create', 'no modulus', { ...rsa, [CKA.PUBLIC_EXPONENT]: bytes }, CKR.TEMPLATE_INCOMPLETE],
    ['create', 'an unknown key type', { ...aes, [CKA.KEY_TYPE]: 0x7fff }, CKR.TEMPLATE_INCONSISTENT],
    [
      'create',
      'an attribute of public keys',
      { ...aes, [CKA.VALUE]: bytes, [CKA.MODULUS]: bytes },
      CKR.TEMPLATE_INCONSISTENT,
    ],
    ['create', 'CKA_LOCAL', { ...aes, [CKA.VALUE]: bytes, [CKA.LOCAL]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['create', 'a length', { ...aes, [CKA.VALUE]: bytes, [CKA.VALUE_LEN]: 1 }, CKR.ATTRIBUTE_READ_ONLY],
    ['generate', 'a value', { ...aes, [CKA.VALUE_LEN]: 16, [CKA.VALUE]: bytes }, CKR.ATTRIBUTE_READ_ONLY],
    ['unwrap', 'a value', { ...aes, [CKA.VALUE]: bytes }, CKR.ATTRIBUTE_READ_ONLY],
    ['derive', 'a value', { ...aes, [CKA.VALUE]: bytes }, CKR.ATTRIBUTE_READ_ONLY],
    ['create', 'CKA_TRUSTED', { ...aes, [CKA.VALUE]: bytes, [CKA.TRUSTED]: true }, CKR.ATTRIBUTE_READ_ONLY],
  ])('%s refuses an object with %s', (making, _, template, expected) => {
    expect(() => checkTemplate(making, template)).toThrow(rv(expected) as Error)
  })

  const key: Attributes = { ...aes, [CKA.SENSITIVE]: true, [CKA.EXTRACTABLE]: false, [CKA.TOKEN]: false }

  it.each<['set' | 'copy', string, Attributes]>([
    ['set', 'the label', { [CKA.LABEL]: 'new' }],
    ['set', 'a use', { [CKA.DECRYPT]: false }],
    ['copy', 'the label', { [CKA.LABEL]: 'new' }],
    ['copy', 'CKA_DESTROYABLE', { [CKA.DESTROYABLE]: false }],
    ['set', 'CKA_SENSITIVE from true to true', { [CKA.SENSITIVE]: true }],
  ])('C_%s may change %s', (how, _, template) => {
    expect(() => checkChange(how, template, key)).not.toThrow()
  })

  it.each<['set' | 'copy', string, Attributes, Attributes, CKR]>([
    ['set', 'an unmodifiable object', { [CKA.MODIFIABLE]: false }, {}, CKR.ACTION_PROHIBITED],
    ['copy', 'an object that is not copyable', { [CKA.COPYABLE]: false }, {}, CKR.ACTION_PROHIBITED],
    ['set', 'CKA_SENSITIVE to false', {}, { [CKA.SENSITIVE]: false }, CKR.ATTRIBUTE_READ_ONLY],
    ['copy', 'CKA_EXTRACTABLE to true', {}, { [CKA.EXTRACTABLE]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['set', 'CKA_COPYABLE', {}, { [CKA.COPYABLE]: false }, CKR.ATTRIBUTE_READ_ONLY],
    ['set', 'the value', {}, { [CKA.VALUE]: bytes }, CKR.ATTRIBUTE_READ_ONLY],
    ['set', 'a modulus', {}, { [CKA.MODULUS]: bytes }, CKR.ATTRIBUTE_TYPE_INVALID],
    ['copy', 'a modulus', {}, { [CKA.MODULUS]: bytes }, CKR.TEMPLATE_INCONSISTENT],
  ])('C_%s must not change %s', (how, _, more, template, expected) => {
    expect(() => checkChange(how, template, { ...key, ...more })).toThrow(rv(expected) as Error)
  })
})
