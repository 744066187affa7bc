/** Tests which sessions the site removes when there are too many. */
import { describe, expect, it } from 'vitest'
import { Sessions } from '../src/sessions.ts'

describe('the site’s sessions', () => {
  it('of people who are logged in outlive 10,000 others, of which the oldest is removed first', () => {
    const sessions = new Sessions(() => 0)
    const oldest = sessions.issue()
    const person = sessions.issue({ name: 'Ada' })
    const names = Array.from({ length: 10_000 }, () => sessions.issue())
    expect(sessions.personOf(person)).toEqual({ name: 'Ada' })
    expect(sessions.has(oldest)).toBe(false)
    expect(names.filter((name) => sessions.has(name))).toEqual(names.slice(1))
  })

  it('that have expired are removed before any other', () => {
    let now = 0
    const sessions = new Sessions(() => now)
    const expired = sessions.issue({ name: 'Ada' })
    now = 30 * 60_000 + 1
    const person = sessions.issue({ name: 'Grace' })
    const first = sessions.issue()
    for (let count = 2; count < 10_000; count++) sessions.issue()
    expect([expired, person, first].map((name) => sessions.has(name))).toEqual([false, true, true])
    expect(first).toMatch(/^[0-9a-f]{64}$/)
  })

  it('expire after 30 minutes', () => {
    let now = 0
    const sessions = new Sessions(() => now)
    const name = sessions.issue({ name: 'Ada' })
    now = 30 * 60_000
    expect(sessions.personOf(name)).toEqual({ name: 'Ada' })
    now++
    expect(sessions.personOf(name)).toBeUndefined()
  })
})
