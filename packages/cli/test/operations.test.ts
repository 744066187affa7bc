/** `webtoki operations`, which plays pairs of operations with real keys on a virtual card. */
import { describe, expect, it } from 'vitest'
import { kinds, mayStandBeside } from '../src/operation-cells.ts'
import { operations, playAll } from '../src/operations.ts'

const piv = { simulator: 'piv' }

describe('webtoki operations', () => {
  it('prints both tables, and tells how many of the 128 cells follow the standard', async () => {
    const lines: string[] = []
    await operations(['--simulator', 'piv'], (line) => lines.push(line))
    expect(lines.filter((line) => line.startsWith('CKF_DUAL_CRYPTO_OPERATIONS'))).toHaveLength(2)
    expect(lines.at(-1)).toBe('128 of 128 follow the standard')
  })

  it.each([true, false])('plays all cells by the standard with the dual flag %s', async (dual) => {
    const cells = await playAll(piv, dual)
    expect(cells).toHaveLength(64)
    expect(cells.filter(({ complaint }) => complaint !== undefined)).toEqual([])
  })

  it('takes no real card', async () => {
    await expect(operations([], () => {})).rejects.toThrow('--simulator piv')
  })

  it('finds that a library whose Init ends the other operation does not follow the standard', async () => {
    const cells = await playAll(piv, true, { onConflict: 'abandon' })
    const follow = cells.filter(({ complaint }) => complaint === undefined)
    expect(follow).toHaveLength(8)
    for (const { first, second } of follow) expect(mayStandBeside(first, second, true)).toBe(true)
  })

  it('finds that a library with one operation at a time does not have the pairs', async () => {
    const cells = await playAll(piv, true, { dualOperations: false })
    const pairs = cells.filter(({ first, second }) => mayStandBeside(first, second, true))
    expect(pairs).toHaveLength(8)
    for (const { complaint, answer } of pairs) {
      expect(answer).toBe('CKR_OPERATION_ACTIVE')
      expect(complaint).toBeDefined()
    }
  })

  it('knows the four pairs of the standard in both orders, and no other', () => {
    const pairs = kinds.flatMap((first) =>
      kinds.filter((second) => mayStandBeside(first, second, true)).map((second) => `${first}+${second}`),
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
