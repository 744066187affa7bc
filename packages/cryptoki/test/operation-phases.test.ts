/** Every call in every phase of an operation, with real keys (PKCS#11 v2.40, 5.2 and 5.8 to 5.13). */
import { type ActiveOperation, CKA, CKR, type OperationCall, type Session } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { begin, type Example, type Kind, kinds, lastOptions, openKinds, outcomeOf } from './kinds-setup.ts'
import { rv } from './piv-setup.ts'

const calls = ['single', 'update', 'final'] as const
/**
 * What a caller does: a call, its size query, the call with a buffer that is too small, or an Init of the
 * same kind.
 */
type Act = OperationCall | `query ${OperationCall}` | `small ${'single' | 'final'}` | 'init'
const acts: readonly Act[] = [
  ...calls,
  'query single',
  'query update',
  'query final',
  'small single',
  'small final',
  'init',
]

/**
 * The standard's table: the return value, then the phase afterwards. `-`: the call is not made in that phase.
 */
const table: Readonly<Record<'fresh' | 'queried' | 'multi', Readonly<Record<Act, string>>>> = {
  fresh: {
    single: 'OK gone',
    update: 'OK multi',
    final: 'OK gone',
    'query single': 'OK queried',
    'query update': 'OK multi',
    'query final': 'OK multi',
    'small single': 'BUFFER_TOO_SMALL queried',
    // Without input the output depends on the kind: see `emptyFinal`.
    'small final': '-',
    init: 'OPERATION_ACTIVE fresh',
  },
  queried: {
    single: 'OK gone',
    update: 'OPERATION_ACTIVE gone',
    final: 'OPERATION_ACTIVE gone',
    'query single': 'OK queried',
    'query update': 'OPERATION_ACTIVE gone',
    'query final': 'OPERATION_ACTIVE gone',
    'small single': 'BUFFER_TOO_SMALL queried',
    'small final': 'OPERATION_ACTIVE gone',
    init: 'OPERATION_ACTIVE queried',
  },
  multi: {
    single: 'OPERATION_ACTIVE gone',
    update: 'OK multi',
    final: 'OK gone',
    'query single': 'OPERATION_ACTIVE gone',
    'query update': 'OK multi',
    'query final': 'OK multi',
    'small single': 'OPERATION_ACTIVE gone',
    'small final': 'BUFFER_TOO_SMALL multi',
    init: 'OPERATION_ACTIVE multi',
  },
}

/** Final without an Update, for the kinds that cannot complete without input. */
const emptyFinal: Readonly<Partial<Record<Kind, string>>> = {
  decrypt: 'ENCRYPTED_DATA_LEN_RANGE gone',
  verify: 'SIGNATURE_INVALID gone',
  'verify-recover': 'SIGNATURE_LEN_RANGE gone',
}

/**
 * A verification has no output: it has no size query, is never `queried`, and no buffer is too small for it.
 */
function expected(kind: Kind, state: keyof typeof table, act: Act): string {
  if (kind === 'verify' && act.startsWith('small')) return '-'
  if (kind === 'verify' && state === 'queried') return expected(kind, 'fresh', act)
  if (kind === 'verify' && state === 'fresh' && (act === 'query single' || act === 'query final'))
    return 'OK fresh'
  if (state === 'fresh' && act === 'final') return emptyFinal[kind] ?? 'OK gone'
  return table[state][act]
}

/** An operation, and whether its data have been passed in. */
class Caller {
  readonly #example: Example
  readonly #session: Session
  readonly active: ActiveOperation
  hasData = false
  parts: Uint8Array[] = []

  constructor(example: Example, session: Session) {
    this.#example = example
    this.#session = session
    this.active = begin(example, session)
  }

  /** Brings a new operation to that phase. */
  async bringTo(state: keyof typeof table): Promise<void> {
    if (state === 'queried') await this.act('query single')
    if (state === 'multi') await this.act('update')
  }

  async act(act: Act): Promise<string> {
    const { code } = await outcomeOf(this.#act(act))
    return `${code.replace('CKR_', '')} ${this.active.phase}`
  }

  async #act(act: Act): Promise<void> {
    const { data } = this.#example
    const [first, call] = act.split(' ') as ['query' | 'small' | 'init' | OperationCall, OperationCall]
    if (first === 'init') return void begin(this.#example, this.#session)
    // All data are passed once.
    const chunk = this.hasData ? new Uint8Array(0) : data
    if (first === 'query') return void this.active.outputBytes(call, call === 'final' ? 0 : chunk.length)
    const options = {
      ...lastOptions(this.#example),
      ...(first === 'small' ? { maxBytes: 0 } : {}),
    }
    const name = first === 'small' ? call : first
    if (name === 'update') {
      this.parts.push(await this.active.update(chunk, options))
      this.hasData = true
    } else if (name === 'final') this.parts.push(await this.active.final(options))
    else this.parts.push(await this.active.single(data, options))
  }

  /** Completes the operation. Resolves to true if node:crypto has the same result. */
  async finish(): Promise<boolean> {
    const { kind } = this.#example
    if (this.active.phase === 'multi' && !this.hasData) await this.act('update')
    const last = this.active.phase === 'multi' ? 'final' : 'single'
    if (this.active.active) await this.act(last)
    const result = kind === 'verify' ? true : new Uint8Array(Buffer.concat(this.parts))
    return !this.active.active && this.#example.isCorrect(result)
  }
}

const callByCall = kinds.filter((kind) => kind !== 'search')

describe.each(callByCall)('an operation of the kind %s', (kind) => {
  it.each(['fresh', 'queried', 'multi'] as const)(
    'in phase %s returns what the table requires',
    async (state) => {
      const { session, examples } = await openKinds()
      for (const act of acts) {
        const required = expected(kind, state, act)
        if (required === '-') continue
        const caller = new Caller(examples[kind], session)
        await caller.bringTo(state)
        expect({ act, result: await caller.act(act) }).toEqual({ act, result: required })
        expect(session.active).toEqual(required.endsWith(' gone') ? [] : [kind])
        const isComplete = required === 'OK gone' && !(state === 'fresh' && act === 'final')
        if (isComplete || caller.active.active) expect(await caller.finish()).toBe(true)
        expect(session.active).toEqual([])
      }
    },
  )

  /** The ways in which an operation can end. */
  const ends: Readonly<Record<string, (caller: Caller, session: Session) => unknown>> = {
    'has completed': (caller) => caller.finish(),
    'mixed single and multiple parts': async (caller) => {
      await caller.act('update')
      return caller.act('single')
    },
    'was cancelled by its type': (_, session) => session.cancel([kind]),
    'was cancelled with all others': (_, session) => session.cancel(),
    'lost its session': (_, session) => session.close(),
  }

  it.each(Object.keys(ends))('that %s returns CKR_OPERATION_NOT_INITIALIZED for each call', async (how) => {
    const { slot, examples } = await openKinds()
    const session = await slot.openSession()
    const caller = new Caller(examples[kind], session)
    await ends[how]?.(caller, session)
    for (const act of acts.filter((each) => each !== 'init'))
      expect({ act, result: await caller.act(act) }).toEqual({
        act,
        result: 'OPERATION_NOT_INITIALIZED gone',
      })
    if (how === 'lost its session') {
      expect(() => begin(examples[kind], session)).toThrow(rv(CKR.SESSION_HANDLE_INVALID) as Error)
      return
    }
    expect(session.active).toEqual([])
    expect(await new Caller(examples[kind], session).finish()).toBe(true)
  })
})

/** A call that fails because of its data, for each kind that can fail so. */
const failures: Readonly<
  Partial<
    Record<Kind, { readonly code: string; readonly fail: (active: ActiveOperation) => Promise<unknown> }>
  >
> = {
  decrypt: { code: 'CKR_ENCRYPTED_DATA_LEN_RANGE', fail: (active) => active.single(new Uint8Array(17)) },
  'sign-recover': { code: 'CKR_DATA_LEN_RANGE', fail: (active) => active.single(new Uint8Array(250)) },
  verify: {
    code: 'CKR_SIGNATURE_INVALID',
    fail: (active) => active.single(new Uint8Array(1), { signature: new Uint8Array(256) }),
  },
  'verify-recover': { code: 'CKR_SIGNATURE_LEN_RANGE', fail: (active) => active.single(new Uint8Array(255)) },
}

describe.each(Object.entries(failures).filter(([kind]) => kinds.includes(kind as Kind)))(
  'an error of %s',
  (kind, { code, fail }) => {
    it('ends the operation, and the next one of its kind can begin', async () => {
      const { session, examples } = await openKinds()
      const example = examples[kind as Kind]
      const active = begin(example, session)
      expect((await outcomeOf(fail(active))).code).toBe(code)
      expect([active.phase, session.active]).toEqual(['gone', []])
      await expect(active.final()).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
      expect(await new Caller(example, session).finish()).toBe(true)
    })
  },
)

describe('a search', () => {
  /** Runs `then` during the search. */
  const during = async (then: (session: Session) => unknown) => {
    const { slot, examples } = await openKinds()
    const session = await slot.openSession()
    let result: unknown
    let isFirst = true
    const found = session.findObjects({ [CKA.ID]: Uint8Array.of(1) }).result({
      onEvent: ({ phase }) => {
        if (phase === 'found' && isFirst) {
          isFirst = false
          result = then(session)
        }
      },
    })
    const outcome = await outcomeOf(found)
    return { outcome, result: await result, session, example: examples.search }
  }

  it('refuses a second one while it runs, and finds the same objects', async () => {
    const { outcome, result, example } = await during((session) => outcomeOf(session.findObjects().result()))
    expect(result).toMatchObject({ code: 'CKR_OPERATION_ACTIVE', active: ['search'] })
    expect(example.isCorrect(outcome.value)).toBe(true)
  })

  it.each([
    ['cancelled by its type', 'CKR_FUNCTION_CANCELED', (session: Session) => session.cancel(['search'])],
    ['cancelled with all others', 'CKR_FUNCTION_CANCELED', (session: Session) => session.cancel()],
    ['closed with its session', 'CKR_SESSION_CLOSED', (session: Session) => session.close()],
  ] as const)('that is %s ends with %s, and the session is free', async (how, code, end) => {
    const { outcome, session } = await during(end)
    expect(outcome.code).toBe(code)
    const again = await outcomeOf(session.findObjects().result())
    expect(again.code).toBe(how === 'closed with its session' ? 'CKR_SESSION_HANDLE_INVALID' : 'CKR_OK')
  })

  it('continues when another kind is cancelled, and finds the same objects', async () => {
    const { outcome, example } = await during((session) => session.cancel(['digest', 'sign']))
    expect(example.isCorrect(outcome.value)).toBe(true)
  })

  it('allows the next one to begin in the call that reports its end', async () => {
    const { session, example } = await during(() => {})
    let next: Promise<unknown> | undefined
    await session.findObjects().result({
      onEvent: ({ phase }) => {
        if (phase === 'done') next = example.operation(session, example.data).result()
      },
    })
    expect(example.isCorrect(await next)).toBe(true)
  })

  it('that failed because of its template leaves the session free', async () => {
    const { session, example } = await during(() => {})
    const bad = { [CKA.ID]: 'not bytes' } as unknown as Record<number, never>
    const failed = await outcomeOf(session.findObjects(bad).result())
    expect(failed.code).not.toBe('CKR_OK')
    expect(example.isCorrect(await example.operation(session, example.data))).toBe(true)
  })
})
