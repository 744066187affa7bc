/**
 * All ordered pairs of the eight kinds on live sessions with real keys (PKCS#11 v2.20, 13.1 "Operations,
 * sessions, and threads").
 */
import type { SessionPolicy } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import {
  callerWays,
  isOperation,
  type Kind,
  kinds,
  mayBeActiveTogether,
  openKinds,
  type Outcome,
  outcomeOf,
  run,
  verdict,
} from './kinds-setup.ts'

const policies = ['reject', 'abandon', 'wait'] as const
const [ok, refused, notInitialized] = ['CKR_OK', 'CKR_OPERATION_ACTIVE', 'CKR_OPERATION_NOT_INITIALIZED']

/** What the standard requires: the results of both operations, and what is active after the second Init. */
function expected(
  first: Kind,
  second: Kind,
  { dual, policy, waits }: { dual: boolean; policy: SessionPolicy['onConflict']; waits: boolean },
): { readonly results: readonly [string, string]; readonly active: readonly Kind[] } {
  if (mayBeActiveTogether(first, second, dual)) return { results: [ok, ok], active: [first, second] }
  if (policy === 'abandon') return { results: [notInitialized, ok], active: [second] }
  if (policy === 'wait' && waits) return { results: [ok, ok], active: [first] }
  return { results: [ok, refused], active: [first] }
}

const settings = [true, false].flatMap((dual) =>
  policies.flatMap((policy) => callerWays.map((way) => ({ dual, policy, way }))),
)

describe('a second Init while an operation of each kind is active', () => {
  it.each(settings)(
    'by $way, dual flag $dual, policy $policy: follows the standard, and every result is right',
    async ({ dual, policy, way }) => {
      const { slot, examples } = await openKinds({ dualOperations: dual, onConflict: policy })
      for (const first of kinds) {
        for (const second of kinds) {
          const session = await slot.openSession()
          let active: readonly string[] = []
          let other: Promise<Outcome> | undefined
          const one = await outcomeOf(
            run(examples[first], session, way, () => {
              other = outcomeOf(run(examples[second], session, way))
              active = session.active
            }),
          )
          const two = await other
          const results = [
            verdict(examples[first], one),
            two === undefined ? 'not begun' : verdict(examples[second], two),
          ]
          const waits = isOperation(way)
          expect({ first, second, results, active }).toEqual({
            first,
            second,
            ...expected(first, second, { dual, policy, waits }),
          })
          if (two?.code === refused) expect(two.active).toEqual([first])
          expect(session.active).toEqual([])
          await session.close()
        }
      }
    },
  )
})

const pairs = kinds.flatMap((first) =>
  kinds
    .filter((second) => mayBeActiveTogether(first, second, true))
    .map((second): [Kind, Kind] => [first, second]),
)

describe.each(pairs)('with an active pair of %s and %s', (first, second) => {
  /** Begins the third operation while both are active; resolves to the three results for each way. */
  async function runThree(
    onConflict: SessionPolicy['onConflict'],
    third: Kind,
  ): Promise<readonly string[][]> {
    const { slot, examples } = await openKinds({ onConflict })
    const all: string[][] = []
    for (const way of ['await', 'events$', 'calls'] as const) {
      const session = await slot.openSession()
      const results: Promise<string>[] = []
      const start = (kind: Kind, between?: () => unknown): void => {
        const outcome = outcomeOf(run(examples[kind], session, way, between))
        results.push(outcome.then((each) => verdict(examples[kind], each)))
      }
      await new Promise<void>((begun) => {
        const held = new Promise<void>((release) => {
          start(first, () => {
            start(second, () => {
              expect(session.active).toEqual([first, second])
              start(third)
              release()
              begun()
            })
            return held
          })
        })
      })
      all.push(await Promise.all(results))
      expect(session.active).toEqual([])
      await session.close()
    }
    return all
  }

  it('a third operation of every kind is refused and disturbs neither', async () => {
    for (const third of kinds)
      expect({ third, all: await runThree('reject', third) }).toEqual({
        third,
        all: [1, 2, 3].map(() => [ok, ok, refused]),
      })
  })

  it('a third operation with policy abandon ends exactly the conflicting ones', async () => {
    for (const third of kinds) {
      const left = [first, second].map((each) =>
        mayBeActiveTogether(each, third, true) ? ok : notInitialized,
      )
      expect({ third, all: await runThree('abandon', third) }).toEqual({
        third,
        all: [1, 2, 3].map(() => [...left, ok]),
      })
    }
  })
})

describe('single-part functions during each kind of operation', () => {
  it.each(callerWays)(
    'are refused and disturb nothing, unless the policy allows them (by %s)',
    async (way) => {
      for (const singlePartWhileActive of ['reject', 'allow'] as const) {
        const { slot, examples } = await openKinds({ singlePartWhileActive })
        for (const kind of kinds) {
          const session = await slot.openSession()
          let random: Promise<Outcome> | undefined
          const one = await outcomeOf(
            run(examples[kind], session, way, () => {
              random = outcomeOf(session.random(8).result())
            }),
          )
          expect({ kind, result: verdict(examples[kind], one) }).toEqual({ kind, result: ok })
          expect((await random)?.code).toBe(singlePartWhileActive === 'allow' ? ok : refused)
          expect((await session.random(8)).length).toBe(8)
          await session.close()
        }
      }
    },
  )
})
