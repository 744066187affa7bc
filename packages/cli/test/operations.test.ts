/** Tests `webtoki operations`, which runs pairs of operations on a virtual card. */
import { describe, expect, it } from 'vitest'
import { kinds, mayBeActiveTogether } from '../src/operation-cells.ts'
import { operations, runAllCells } from '../src/operations.ts'

const piv = { simulator: 'piv' }

describe('webtoki operations', () => {
  it('prints both tables and how many of the 128 cells follow the standard', async () => {
    const lines: string[] = []
    await operations(['--simulator', 'piv'], (line) => lines.push(line))
    expect(lines.filter((line) => line.startsWith('CKF_DUAL_CRYPTO_OPERATIONS'))).toHaveLength(2)
    expect(lines.at(-1)).toBe('128 of 128 follow the standard')
  })

  it.each([true, false])('finds no violation in the 64 cells with the dual flag %s', async (dual) => {
    const cells = await runAllCells(piv, dual)
    expect(cells).toHaveLength(64)
    expect(cells.filter(({ violation }) => violation !== undefined)).toEqual([])
  })

  it('refuses to run without --simulator', async () => {
    await expect(operations([], () => {})).rejects.toThrow('--simulator piv')
  })

  it('reports a library whose Init ends the active operation as violating the standard', async () => {
    const cells = await runAllCells(piv, true, { onConflict: 'abandon' })
    const conforming = cells.filter(({ violation }) => violation === undefined)
    expect(conforming).toHaveLength(8)
    for (const { first, second } of conforming) expect(mayBeActiveTogether(first, second, true)).toBe(true)
  })

  it('reports the eight pairs as violations if a library runs only one operation at a time', async () => {
    const cells = await runAllCells(piv, true, { dualOperations: false })
    const pairs = cells.filter(({ first, second }) => mayBeActiveTogether(first, second, true))
    expect(pairs).toHaveLength(8)
    for (const { violation, initResult } of pairs) {
      expect(initResult).toBe('CKR_OPERATION_ACTIVE')
      expect(violation).toBeDefined()
    }
  })

  it('allows the four pairs of the standard in both orders and no other pair', () => {
    const pairs = kinds.flatMap((first) =>
      kinds
        .filter((second) => mayBeActiveTogether(first, second, true))
        .map((second) => `${first}+${second}`),
    )
    expect(pairs.toSorted()).toEqual(
      [
        'decrypt+digest',
        'decrypt+verify',
        'digest+decrypt',
        'digest+encrypt',
        'encrypt+digest',
        'encrypt+sign',
        'sign+encrypt',
        'verify+decrypt',
      ].toSorted(),
    )
  })
})
