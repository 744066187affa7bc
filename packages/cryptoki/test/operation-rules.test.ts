import { describe, expect, it } from 'vitest'
import {
  admit,
  admitSinglePart,
  afterCall,
  type CallOutcome,
  CKR,
  mayCall,
  type OperationType,
  operationTypes,
} from '@webtoki/cryptoki'
import observed from './vectors/operation-pairs.json' with { type: 'json' }

/**
 * The rule of the standard as data, independent of the code under test: row = active, column = Init, in the
 * order of `types`.
 * `+`: both may be active if the token supports two operations; `-`: they may not.
 */
const types: readonly OperationType[] = [
  'search',
  'encrypt',
  'decrypt',
  'digest',
  'sign',
  'sign-recover',
  'verify',
  'verify-recover',
]
const pairs = [
  '- - - - - - - -', // search
  '- - - + + - - -', // encrypt
  '- - - + - - + -', // decrypt
  '- + + - - - - -', // digest
  '- + - - - - - -', // sign
  '- - - - - - - -', // sign-recover
  '- - + - - - - -', // verify
  '- - - - - - - -', // verify-recover
].map((row) => row.split(' ').map((cell) => cell === '+'))

const cases = types.flatMap((active, row) =>
  types.flatMap((next, column) =>
    ([true, false] as const).flatMap((dual) =>
      (['reject', 'abandon'] as const).map((onConflict) => ({
        active,
        next,
        dual,
        onConflict,
        mayBeBoth: dual && (pairs[row]?.[column] ?? false),
      })),
    ),
  ),
)

describe('an Init', () => {
  it('covers the eight kinds', () => {
    expect([...operationTypes].sort()).toEqual([...types].sort())
    expect(cases).toHaveLength(256)
    expect(cases.filter(({ mayBeBoth, onConflict }) => mayBeBoth && onConflict === 'reject')).toHaveLength(8)
  })

  it('is admitted if nothing is active', () => {
    for (const next of types) {
      for (const dual of [true, false]) {
        expect(admit([], next, { dual, onConflict: 'reject' })).toEqual({ rv: CKR.OK, ends: [] })
      }
    }
  })

  it.each(cases)(
    'of $next while $active is active (dual: $dual, $onConflict)',
    ({ active, next, dual, onConflict, mayBeBoth }) => {
      const expected = mayBeBoth
        ? { rv: CKR.OK, ends: [] }
        : onConflict === 'abandon'
          ? { rv: CKR.OK, ends: [active] }
          : { rv: CKR.OPERATION_ACTIVE }
      expect(admit([active], next, { dual, onConflict })).toEqual(expected)
    },
  )

  it('is never admitted as a third operation', () => {
    for (const [first, second] of [
      ['digest', 'encrypt'],
      ['decrypt', 'digest'],
      ['sign', 'encrypt'],
      ['decrypt', 'verify'],
    ] as const) {
      for (const next of types) {
        expect(admit([first, second], next, { dual: true, onConflict: 'reject' })).toEqual({
          rv: CKR.OPERATION_ACTIVE,
        })
      }
    }
  })

  it.each([
    { active: ['digest', 'encrypt'], next: 'sign', ends: ['digest'] },
    { active: ['digest', 'encrypt'], next: 'decrypt', ends: ['encrypt'] },
    { active: ['digest', 'encrypt'], next: 'digest', ends: ['digest'] },
    { active: ['digest', 'encrypt'], next: 'verify', ends: ['digest', 'encrypt'] },
    { active: ['decrypt', 'digest'], next: 'verify', ends: ['digest'] },
    { active: ['decrypt', 'verify'], next: 'search', ends: ['decrypt', 'verify'] },
    { active: ['sign', 'encrypt'], next: 'digest', ends: ['sign'] },
  ] as const)('of $next with policy abandon ends $ends of $active', ({ active, next, ends }) => {
    expect(admit(active, next, { dual: true, onConflict: 'abandon' })).toEqual({ rv: CKR.OK, ends })
  })
})

describe('the observed behaviour of other libraries', () => {
  const measured = observed.filter(
    ({ first, second }) => first === 'CKR_OK' && second !== 'CKR_FUNCTION_NOT_SUPPORTED',
  )
  const admitted = (next: string, active: string, dual: boolean): string =>
    admit([active as OperationType], next as OperationType, { dual, onConflict: 'reject' }).rv === CKR.OK
      ? 'CKR_OK'
      : 'CKR_OPERATION_ACTIVE'

  it('SoftHSM, with one operation at a time, refuses what admit() refuses without the dual flag', () => {
    const softHsm = measured.filter(({ library }) => library.startsWith('softhsm'))
    expect(softHsm.length).toBe(48)
    for (const { active, next, second } of softHsm) expect(admitted(next, active, false)).toBe(second)
  })

  it('NSS, with two operations, admits all that admit() admits (and more, against the standard)', () => {
    const nss = measured.filter(({ library }) => library.startsWith('nss'))
    const legal = nss.filter(({ active, next }) => admitted(next, active, true) === 'CKR_OK')
    expect(legal).toHaveLength(8)
    for (const { second } of legal) expect(second).toBe('CKR_OK')
  })
})

describe('a single-part function', () => {
  it('is refused during an operation unless the policy allows it, and ends nothing', () => {
    expect(admitSinglePart([], 'reject')).toBe(CKR.OK)
    for (const active of types) {
      expect(admitSinglePart([active], 'reject')).toBe(CKR.OPERATION_ACTIVE)
      expect(admitSinglePart([active], 'allow')).toBe(CKR.OK)
    }
  })
})

describe('the phases of an operation', () => {
  it('end if single-part and multiple-part calls are mixed', () => {
    expect(mayCall('multi', 'single')).toEqual({ rv: CKR.OPERATION_ACTIVE, phase: 'gone' })
    expect(mayCall('queried', 'update')).toEqual({ rv: CKR.OPERATION_ACTIVE, phase: 'gone' })
    expect(mayCall('queried', 'final')).toEqual({ rv: CKR.OPERATION_ACTIVE, phase: 'gone' })
    for (const [phase, call] of [
      ['fresh', 'single'],
      ['fresh', 'update'],
      ['fresh', 'final'],
      ['queried', 'single'],
      ['multi', 'update'],
      ['multi', 'final'],
    ] as const) {
      expect(mayCall(phase, call)).toEqual({ rv: CKR.OK, phase })
    }
  })

  it('end by completion and by any error only', () => {
    for (const type of types) {
      for (const call of ['single', 'update', 'final'] as const) {
        expect(afterCall(type, call, 'error')).toBe('gone')
      }
      expect(afterCall(type, 'single', 'done')).toBe('gone')
      expect(afterCall(type, 'final', 'done')).toBe('gone')
      expect(afterCall(type, 'update', 'done')).toBe('multi')
    }
  })

  it('continue after a size query and after a buffer that was too small', () => {
    const queries: readonly CallOutcome[] = ['size-query', 'buffer-too-small']
    for (const type of ['encrypt', 'decrypt', 'digest', 'sign', 'sign-recover', 'verify-recover'] as const) {
      for (const outcome of queries) {
        expect(afterCall(type, 'single', outcome)).toBe('queried')
        expect(afterCall(type, 'update', outcome)).toBe('multi')
        expect(afterCall(type, 'final', outcome)).toBe('multi')
      }
    }
  })
})
