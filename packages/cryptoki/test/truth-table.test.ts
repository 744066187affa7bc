/** What SoftHSM and NSS were measured to answer, and our sessions: the same, or a difference that is named here. */
import { readFileSync } from 'node:fs'
import { type ActiveOperation, CKA, CKU, type Session } from '@webtoki/cryptoki'
import { beforeAll, describe, expect, it } from 'vitest'
import { begin, type Kind, kinds, type KindsStand, lastOptions, openKinds, outcomeOf } from './kinds-stand.ts'
import { rightPin } from './piv-stand.ts'

type Row = Readonly<Record<string, string>>
const rows: readonly Row[] = readFileSync(new URL('./vectors/pkcs11-truth.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => Object.fromEntries(line.split(';').map((field) => field.split('='))) as Row)

const codeOf = async (act: () => unknown): Promise<string> => (await outcomeOf((async () => act())())).code

/** One caller of one session. */
class Caller {
  readonly #stand: KindsStand
  readonly session: Session
  readonly #active = new Map<string, ActiveOperation>()
  #search: ReturnType<Session['beginSearch']> | undefined

  constructor(stand: KindsStand, session: Session) {
    this.#stand = stand
    this.session = session
  }

  init(kind: string): Promise<string> {
    return codeOf(() => {
      if (kind === 'search') this.#search = this.session.beginSearch()
      else this.#active.set(kind, begin(this.#stand.examples[kind as Kind], this.session))
    })
  }

  cancelInit(kind: string): Promise<string> {
    return codeOf(() => this.session.begin({ type: kind as 'digest', mechanism: null }))
  }

  /** An operation of that kind that has ended, if there was none: without an Init there is nothing to call. */
  #operation(kind: string): ActiveOperation {
    const found = this.#active.get(kind)
    if (found !== undefined) return found
    const made = begin(this.#stand.examples[kind as Kind], this.session)
    this.session.cancel([kind as Kind])
    return made
  }

  call(kind: string, call: 'update' | 'single' | 'final', maxBytes?: number): Promise<string> {
    return codeOf(async () => {
      if (kind === 'search') {
        this.#search ??= this.#ended()
        await (call === 'final' ? this.#search.final() : this.#search.next(1))
        return
      }
      const example = this.#stand.examples[kind as Kind]
      const options = { ...lastOptions(example), ...(maxBytes === undefined ? {} : { maxBytes }) }
      const operation = this.#operation(kind)
      if (call === 'update') await operation.update(example.data.subarray(0, 16))
      else if (call === 'final') await operation.final(options)
      else await operation.single(example.data, options)
    })
  }

  #ended(): ReturnType<Session['beginSearch']> {
    const search = this.session.beginSearch()
    search.final()
    return search
  }

  /** As the prober asked whether an operation was still there. */
  goesOn(kind: string): Promise<string> {
    if (kind.endsWith('recover')) return this.call(kind, 'single')
    return this.call(kind, 'update')
  }

  ask(kind: string): Promise<string> {
    return codeOf(() => this.#operation(kind).outputBytes('single', 16))
  }
}

/** Calls while an operation is active, as far as sessions have them. */
const actions: Readonly<Record<string, (caller: Caller, stand: KindsStand) => unknown>> = {
  C_GenerateRandom: ({ session }) => session.random(8).result(),
  C_GetAttributeValue: ({ session }, { examples }) => {
    const { spec } = examples.encrypt
    return spec !== undefined && 'key' in spec && session.getAttributes(spec.key, CKA.CLASS)
  },
  C_GetSessionInfo: ({ session }) => session.state,
  'C_Login(CKU_USER again)': ({ session }) => session.login(CKU.USER, rightPin),
  'C_Login(CKU_CONTEXT_SPECIFIC)': ({ session }) => session.login(CKU.CONTEXT_SPECIFIC, rightPin),
}

type Played = Readonly<Record<string, string>> | undefined

/** What our sessions answer to what a row tells; undefined: the row cannot be played. */
const players: Readonly<Record<string, (row: Row, caller: Caller, stand: KindsStand) => Promise<Played>>> = {
  pair: async ({ active = '', then_init = '' }, caller) => {
    const rv_first = await caller.init(active)
    const rv_second = await caller.init(then_init)
    const first_still_usable = await caller.goesOn(active)
    return active === then_init ? { rv_first, rv_second } : { rv_first, rv_second, first_still_usable }
  },
  action: async ({ active = '', action = '' }, caller, stand) => {
    const act = actions[action]
    if (act === undefined) return undefined
    if (active === 'none') return { rv: await codeOf(() => act(caller, stand)) }
    const rv_init = await caller.init(active)
    const rv = await codeOf(() => act(caller, stand))
    return { rv_init, rv, op_after: await caller.goesOn(active) }
  },
  noinit: async ({ op = '', call = '' }, caller) => {
    const calls = {
      C_FindObjects: 'update',
      Update: 'update',
      Final: 'final',
      'single-part': 'single',
    } as const
    const name = calls[call as keyof typeof calls]
    return name === undefined ? undefined : { rv: await caller.call(op, name) }
  },
  'single-after-update': async ({ op = '' }, caller) => ({
    init: await caller.init(op),
    update: await caller.call(op, 'update'),
    single: await caller.call(op, 'single'),
    update_after: await caller.call(op, 'update'),
    final_after: await caller.call(op, 'final'),
    reinit: await caller.init(op),
  }),
  'buffer-single': async ({ op = '' }, caller) => ({
    init: await caller.init(op),
    null_query: await caller.ask(op),
    init_while_queried: await caller.init(op),
    too_small: await caller.call(op, 'single', 1),
    ok: await caller.call(op, 'single', 1024),
    again: await caller.call(op, 'single', 1024),
  }),
  'final-without-update': async ({ op = '' }, caller) => ({
    init: await caller.init(op),
    final: await caller.call(op, 'final'),
    reinit: await caller.init(op),
  }),
  'cancel-null-mechanism': async ({ op = '' }, caller) => ({
    no_active: await caller.cancelInit(op),
    init: await caller.init(op),
    cancel: await caller.cancelInit(op),
    reinit: await caller.init(op),
  }),
  'session-cancel': async ({ op = '' }, caller) => {
    const cancel = () => codeOf(() => caller.session.cancel([op as Kind]))
    return {
      no_active: await cancel(),
      init: await caller.init(op),
      cancel_flags0: await codeOf(() => caller.session.cancel([])),
      cancel: await cancel(),
      reinit: await caller.init(op),
    }
  },
}

/** Of the eight kinds. */
const kindsOf = ({ op, active, then_init }: Row): readonly string[] =>
  [op, active, then_init].filter(
    (each): each is string => each !== undefined && !['none', 'dual'].includes(each),
  )
/** Why the two libraries answer otherwise. */
const differences: Readonly<Record<string, RegExp>> = {
  'SoftHSM has no recovery': /^soft .* theirs CKR_FUNCTION_NOT_SUPPORTED$/,
  'NSS has two slots for operations and one for searches, and takes pairs that are not among the four':
    /^nss- pair {2}rv_second: ours CKR_OPERATION_ACTIVE, theirs CKR_OK$/,
  'functions of one call: the text leaves the choice, ours is strict by default':
    /C_GenerateRandom rv: ours CKR_OPERATION_ACTIVE, theirs CKR_OK$/,
  'NSS does not know CKU_CONTEXT_SPECIFIC':
    /^nss- action C_Login\(CKU_CONTEXT_SPECIFIC\) rv: ours CKR_OPERATION_NOT_INITIALIZED/,
  'single part after an Update: forbidden without a code; ours refuses and ends':
    /single-after-update {2}single/,
  'CBC-PAD of nothing: ours has the code for a wrong length, and ends':
    /final-without-update {2}(final: ours CKR_ENCRYPTED_DATA_LEN_RANGE|reinit: ours CKR_OK)/,
  'a mechanism of NULL cancels since v3.0, as here': /cancel-null-mechanism/,
  'NSS searches end without having begun': /^nss- noinit .* theirs CKR_OK$/,
  'a buffer that is too small ends the operation of NSS, or is filled with a part of the digest':
    /^nss- buffer-single {2}(ok|too_small)/,
  'C_SessionCancel ignores what is not active (v3.0), NSS complains, and cannot cancel recovery':
    /^nss- session-cancel/,
}

/** Rows that no session can play: of suites, and of functions beside an operation. */
const notPlayed: Readonly<Record<string, readonly string[]>> = {
  'sessions have no such function, or not as a call of C': [
    'action C_CancelFunction',
    'action C_GetFunctionStatus',
    'action C_GetOperationState',
    'action C_InitPIN',
    'action C_SeedRandom',
    'action C_SetPIN(same)',
    'action C_WaitForSlotEvent(DONT_BLOCK)',
    'info',
    'operation-state',
  ],
  'what becomes of objects beside an operation is asked in the tests of objects': [
    'action C_CopyObject',
    'action C_CreateObject',
    'action C_DeriveKey',
    'action C_DestroyObject(unrelated)',
    'action C_DigestKey',
    'action C_GenerateKey',
    'action C_GenerateKeyPair',
    'action C_GetObjectSize',
    'action C_SetAttributeValue',
    'action C_UnwrapKey',
    'action C_WrapKey',
    'destroy-key-in-use',
  ],
  'these cancel the operation, or are played by another suite': ['action C_SessionCancel(all)', 'action -'],
  'the prober used keys, NULL pointers or an SO that the virtual card has not': [
    'always-auth',
    'buffer-multi',
    'error-ends',
    'init-fail',
    'login',
    'search',
    'two-sessions',
  ],
  'dual functions take two operations of `begin`, which have their own tests': [
    'dual',
    'dual-half',
    'noinit dual',
    'noinit C_DigestKey',
  ],
}

/** What a row that is not played is called above. */
function nameOf({ suite = '', action, op, call }: Row): string {
  if (action !== undefined) return `action ${action}`
  return suite === 'noinit' ? `noinit ${op === 'dual' ? op : call}` : suite
}

describe('what SoftHSM and NSS were measured to answer', () => {
  const found = new Set<string>()
  const unplayed = new Set<string>()
  let compared = 0
  beforeAll(async () => {
    const stands = { soft: await openKinds({ dualOperations: false }), 'nss-': await openKinds() }
    for (const row of rows) {
      const { lib = '', suite = '' } = row
      // A kind that no key does yet.
      if (!kindsOf(row).every((kind) => kinds.includes(kind as Kind))) continue
      const name = lib.slice(0, 4) as keyof typeof stands
      const session = await stands[name].slot.openSession()
      const played = await players[suite]?.(row, new Caller(stands[name], session), stands[name])
      await session.close()
      if (played === undefined) unplayed.add(nameOf(row))
      for (const [field, ours] of Object.entries(played ?? {})) {
        const theirs = row[field]
        if (theirs === undefined) continue
        compared++
        if (theirs !== ours)
          found.add(`${name} ${suite} ${row['action'] ?? ''} ${field}: ours ${ours}, theirs ${theirs}`)
      }
    }
  })

  it('is what sessions answer, or the difference has a name, and each name has a difference', () => {
    const reasons = Object.entries(differences)
    const unnamed = [...found].filter((each) => !reasons.some(([, pattern]) => pattern.test(each)))
    expect(unnamed).toEqual([])
    const idle = reasons.filter(([, pattern]) => ![...found].some((each) => pattern.test(each)))
    expect(idle).toEqual([])
    expect(compared).toBeGreaterThan(600)
  })

  it('is played by sessions, but for rows that are listed here with the reason', () => {
    expect([...unplayed].toSorted()).toEqual(Object.values(notPlayed).flat().toSorted())
  })
})
