/** C_GetAttributeValue: the values that can be read, and the reasons for the others. */
import { type AttributeTypes, CKA, CKO, CKR, type CkObject, type Session } from '@webtoki/cryptoki'
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import { object, open, rv, type Setup } from './piv-setup.ts'

let setup: Setup
let session: Session
let key: CkObject
beforeEach(async () => {
  setup = await open({ cryptoki: { login: 'on-demand' } })
  ;({ session } = setup)
  key = await object(session, CKO.PRIVATE_KEY, 1)
})
afterEach(() => setup.cryptoki.close())

describe('readAttributes', () => {
  it('returns the readable values, and lists secrets and attributes that the object lacks', () => {
    const types = [CKA.SIGN, CKA.PRIVATE_EXPONENT, CKA.ISSUER, CKA.PRIME_1] as const
    const { values, sensitive, unknown, rv: code } = session.readAttributes(key, types)
    expect(values).toEqual({ [CKA.SIGN]: true })
    expect(sensitive).toEqual([CKA.PRIVATE_EXPONENT, CKA.PRIME_1])
    expect(unknown).toEqual([CKA.ISSUER])
    expect(code).toBe(CKR.ATTRIBUTE_SENSITIVE)
  })

  it('returns CKR_ATTRIBUTE_TYPE_INVALID if nothing is secret, and CKR_OK if everything is readable', () => {
    expect(session.readAttributes(key, [CKA.ISSUER, CKA.ID]).rv).toBe(CKR.ATTRIBUTE_TYPE_INVALID)
    expect(session.readAttributes(key, [CKA.ID, CKA.MODULUS]).rv).toBe(CKR.OK)
    expect(session.readAttributes(key, []).rv).toBe(CKR.OK)
  })

  it('lists unknown types and names of Object.prototype members as unknown', () => {
    const notTypes = [0x8000_0001, 'constructor', '__proto__'] as unknown as readonly number[]
    expect(session.readAttributes(key, notTypes)).toEqual({
      values: {},
      sensitive: [],
      unknown: notTypes,
      rv: CKR.ATTRIBUTE_TYPE_INVALID,
    })
  })

  it('returns a copy of the bytes', () => {
    const first = session.readAttributes(key, [CKA.ID]).values[CKA.ID]
    first?.fill(0xff)
    expect(session.readAttributes(key, [CKA.ID]).values[CKA.ID]).toEqual(Uint8Array.of(1))
  })

  it('infers the type of each value', () => {
    const { values } = session.readAttributes(key, [CKA.ID, CKA.SIGN])
    expectTypeOf(values).toEqualTypeOf<Partial<Pick<AttributeTypes, 0x102 | 0x108>>>()
    expect(values[CKA.SIGN]).toBe(true)
  })

  it('throws CKR_OBJECT_HANDLE_INVALID or CKR_ARGUMENTS_BAD for anything but an object and a list', async () => {
    const nothing = undefined as unknown
    expect(() => session.readAttributes(nothing as CkObject, [])).toThrow(
      rv(CKR.OBJECT_HANDLE_INVALID) as Error,
    )
    expect(() => session.readAttributes(key, nothing as number[])).toThrow(rv(CKR.ARGUMENTS_BAD) as Error)
    await session.close()
    expect(() => session.readAttributes(key, [])).toThrow(rv(CKR.SESSION_HANDLE_INVALID) as Error)
  })
})

it('getAttributes throws CKR_ATTRIBUTE_SENSITIVE for one secret among others', () => {
  const both = () => session.getAttributes(key, CKA.ID, CKA.COEFFICIENT)
  expect(both).toThrow(rv(CKR.ATTRIBUTE_SENSITIVE) as Error)
})
