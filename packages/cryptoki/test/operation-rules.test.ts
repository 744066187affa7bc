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
 * The standard's rule a second time, as data: row = active, column = then initialised, in the order of `types`;
 * `+` both may be active where the token supports two, `-` they may not.
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
        fits: dual && (pairs[row]?.[column] ?? false),
      })),
    ),
  ),
)

describe('an init', () => {
  it('knows the eight kinds', () => {
    expect([...operationTypes].sort()).toEqual([...types].sort())
    expect(cases).toHaveLength(256)
    expect(cases.filter(({ fits, onConflict }) => fits && onConflict === 'reject')).toHaveLength(8)
  })

  it('is admitted where nothing is active', () => {
    for (const next of types) {
      for (const dual of [true, false]) {
        expect(admit([], next, { dual, onConflict: 'reject' })).toEqual({ rv: CKR.OK, ends: [] })
      }
    }
  })

  it.each(cases)(
    'of $next beside $active (dual: $dual, $onConflict)',
    ({ active, next, dual, onConflict, fits }) => {
      const expected = fits
        ? { rv: CKR.OK, ends: [] }
        : onConflict === 'abandon'
          ? { rv: CKR.OK, ends: [active] }
          : { rv: CKR.OPERATION_ACTIVE }
      expect(admit([active], next, { dual, onConflict })).toEqual(expected)
    },
  )

  it('is never admitted as a third', () => {
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
  ] as const)('of $next under abandon ends of $active exactly $ends', ({ active, next, ends }) => {
    expect(admit(active, next, { dual: true, onConflict: 'abandon' })).toEqual({ rv: CKR.OK, ends })
  })
})

describe('two libraries that people use', () => {
  const measured = observed.filter(
    ({ first, second }) => first === 'CKR_OK' && second !== 'CKR_FUNCTION_NOT_SUPPORTED',
  )
  const answer = (next: string, active: string, dual: boolean): string =>
    admit([active as OperationType], next as OperationType, { dual, onConflict: 'reject' }).rv === CKR.OK
      ? 'CKR_OK'
      : 'CKR_OPERATION_ACTIVE'

  it('SoftHSM, which supports one operation, refuses what we refuse without the dual flag', () => {
    const softHsm = measured.filter(({ library }) => library.startsWith('softhsm'))
    expect(softHsm.length).toBe(48)
    for (const { active, next, second } of softHsm) expect(answer(next, active, false)).toBe(second)
  })

  it('NSS, which supports two, admits all that we admit (and more, against the text)', () => {
    const nss = measured.filter(({ library }) => library.startsWith('nss'))
    const legal = nss.filter(({ active, next }) => answer(next, active, true) === 'CKR_OK')
    expect(legal).toHaveLength(8)
    for (const { second } of legal) expect(second).toBe('CKR_OK')
  })
})

describe('a one-call function', () => {
  it('is refused while anything is active, unless the setting allows it, and ends nothing', () => {
    expect(admitSinglePart([], 'reject')).toBe(CKR.OK)
    for (const active of types) {
      expect(admitSinglePart([active], 'reject')).toBe(CKR.OPERATION_ACTIVE)
      expect(admitSinglePart([active], 'allow')).toBe(CKR.OK)
    }
  })
})

describe('the life of an operation', () => {
  it('refuses to mix single and multi part, and ends by that', () => {
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

  it('ends by completing and by any error, and by nothing else', () => {
    for (const type of types) {
      for (const call of ['single', 'update', 'final'] as const) {
        expect(afterCall(type, call, 'error')).toBe('gone')
      }
      expect(afterCall(type, 'single', 'done')).toBe('gone')
      expect(afterCall(type, 'final', 'done')).toBe('gone')
      expect(afterCall(type, 'update', 'done')).toBe('multi')
    }
  })

  it('goes on after a size query and after a buffer that was too small', () => {
    const asked: readonly CallOutcome[] = ['size-query', 'buffer-too-small']
    for (const type of ['encrypt', 'decrypt', 'digest', 'sign', 'sign-recover', 'verify-recover'] as const) {
      for (const outcome of asked) {
        expect(afterCall(type, 'single', outcome)).toBe('queried')
        expect(afterCall(type, 'update', outcome)).toBe('multi')
        expect(afterCall(type, 'final', outcome)).toBe('multi')
      }
    }
  })
})
