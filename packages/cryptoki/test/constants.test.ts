/** The constants against the OASIS headers, and the names used in errors and for people. */
import {
  CKA,
  CKC,
  CKD,
  CKF,
  CKG,
  CKK,
  CKM,
  CKO,
  CKR,
  CKS,
  CKU,
  ckaName,
  ckmName,
  ckrName,
} from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import oasis from './vectors/oasis-constants.json' with { type: 'json' }

const families = { CKA, CKC, CKD, CKF, CKG, CKK, CKM, CKO, CKR, CKS, CKU }
const own = Object.entries(families).flatMap(([family, members]) =>
  Object.entries(members).map(([name, value]): [string, number] => [`${family}_${name}`, value]),
)
/** The values of each version. A later version adds names and changes no number. */
const [old, v31, v32] = [oasis.values['2.40'], oasis.values['3.1'], oasis.values['3.2']].map(
  (values) => new Map(Object.entries(values)),
) as [Map<string, number>, Map<string, number>, Map<string, number>]

describe('constants', () => {
  it('have the values of the OASIS headers', () => {
    expect(own.length).toBeGreaterThan(250)
    for (const [name, value] of own) expect([name, old.get(name) ?? v31.get(name)]).toEqual([name, value])
  })

  it('that version 2.40 lacks are these', () => {
    const later = own.map(([name]) => name).filter((name) => !old.has(name))
    expect(later.sort()).toEqual([
      'CKA_UNIQUE_ID',
      'CKK_EC_EDWARDS',
      'CKK_EC_MONTGOMERY',
      'CKM_AES_KEY_WRAP_KWP',
      'CKM_EDDSA',
      'CKM_SHA3_224',
      'CKM_SHA3_224_HMAC',
      'CKM_SHA3_256',
      'CKM_SHA3_256_HMAC',
      'CKM_SHA3_384',
      'CKM_SHA3_384_HMAC',
      'CKM_SHA3_512',
      'CKM_SHA3_512_HMAC',
      'CKR_AEAD_DECRYPT_FAILED',
      'CKR_KEY_EXHAUSTED',
      'CKR_OPERATION_CANCEL_FAILED',
      'CKR_TOKEN_RESOURCE_EXCEEDED',
    ])
  })

  it('include every return value, session state and user type of versions 2.40 to 3.1', () => {
    const names = new Set(own.map(([name]) => name))
    const missing = [...old.keys(), ...v31.keys()].filter(
      (name) => /^CK[RSU]_/.test(name) && !name.endsWith('VENDOR_DEFINED') && !names.has(name),
    )
    expect(missing).toEqual([])
  })
})

describe('a return value', () => {
  it.each([...old, ...v31].filter(([name]) => /^CKR_(?!VENDOR)/.test(name)))(
    '%s has its name',
    (name, value) => {
      expect(ckrName(value)).toBe(name)
    },
  )

  it.each([...v32].filter(([name]) => name.startsWith('CKR_')))(
    '%s of version 3.2 is shown in hex',
    (_, value) => {
      expect(ckrName(value)).toBe(`CKR 0x${value.toString(16).padStart(8, '0')}`)
    },
  )
})

it('mechanisms and attributes have their names, and hex if they are not in the tables', () => {
  expect(ckmName(CKM.ECDSA_SHA256)).toBe('CKM_ECDSA_SHA256')
  expect(ckaName(CKA.ALLOWED_MECHANISMS)).toBe('CKA_ALLOWED_MECHANISMS')
  const mlDsa = v32.get('CKM_ML_DSA') as number
  expect(ckmName(mlDsa)).toBe('CKM 0x0000001d')
  expect(ckaName(v32.get('CKA_ENCAPSULATE') as number)).toBe('CKA 0x00000633')
})

it('numbers of later versions are assignable where the types are open', () => {
  const key: CKK = v32.get('CKK_ML_DSA') as number
  const objectClass: CKO = v32.get('CKO_TRUST') as number
  expect([key, objectClass].every(Number.isSafeInteger)).toBe(true)
})
