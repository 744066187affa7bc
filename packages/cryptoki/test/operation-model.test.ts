/**
 * Random calls of two callers, checked against an independent model of sessions (PKCS#11 v2.20, 13.1; v2.40,
 * 5.2 and 5.8 to 5.13).
 */
import { deepEqual, equal } from 'node:assert/strict'
import { type ActiveOperation, CKA, type CryptokiError, CKU, type Session } from '@webtoki/cryptoki'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { makeExamples } from '../../cli/src/operation-cells.ts'
import {
  begin,
  type Example,
  type Kind,
  kinds,
  type KindsSetup,
  lastOptions,
  mayBeActiveTogether,
  openKinds,
  type Outcome,
  outcomeOf,
} from './kinds-setup.ts'

/** Set `WEBTOKI_MODEL_RUNS=20000` for a longer run. */
const numRuns = Number(process.env['WEBTOKI_MODEL_RUNS'] ?? 25)

const ok = 'CKR_OK'
const refused = 'CKR_OPERATION_ACTIVE'
const notInitialized = 'CKR_OPERATION_NOT_INITIALIZED'

const acts = [
  'begin',
  'begin',
  'begin',
  'stream',
  'update',
  'update',
  'final',
  'single',
  'query single',
  'query final',
  'small single',
  'small final',
  'cancel',
  'cancel all',
  'random',
] as const

/**
 * One step of a caller. `kind`: of a new operation. `which`: the operation to use, 0 for the caller's latest.
 */
interface Step {
  readonly caller: 0 | 1
  readonly act: (typeof acts)[number]
  readonly kind: Kind
  readonly which: number
  readonly bytes: number
}

/** A pending call; `reason` is set if its operation ends first. */
interface Call {
  readonly code: string
  reason?: string
}

/** An operation in the model. */
interface Modelled {
  readonly kind: Kind
  readonly isStream: boolean
  readonly session: ModelSession
  phase: 'fresh' | 'queried' | 'multi' | 'gone'
  /** For a search: the number of objects returned. Otherwise: the number of bytes passed in. */
  fed: number
  chunks: number
  hasEnded: boolean
  /** The number of objects that a search finds. */
  readonly objects: number
  call?: Call | undefined
  /** The reason if it ended before its result. */
  reason?: string
}

interface ModelSession {
  active: Modelled[]
}

interface Model {
  readonly policy: 'reject' | 'abandon'
  readonly dual: boolean
  isLoggedIn: boolean
  /** The sessions of both callers; the same one if both use it. */
  readonly sessions: [ModelSession, ModelSession]
  readonly operations: [Modelled[], Modelled[]]
}

/** The real operation that belongs to a modelled one. */
interface Actual {
  readonly example: Example
  readonly active?: ActiveOperation
  readonly search?: ReturnType<Session['beginSearch']>
  readonly stream?: Stream
  readonly parts: Uint8Array[]
  readonly found: unknown[]
}

interface Real {
  readonly setup: KindsSetup
  /** Renewed at each login, because the private key's handle is. */
  examples: KindsSetup['examples']
  readonly sessions: [Session, Session]
  readonly operations: [Actual[], Actual[]]
}

/** A subscribed operation whose source gives the chunks passed to `give`. */
class Stream {
  outcome: Outcome | undefined
  readonly #chunks: (Uint8Array | undefined)[] = []
  #waiting: (() => void)[] = []
  #wake: (() => void) | undefined
  readonly #subscription: { unsubscribe(): void }

  constructor(example: Example, session: Session) {
    this.#subscription = example.operation(session, this.#source()).events$.subscribe({
      next: (event) => {
        if (event.phase === 'done') this.#settle({ code: ok, value: event.value })
      },
      error: (error: CryptokiError) => this.#settle({ code: error.rvName }),
    })
  }

  async *#source(): AsyncGenerator<Uint8Array> {
    for (;;) {
      while (this.#chunks.length === 0) {
        this.#notify()
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      const chunk = this.#chunks.shift()
      if (chunk === undefined) return
      yield chunk
    }
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #settle(outcome: Outcome): void {
    this.outcome ??= outcome
    this.#notify()
  }

  /** undefined ends the source. Resolves after the chunk was consumed or the operation has ended. */
  give(chunk: Uint8Array | undefined): Promise<void> {
    if (this.outcome !== undefined) return Promise.resolve()
    this.#chunks.push(chunk)
    const taken = new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#wake?.()
    return taken
  }

  unsubscribe(): void {
    this.#subscription.unsubscribe()
    this.#settle({ code: 'unsubscribed' })
  }
}

/** Ends an operation before its result. */
function end(operation: Modelled, reason: string): void {
  const { session } = operation
  session.active = session.active.filter((each) => each !== operation)
  operation.phase = 'gone'
  operation.reason = reason
  if (operation.call !== undefined) operation.call.reason = reason
}

/** The return value of an Init. Operations that it abandons end here. */
function admit(model: Model, session: ModelSession, kind: Kind): string {
  const conflicting = session.active.filter((each) => !mayBeActiveTogether(each.kind, kind, model.dual))
  if (conflicting.length > 0 && model.policy === 'reject') return refused
  // A handle that a logout has ended stays invalid.
  if (!model.isLoggedIn && (kind === 'sign' || kind === 'sign-recover')) return 'CKR_KEY_HANDLE_INVALID'
  for (const each of conflicting) end(each, notInitialized)
  return ok
}

/** The possible return values for the data passed in. */
function resultCode({ kind, fed, chunks, isStream }: Modelled, total: number): readonly string[] {
  // An iterator without any chunk cannot be distinguished from an exhausted one.
  if (isStream && chunks === 0) return ['CKR_ARGUMENTS_BAD']
  if (fed === total) return [ok]
  if (kind === 'decrypt')
    return fed === 0 || fed % 16 !== 0
      ? ['CKR_ENCRYPTED_DATA_LEN_RANGE']
      : // The last byte of another block may be a valid padding too: `isRight` decides.
        ['CKR_ENCRYPTED_DATA_INVALID', ok]
  if (kind === 'verify') return ['CKR_SIGNATURE_INVALID']
  return [kind === 'verify-recover' ? 'CKR_SIGNATURE_LEN_RANGE' : ok]
}

/** Several calls of one or both callers in one turn: each is made before any of them resolves. */
class Turn implements fc.AsyncCommand<Model, Real> {
  readonly #steps: readonly Step[]
  constructor(steps: readonly Step[]) {
    this.#steps = steps
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    const differences = await Promise.all(this.#steps.map((step) => this.#step(step, model, real)))
    deepEqual(differences.flat(), [])
    for (const caller of [0, 1] as const) {
      for (const [at, operation] of model.operations[caller].entries()) {
        delete operation.call
        if (!operation.isStream) continue
        const { stream, example } = real.operations[caller][at] as Actual
        equal(this.#compareStream(operation, stream as Stream, example), 'as in the model')
      }
    }
    const active = (sessions: readonly ModelSession[]) =>
      sessions.map((each) => each.active.map(({ kind }) => kind))
    deepEqual(
      real.sessions.map((session) => session.active),
      active(model.sessions),
    )
  }

  #compareStream(operation: Modelled, stream: Stream, example: Example): string {
    const { outcome } = stream
    const asModelled = 'as in the model'
    if (operation.phase === 'gone')
      return outcome?.code === operation.reason ? asModelled : `${outcome?.code}`
    if (!operation.hasEnded) return outcome === undefined ? asModelled : outcome.code
    const codes = resultCode(operation, example.data.length)
    end(operation, outcome?.code ?? '')
    if (outcome === undefined || !codes.includes(outcome.code))
      return `${outcome?.code}, not ${codes.join(' or ')}`
    const input = example.data.subarray(0, operation.fed)
    return outcome.code !== ok || example.isCorrect(outcome.value, input) ? asModelled : 'a wrong result'
  }

  /** Applies the call to the model and to the real session; resolves to the differences. */
  #step(step: Step, model: Model, real: Real): Promise<readonly string[]> {
    const { caller, act, kind, which, bytes } = step
    const session = real.sessions[caller]
    const modelSession = model.sessions[caller]
    if (act === 'begin' || act === 'stream') return this.#begin(step, model, real)
    if (act === 'cancel' || act === 'cancel all') {
      for (const each of modelSession.active)
        if (act === 'cancel all' || each.kind === kind) end(each, 'CKR_FUNCTION_CANCELED')
      session.cancel(act === 'cancel all' ? undefined : [kind])
      return Promise.resolve([])
    }
    if (act === 'random') {
      const expected = modelSession.active.length > 0 ? refused : ok
      return compare(act, [expected], session.random(4).result())
    }
    const own = model.operations[caller]
    const at = own.length - 1 - which
    const operation = own[at]
    const actual = real.operations[caller][at]
    if (operation === undefined || actual === undefined) return Promise.resolve([])
    if (operation.kind === 'search') return this.#search(act, operation, actual)
    return operation.isStream
      ? this.#feed(act, operation, actual, bytes)
      : this.#call(act, operation, actual, bytes)
  }

  #begin({ caller, act, kind }: Step, model: Model, real: Real): Promise<readonly string[]> {
    const session = model.sessions[caller]
    const code = admit(model, session, kind)
    const example = real.examples[kind]
    const isStream = act === 'stream' && kind !== 'search'
    const operation: Modelled = {
      kind,
      isStream,
      session,
      phase: 'fresh',
      fed: 0,
      chunks: 0,
      hasEnded: false,
      objects: model.isLoggedIn ? 3 : 2,
    }
    const common = { example, parts: [], found: [] }
    let actual: Actual | undefined
    const running = attempt(() => {
      const own = real.sessions[caller]
      if (isStream) {
        const stream = new Stream(example, own)
        if (stream.outcome !== undefined) return stream.outcome
        actual = { ...common, stream }
      } else if (kind === 'search')
        actual = { ...common, search: own.beginSearch({ [CKA.ID]: Uint8Array.of(1) }) }
      else actual = { ...common, active: begin(example, own) }
      return { code: ok }
    })
    if (code === ok && actual !== undefined) {
      session.active = [...session.active, operation]
      model.operations[caller].push(operation)
      real.operations[caller].push(actual)
    }
    return Promise.resolve(running.code === code ? [] : [`${kind}: ${running.code}, not ${code}`])
  }

  #feed(act: Step['act'], operation: Modelled, actual: Actual, bytes: number): Promise<readonly string[]> {
    const stream = actual.stream as Stream
    if (operation.phase === 'gone' || operation.hasEnded) return Promise.resolve([])
    if (act === 'single') {
      stream.unsubscribe()
      end(operation, 'unsubscribed')
    } else if (act === 'update') {
      const chunk = actual.example.data.subarray(operation.fed, operation.fed + bytes)
      operation.fed += chunk.length
      operation.chunks++
      return stream.give(chunk).then(() => [])
    } else if (act === 'final') {
      operation.hasEnded = true
      return stream.give(undefined).then(() => [])
    }
    return Promise.resolve([])
  }

  #search(act: Step['act'], operation: Modelled, actual: Actual): Promise<readonly string[]> {
    const search = actual.search as NonNullable<Actual['search']>
    const isGone = operation.phase === 'gone'
    if (act === 'final') {
      const code = isGone ? notInitialized : ok
      if (!isGone) end(operation, notInitialized)
      const given = attempt(() => {
        search.final()
        return { code: ok }
      })
      return Promise.resolve(given.code === code ? [] : [`search final: ${given.code}, not ${code}`])
    }
    if (act !== 'update') return Promise.resolve([])
    const call: Call = { code: isGone ? notInitialized : operation.call ? refused : ok }
    if (call.code === ok) operation.call = call
    return outcomeOf(search.next(1)).then(({ code, value }) => {
      const expected = call.reason ?? call.code
      if (code !== expected) return [`search: ${code}, not ${expected}`]
      if (code !== ok) return []
      actual.found.push(...(value as unknown[]))
      operation.fed = Math.min(operation.fed + 1, operation.objects)
      if (actual.found.length !== operation.fed)
        return [`${actual.found.length} objects, not ${operation.fed}`]
      return operation.fed < 3 || actual.example.isCorrect(actual.found) ? [] : ['other objects']
    })
  }

  #call(act: Step['act'], operation: Modelled, actual: Actual, bytes: number): Promise<readonly string[]> {
    const { kind } = operation
    const { example, active, parts } = actual
    if (active === undefined) return Promise.resolve([])
    const [mode, name] = act.includes(' ') ? act.split(' ') : ['', act]
    const call = name as 'single' | 'update' | 'final'
    // Only outputs of known size are checked against the buffer before the operation runs.
    if (mode === 'small' && ['decrypt', 'verify', 'verify-recover'].includes(kind)) return Promise.resolve([])
    const order = this.#order(operation, call)
    const chunk =
      call === 'update' ? example.data.subarray(operation.fed, operation.fed + bytes) : example.data
    if (mode === 'query') {
      if (order === ok && kind !== 'verify') operation.phase = call === 'single' ? 'queried' : 'multi'
      const given = attempt(() => {
        active.outputBytes(call, call === 'final' ? 0 : chunk.length)
        return { code: ok }
      })
      return Promise.resolve(given.code === order ? [] : [`${kind} ${act}: ${given.code}, not ${order}`])
    }
    const options = { ...lastOptions(example), ...(mode === 'small' ? { maxBytes: 0 } : {}) }
    const running =
      call === 'update'
        ? active.update(chunk)
        : call === 'final'
          ? active.final(options)
          : active.single(example.data, options)
    if (order !== ok) return compare(`${kind} ${act}`, [order], running)
    if (mode === 'small') {
      operation.phase = call === 'single' ? 'queried' : 'multi'
      return compare(`${kind} ${act}`, ['CKR_BUFFER_TOO_SMALL'], running)
    }
    const total = example.data.length
    if (call === 'single') operation.fed = total
    const codes = call === 'update' ? [ok] : resultCode(operation, total)
    const pending: Call = { code: ok }
    operation.call = pending
    return outcomeOf(running).then(({ code, value }) => {
      if (pending.reason !== undefined)
        return code === pending.reason ? [] : [`${kind} ${act}: ${code}, not ${pending.reason}`]
      if (call === 'update') {
        operation.fed += chunk.length
        operation.phase = 'multi'
      } else end(operation, notInitialized)
      if (!codes.includes(code)) return [`${kind} ${act}: ${code}, not ${codes.join(' or ')}`]
      if (code !== ok) return []
      parts.push(value as Uint8Array)
      if (call === 'update') return []
      const result = kind === 'verify' ? true : new Uint8Array(Buffer.concat(parts))
      return example.isCorrect(result, example.data.subarray(0, operation.fed))
        ? []
        : [`wrong result of ${kind}`]
    })
  }

  /** The return value for the order of calls; ends the operation if single and multiple parts are mixed. */
  #order(operation: Modelled, call: 'single' | 'update' | 'final'): string {
    if (operation.phase === 'gone') return notInitialized
    if (operation.call !== undefined) return refused
    if (call === 'single' ? operation.phase !== 'multi' : operation.phase !== 'queried') return ok
    end(operation, notInitialized)
    return refused
  }

  toString(): string {
    return this.#steps
      .map(({ caller, act, kind, which, bytes }) => {
        if (act === 'update') return `${caller}: update ${which} by ${bytes}`
        return `${caller}: ${act} ${/begin|stream|cancel$/.test(act) ? kind : which}`
      })
      .join(' & ')
  }
}

function attempt(act: () => Outcome): Outcome {
  try {
    return act()
  } catch (error) {
    return { code: (error as CryptokiError).rvName ?? String(error) }
  }
}

async function compare(
  what: string,
  codes: readonly string[],
  running: Promise<unknown>,
): Promise<readonly string[]> {
  const { code } = await outcomeOf(running)
  return codes.includes(code) ? [] : [`${what}: ${code}, not ${codes.join(' or ')}`]
}

const everyOperation = ({ sessions }: Model): readonly Modelled[] => sessions.flatMap(({ active }) => active)

class Login implements fc.AsyncCommand<Model, Real> {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    const { session } = real.setup
    if (model.isLoggedIn) {
      equal((await outcomeOf(session.login(CKU.USER))).code, 'CKR_USER_ALREADY_LOGGED_IN')
      return
    }
    real.examples = await makeExamples(session)
    model.isLoggedIn = true
  }
  toString(): string {
    return 'login'
  }
}

class Logout implements fc.AsyncCommand<Model, Real> {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    const expected = model.isLoggedIn ? ok : 'CKR_USER_NOT_LOGGED_IN'
    equal((await outcomeOf(real.sessions[0].logout())).code, expected)
    for (const each of model.isLoggedIn ? everyOperation(model) : [])
      if (['search', 'sign', 'sign-recover'].includes(each.kind))
        end(each, each.kind === 'search' || each.isStream ? 'CKR_USER_NOT_LOGGED_IN' : notInitialized)
    model.isLoggedIn = false
  }
  toString(): string {
    return 'logout'
  }
}

const step = fc.record<Step>({
  caller: fc.constantFrom(0, 1),
  act: fc.constantFrom(...acts),
  kind: fc.constantFrom(...kinds),
  which: fc.constantFrom(0, 0, 0, 1),
  bytes: fc.constantFrom(0, 7, 16, 32, 300),
})
const commands = fc.commands(
  [
    fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => new Turn(steps)),
    fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => new Turn(steps)),
    fc.array(step, { minLength: 1, maxLength: 1 }).map((steps) => new Turn(steps)),
    fc.constant(new Login()),
    fc.constant(new Logout()),
  ],
  { maxCommands: 30 },
)

describe.each([
  ['one session', true],
  ['two sessions of one application', false],
] as const)('two callers on %s', (_, isShared) => {
  it.each([
    ['reject', true],
    ['reject', false],
    ['abandon', true],
    ['abandon', false],
  ] as const)(
    'agree with the model in any order of calls (policy %s, dual flag %s)',
    async (policy, dual) => {
      const setup = await openKinds({ onConflict: policy, dualOperations: dual })
      let { examples } = setup
      let isLoggedIn = true
      await fc.assert(
        fc.asyncProperty(commands, async (each) => {
          if (!isLoggedIn) examples = await makeExamples(setup.session)
          const first = await setup.slot.openSession()
          const second = isShared ? first : await setup.slot.openSession()
          const one: ModelSession = { active: [] }
          const model: Model = {
            policy,
            dual,
            isLoggedIn: true,
            sessions: [one, isShared ? one : { active: [] }],
            operations: [[], []],
          }
          const real: Real = { setup, examples, sessions: [first, second], operations: [[], []] }
          try {
            await fc.asyncModelRun(() => ({ model, real }), each)
          } finally {
            ;({ isLoggedIn } = model)
            ;({ examples } = real)
            await first.close()
            await second.close()
          }
        }),
        { numRuns },
      )
    },
  )
})
