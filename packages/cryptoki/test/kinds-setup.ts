/**
 * A virtual PIV card with the eight kinds of operation ready to begin, and the ways in which callers run
 * them.
 */
import { type Example, type Kind, makeExamples, play, type Way } from '../../cli/src/operation-cells.ts'
import {
  type ActiveOperation,
  isCryptokiError,
  type Session,
  type SessionPolicy,
  type Slot,
} from '@webtoki/cryptoki'
import { open } from './piv-setup.ts'

export {
  type Example,
  type Kind,
  kinds,
  mayBeActiveTogether,
} from '../../cli/src/operation-cells.ts'

/**
 * `await`, `events$`, or `begin` with several parts; `begin` with one part: directly, after a size query, or
 * after CKR_BUFFER_TOO_SMALL.
 */
export type CallerWay = Way | 'single' | 'queried' | 'too-small'
export const callerWays: readonly CallerWay[] = [
  'await',
  'events$',
  'calls',
  'single',
  'queried',
  'too-small',
]

/** True if a caller of that way uses an `Operation`, which can wait. */
export const isOperation = (way: CallerWay): boolean => way === 'await' || way === 'events$'

export interface KindsSetup {
  readonly slot: Slot
  readonly session: Session
  readonly examples: Readonly<Record<Kind, Example>>
}

export async function openKinds(policy: Partial<SessionPolicy> = {}): Promise<KindsSetup> {
  const { slot, session } = await open({ cryptoki: policy })
  return { slot, session, examples: await makeExamples(session) }
}

/** Init alone, for a caller that drives the operation call by call. */
export function begin({ kind, spec }: Example, session: Session): ActiveOperation {
  const [active] = spec === undefined ? [] : session.begin(spec)
  if (active === undefined) throw new Error(`${kind} has no call-by-call form.`)
  return active
}

/** The options of the last call. */
export const lastOptions = ({ signature }: Example): { readonly signature?: Uint8Array } =>
  signature === undefined ? {} : { signature }

/**
 * Like `play`, in more ways. Init is called synchronously; `between` is called and awaited while the
 * operation is active.
 */
export async function run(
  example: Example,
  session: Session,
  way: CallerWay,
  between: () => unknown = () => {},
): Promise<unknown> {
  if (way === 'await' || way === 'events$' || way === 'calls') return play(example, session, way, between)
  if (example.spec === undefined) return play(example, session, 'calls', between)
  const { kind, data } = example
  const active = begin(example, session)
  if (way === 'queried') active.outputBytes('single', data.length)
  if (way === 'too-small' && kind !== 'verify') {
    const outcome = await outcomeOf(active.single(data, { maxBytes: 1 }))
    if (outcome.code !== 'CKR_BUFFER_TOO_SMALL') throw new Error(`A buffer of one byte: ${outcome.code}`)
  }
  await between()
  const result = await active.single(data, lastOptions(example))
  return kind === 'verify' ? true : result
}

export interface Outcome {
  /** CKR_*. */
  readonly code: string
  readonly value?: unknown
  /** The operations that conflicted. */
  readonly active?: readonly string[] | undefined
}

export function outcomeOf(running: Promise<unknown>): Promise<Outcome> {
  return running.then(
    (value) => ({ code: 'CKR_OK', value }),
    (error: unknown) =>
      isCryptokiError(error) ? { code: error.rvName, active: error.active } : { code: String(error) },
  )
}

/** The outcome as one word for an expectation: the code, or a note that node:crypto has another result. */
export function verdict(example: Example, { code, value }: Outcome): string {
  return code === 'CKR_OK' && !example.isCorrect(value) ? 'a wrong result' : code
}
