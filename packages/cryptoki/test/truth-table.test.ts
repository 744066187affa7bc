/** What SoftHSM and NSS were measured to answer, and our sessions: the same, or a difference that is named here. */
import { readFileSync } from 'node:fs'
import {
  type ActiveOperation,
  type Attributes,
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKU,
  type RawOperationSpec,
  type Session,
} from '@webtoki/cryptoki'
import { beforeAll, describe, expect, it } from 'vitest'
import { begin, type Kind, type KindsSetup, lastOptions, openKinds, outcomeOf } from './kinds-setup.ts'
import { rightPin } from './piv-setup.ts'

type Row = Readonly<Record<string, string>>
const rows: readonly Row[] = readFileSync(new URL('./vectors/pkcs11-truth.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => {
    const fields = line.split(';').map((field) => /^([^=]*)=(.*)$/.exec(field)?.slice(1) ?? [])
    return Object.fromEntries(fields) as Row
  })

const codeOf = async (act: () => unknown): Promise<string> => (await outcomeOf((async () => act())())).code

/** One caller of one session. */
class Caller {
  readonly #setup: KindsSetup
  readonly session: Session
  readonly #active = new Map<string, ActiveOperation>()
  #search: ReturnType<Session['beginSearch']> | undefined

  constructor(setup: KindsSetup, session: Session) {
    this.#setup = setup
    this.session = session
  }

  init(kind: string): Promise<string> {
    return codeOf(() => {
      if (kind === 'search') this.#search = this.session.beginSearch()
      else this.#active.set(kind, begin(this.#setup.examples[kind as Kind], this.session))
    })
  }

  cancelInit(kind: string): Promise<string> {
    return codeOf(() => this.session.begin({ type: kind as 'digest', mechanism: null }))
  }

  /** An operation of that kind that has ended, if there was none: without an Init there is nothing to call. */
  #operation(kind: string): ActiveOperation {
    const found = this.#active.get(kind)
    if (found !== undefined) return found
    const made = begin(this.#setup.examples[kind as Kind], this.session)
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
      const example = this.#setup.examples[kind as Kind]
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

  /** A dual function over two kinds; operations that are not active have ended. */
  both(first: string, second: string): Promise<string> {
    return codeOf(() => {
      const operations = [this.#operation(first), this.#operation(second)] as const
      return this.session.updateTogether(operations, this.#dataOf(first, second))
    })
  }

  /** All that the cipher of a pair takes. */
  #dataOf(...pair: readonly string[]): Uint8Array {
    const cipher = pair.find((kind) => kind === 'encrypt' || kind === 'decrypt') as Kind
    return this.#setup.examples[cipher].data
  }

  /** For `both` while another operation is active, beside which none can be begun and ended. */
  prepareEnded(kind: string): void {
    this.#active.set(kind, this.#operation(kind))
  }

  ask(kind: string): Promise<string> {
    return codeOf(() => this.#operation(kind).outputBytes('single', 16))
  }
}

const secretKey = (session: Session, keyType: CKK, uses: Attributes): Promise<CkObject> =>
  session.createObject({
    [CKA.CLASS]: CKO.SECRET_KEY,
    [CKA.KEY_TYPE]: keyType,
    [CKA.VALUE]: new Uint8Array(32).fill(3),
    ...uses,
  })

/** Made in another session, which has no operation. */
const unrelatedKey = ({ session }: KindsSetup): Promise<CkObject> => secretKey(session, CKK.AES, {})

/** Calls while an operation is active, as far as sessions have them. */
const actions: Readonly<Record<string, (caller: Caller, setup: KindsSetup) => unknown>> = {
  C_CopyObject: async ({ session }, setup) => session.copyObject(await unrelatedKey(setup)),
  C_CreateObject: ({ session }) => secretKey(session, CKK.AES, {}),
  'C_DestroyObject(unrelated)': async ({ session }, setup) =>
    session.destroyObject(await unrelatedKey(setup)),
  C_GenerateKey: ({ session }) =>
    session.generateKey({ type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 32 }).result(),
  C_GenerateRandom: ({ session }) => session.random(8).result(),
  C_GetAttributeValue: ({ session }, { examples }) => {
    const { spec } = examples.encrypt
    return spec !== undefined && 'key' in spec && session.getAttributes(spec.key, CKA.CLASS)
  },
  C_GetObjectSize: async ({ session }, setup) => session.objectSize(await unrelatedKey(setup)),
  C_GetSessionInfo: ({ session }) => session.state,
  'C_SessionCancel(all)': ({ session }) => session.cancel(),
  C_SetAttributeValue: async ({ session }, setup) =>
    session.setAttributes(await unrelatedKey(setup), { [CKA.LABEL]: 'another' }),
  'C_Login(CKU_USER again)': ({ session }) => session.login(CKU.USER, rightPin),
  'C_Login(CKU_CONTEXT_SPECIFIC)': ({ session }) => session.login(CKU.CONTEXT_SPECIFIC, rightPin),
}

type Played = Readonly<Record<string, string>> | undefined

/** The dual functions of C, and the kinds that each takes. */
const dualCalls: Readonly<Record<string, readonly [Kind, Kind]>> = {
  C_DigestEncryptUpdate: ['digest', 'encrypt'],
  C_DecryptDigestUpdate: ['decrypt', 'digest'],
  C_SignEncryptUpdate: ['sign', 'encrypt'],
  C_DecryptVerifyUpdate: ['decrypt', 'verify'],
}

const unknownMechanism = { type: 0x8000_1234 }
const iv = new Uint8Array(16)
const cbc = { type: CKM.AES_CBC, iv }
const hmac = { type: CKM.SHA256_HMAC }

/** The key of an example. */
function keyOf(setup: KindsSetup, kind: Kind): CkObject {
  const { spec } = setup.examples[kind]
  if (spec === undefined || !('key' in spec) || spec.key === undefined) throw new Error(`${kind} has no key.`)
  return spec.key
}

async function destroyedKey(session: Session): Promise<CkObject> {
  const key = await secretKey(session, CKK.AES, { [CKA.ENCRYPT]: true })
  session.destroyObject(key)
  return key
}

const initOf = (session: Session, spec: RawOperationSpec): Promise<string> =>
  codeOf(() => session.begin(spec))

/** An Init that fails, by the prober's name of the case. */
const failingInits: Readonly<
  Record<string, (caller: Caller, setup: KindsSetup) => RawOperationSpec | Promise<RawOperationSpec>>
> = {
  'SignInit bad key handle': async ({ session }) => ({
    type: 'sign',
    mechanism: hmac,
    key: await destroyedKey(session),
  }),
  'SignInit bad mechanism': (_, setup) => ({
    type: 'sign',
    mechanism: unknownMechanism,
    key: keyOf(setup, 'sign'),
  }),
  'SignInit key CKA_SIGN=false': async ({ session }) => ({
    type: 'sign',
    mechanism: hmac,
    key: await secretKey(session, CKK.GENERIC_SECRET, { [CKA.SIGN]: false }),
  }),
  'SignInit with public key': (_, setup) => ({
    type: 'sign',
    mechanism: { type: CKM.SHA256_RSA_PKCS },
    key: keyOf(setup, 'verify'),
  }),
  'SignInit with AES key': async ({ session }) => ({
    type: 'sign',
    mechanism: { type: CKM.SHA256_RSA_PKCS },
    key: await secretKey(session, CKK.AES, { [CKA.SIGN]: true }),
  }),
  'EncryptInit CBC no IV': (_, setup) => ({
    type: 'encrypt',
    mechanism: { type: CKM.AES_CBC },
    key: keyOf(setup, 'encrypt'),
  }),
  'failed EncryptInit(bad handle) while digest active': async ({ session }) => ({
    type: 'encrypt',
    mechanism: cbc,
    key: await destroyedKey(session),
  }),
  'SignInit bad session handle': async ({ session }, { examples }) => {
    await session.close()
    return examples.sign.spec as RawOperationSpec
  },
}

/** An operation and the call of it that fails; `after` is asked whether it goes on. */
interface FailingCall {
  readonly spec: (setup: KindsSetup) => RawOperationSpec
  /** Before the call that fails. */
  readonly update?: Uint8Array
  readonly fails: (operation: ActiveOperation, setup: KindsSetup) => Promise<unknown>
  readonly after: 'after' | 'update_after' | 'retry_ok_data'
}

const specOf =
  (kind: Kind, mechanism?: { readonly type: number; readonly iv?: Uint8Array }) =>
  ({ examples }: KindsSetup): RawOperationSpec => {
    const { spec } = examples[kind]
    if (spec === undefined) throw new Error(`${kind} cannot be begun.`)
    return mechanism === undefined ? spec : ({ ...spec, mechanism } as RawOperationSpec)
  }

const wrongSignature = ({ examples }: KindsSetup): Uint8Array =>
  Uint8Array.from(examples.verify.signature ?? [], (byte, at) => (at === 20 ? byte ^ 1 : byte))

const failingCalls: Readonly<Record<string, FailingCall>> = {
  'C_Encrypt AES_CBC 5 bytes': {
    spec: specOf('encrypt', cbc),
    fails: (operation) => operation.single(new Uint8Array(5)),
    after: 'retry_ok_data',
  },
  'C_EncryptFinal AES_CBC after 5-byte update': {
    spec: specOf('encrypt', cbc),
    update: new Uint8Array(5),
    fails: (operation) => operation.final(),
    after: 'update_after',
  },
  'C_Decrypt bad padding': {
    spec: specOf('decrypt', { type: CKM.AES_CBC_PAD, iv }),
    fails: async (operation, setup) => {
      const zeros = await setup.session.encrypt(cbc, keyOf(setup, 'encrypt'), new Uint8Array(16))
      return operation.single(zeros)
    },
    after: 'after',
  },
  'C_Verify wrong signature': {
    spec: specOf('verify'),
    fails: (operation, setup) =>
      operation.single(setup.examples.verify.data, { signature: wrongSignature(setup) }),
    after: 'after',
  },
  'C_Verify short signature': {
    spec: specOf('verify'),
    fails: (operation, { examples }) =>
      operation.single(examples.verify.data, { signature: new Uint8Array(10) }),
    after: 'after',
  },
  'C_VerifyFinal wrong signature': {
    spec: specOf('verify'),
    update: new Uint8Array(16),
    fails: (operation, setup) => operation.final({ signature: wrongSignature(setup) }),
    after: 'after',
  },
  'C_Sign RSA_PKCS 300 bytes': {
    spec: specOf('sign', { type: CKM.RSA_PKCS }),
    fails: (operation) => operation.single(new Uint8Array(300)),
    after: 'after',
  },
  'C_SignUpdate on RSA_PKCS (single-part mechanism)': {
    spec: specOf('sign', { type: CKM.RSA_PKCS }),
    fails: (operation) => operation.update(new Uint8Array(16)),
    after: 'after',
  },
}

/** What our sessions answer to what a row tells; undefined: the row cannot be played. */
const players: Readonly<Record<string, (row: Row, caller: Caller, setup: KindsSetup) => Promise<Played>>> = {
  pair: async ({ active = '', then_init = '' }, caller) => {
    const rv_first = await caller.init(active)
    const rv_second = await caller.init(then_init)
    const first_still_usable = await caller.goesOn(active)
    return active === then_init ? { rv_first, rv_second } : { rv_first, rv_second, first_still_usable }
  },
  action: async ({ active = '', action = '' }, caller, setup) => {
    // The prober did nothing beside an Init that failed.
    if (action === '-') return { rv_init: await caller.init(active) }
    const act = actions[action]
    if (act === undefined) return undefined
    if (active === 'none') return { rv: await codeOf(() => act(caller, setup)) }
    const rv_init = await caller.init(active)
    const rv = await codeOf(() => act(caller, setup))
    return { rv_init, rv, op_after: await caller.goesOn(active) }
  },
  noinit: async ({ op = '', call = '' }, caller) => {
    const pair = dualCalls[call]
    if (pair !== undefined) return { rv: await caller.both(...pair) }
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
  search: async (_, { session }) => {
    const id = { [CKA.ID]: Uint8Array.of(0x77) }
    const keys = [await secretKey(session, CKK.AES, id), await secretKey(session, CKK.AES, id)]
    const search = session.beginSearch(id)
    const found = async (max: number) => {
      let count = 0
      const code = await codeOf(async () => {
        count = (await search.next(max)).length
      })
      return { code, count: `${count}` }
    }
    const [first, created] = [await found(1), await secretKey(session, CKK.AES, id)]
    const [rest, none] = [await found(64), await found(64)]
    const played = {
      init: 'CKR_OK',
      find1: first.code,
      n1: first.count,
      find64: rest.code,
      n64_after_create_during_search: rest.count,
      exhausted: none.code,
      n_exhausted: none.count,
      init_while_exhausted: await codeOf(() => session.beginSearch(id)),
      max0: (await found(0)).code,
      final: await codeOf(() => search.final()),
      final_again: await codeOf(() => search.final()),
      find_after_final: (await found(1)).code,
    }
    for (const key of [...keys, created]) session.destroyObject(key)
    return played
  },
  'two-sessions': async (_, caller, setup) => {
    const other = new Caller(setup, await setup.slot.openSession())
    return {
      s1_sign: await caller.init('sign'),
      s2_sign: await other.init('sign'),
      s1_step: await caller.call('sign', 'update'),
      s2_close: await codeOf(() => other.session.close()),
      s1_step2: await caller.call('sign', 'update'),
      s2_step: await other.call('sign', 'update'),
    }
  },
  dual: async ({ first = '', second = '' }, caller) => {
    for (const kind of [first, second]) caller.prepareEnded(kind)
    return {
      init1: await caller.init(first),
      init2: await caller.init(second),
      third_init: await caller.init('sign-recover'),
      search_init: await codeOf(() => caller.session.beginSearch()),
      rv: await caller.both(first, second),
      final1: await caller.call(first, 'final'),
      second_after_final1: await caller.call(second, 'update'),
    }
  },
  'dual-half': async ({ call = '', only = '' }, caller) => {
    const pair = dualCalls[call]
    if (pair === undefined) return undefined
    for (const kind of pair) caller.prepareEnded(kind)
    await caller.init(only)
    return { rv: await caller.both(...pair), op_after: await caller.goesOn(only) }
  },
  'destroy-key-in-use': async (_, { session }) => {
    const key = await secretKey(session, CKK.AES, { [CKA.ENCRYPT]: true })
    let operation: ActiveOperation | undefined
    return {
      init: await codeOf(() => {
        ;[operation] = session.begin({ type: 'encrypt', mechanism: cbc, key })
      }),
      destroy: await codeOf(() => session.destroyObject(key)),
      update: await codeOf(() => operation?.update(new Uint8Array(16))),
    }
  },
  'error-ends': async ({ case: name = '' }, { session }, setup) => {
    const failing = failingCalls[name]
    if (failing === undefined) return undefined
    const { spec, update, fails, after } = failing
    const [operation] = session.begin(spec(setup))
    if (operation === undefined) throw new Error('Nothing was begun.')
    return {
      init: 'CKR_OK',
      ...(update === undefined ? {} : { update: await codeOf(() => operation.update(update)) }),
      err: await codeOf(() => fails(operation, setup)),
      [after]: await codeOf(() => operation.update(new Uint8Array(16))),
    }
  },
  'init-fail': async ({ case: name = '' }, caller, setup) => {
    const spec = await failingInits[name]?.(caller, setup)
    if (spec === undefined) return undefined
    if (name.endsWith('while digest active'))
      return {
        digest: await caller.init('digest'),
        rv: await initOf(caller.session, spec),
        digest_after: await caller.goesOn('digest'),
      }
    const rv = await initOf(caller.session, spec)
    return {
      rv,
      update_after: await caller.call('sign', 'update'),
      init_good_after: await caller.init('sign'),
    }
  },
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

/** Why the two libraries answer otherwise. */
const differences: Readonly<Record<string, RegExp>> = {
  'SoftHSM has no recovery': /^soft (?!.* C_\w+Update ).* theirs CKR_FUNCTION_NOT_SUPPORTED$/,
  'SoftHSM has no dual functions; ours refuse operations that are not both active':
    /^soft (noinit|dual|dual-half) C_\w+Update rv: ours CKR_OPERATION_NOT_INITIALIZED, theirs CKR_FUNCTION_NOT_SUPPORTED$/,
  'SoftHSM tells the size of a padding without a ciphertext':
    /^soft dual C_Decrypt\w+Update final1: ours CKR_ENCRYPTED_DATA_LEN_RANGE, theirs CKR_BUFFER_TOO_SMALL$/,
  'the prober decrypted noise, which has no padding; here it is a message':
    /^nss- dual C_Decrypt\w+Update final1: ours CKR_OK, theirs CKR_ENCRYPTED_DATA_INVALID$/,
  'NSS begins searches beside others, and beside pairs':
    /^nss- (search {2}init_while_exhausted|dual \w+ search_init): ours CKR_OPERATION_ACTIVE, theirs CKR_OK$/,
  'an operation of ours knows that it has ended, not that its session has':
    /two-sessions {2}s2_step: ours CKR_OPERATION_NOT_INITIALIZED, theirs CKR_SESSION_HANDLE_INVALID$/,
  'both libraries have a general error for what ours names':
    /error-ends C_(Decrypt bad padding|Sign RSA_PKCS 300 bytes) err: ours CKR_(ENCRYPTED_DATA_INVALID|DATA_LEN_RANGE), theirs CKR_GENERAL_ERROR$/,
  'RSA PKCS#1 is of one part in C; ours collects the parts':
    /error-ends C_SignUpdate on RSA_PKCS .* (err|after): ours CKR_OK, theirs CKR_OPERATION_NOT_INITIALIZED$/,
  'NSS refuses a part of AES-CBC that is not of whole blocks, ours the end':
    /^nss- error-ends C_EncryptFinal AES_CBC after 5-byte update (update|err)/,
  'NSS tells a short signature from a wrong one by nothing':
    /^nss- error-ends C_Verify short signature err: ours CKR_SIGNATURE_LEN_RANGE, theirs CKR_SIGNATURE_INVALID$/,
  'SoftHSM takes a bad key for a bad object, and names other errors of keys and parameters':
    /^soft init-fail (SignInit bad key handle|SignInit with public key|EncryptInit CBC no IV) rv/,
  'an AES key does not sign: ours refuses the mechanism, NSS the key, SoftHSM neither at Init':
    /init-fail SignInit with AES key rv: ours CKR_MECHANISM_INVALID/,
  'NSS has two slots for operations and one for searches, and takes pairs that are not among the four':
    /^nss- pair {2}rv_second: ours CKR_OPERATION_ACTIVE, theirs CKR_OK$/,
  'functions of one call: the text leaves the choice, ours is strict by default':
    /C_Generate(Key|Random) rv: ours CKR_OPERATION_ACTIVE, theirs CKR_OK$/,
  'NSS does not know CKU_CONTEXT_SPECIFIC':
    /^nss- action C_Login\(CKU_CONTEXT_SPECIFIC\) rv: ours CKR_OPERATION_NOT_INITIALIZED/,
  'single part after an Update: forbidden without a code; ours refuses and ends':
    /single-after-update {2}single/,
  'CBC-PAD of nothing: ours has the code for a wrong length, and ends':
    /final-without-update {2}(final: ours CKR_ENCRYPTED_DATA_LEN_RANGE|reinit: ours CKR_OK)/,
  'a mechanism of NULL cancels since v3.0, as here': /cancel-null-mechanism/,
  'NSS searches end without having begun':
    /^nss- (noinit C_FindObjects\w* rv|noinit Final rv|search {2}(final_again|find_after_final)): .* theirs CKR_OK$/,
  'a buffer that is too small ends the operation of NSS, or is filled with a part of the digest':
    /^nss- buffer-single {2}(ok|too_small)/,
  'C_SessionCancel ignores what is not active (v3.0), NSS complains, and cannot cancel recovery':
    /^nss- (session-cancel|action C_SessionCancel\(all\))/,
  'SoftHSM follows v2.40, which has no C_SessionCancel': /^soft action C_SessionCancel\(all\)/,
  'NSS finds fault with the type of a key that may not sign':
    /^nss- init-fail SignInit key CKA_SIGN=false rv: ours CKR_KEY_FUNCTION_NOT_PERMITTED, theirs CKR_KEY_TYPE_INCONSISTENT$/,
}

/** Rows that are not played here: suites, functions beside an operation, and cases. */
const notPlayed: Readonly<Record<string, readonly string[]>> = {
  'sessions have no such function': [
    'action C_CancelFunction',
    'action C_GetFunctionStatus',
    'action C_GetOperationState',
    'action C_InitPIN',
    'action C_SeedRandom',
    'action C_SetPIN(same)',
    'action C_DigestKey',
    'action C_GenerateKeyPair',
    'error-ends C_DigestKey invalid handle',
    'noinit C_DigestKey',
    'operation-state',
  ],
  'functions of one call, as C_GenerateKey, whose place beside operations it shows': [
    'action C_DeriveKey',
    'action C_UnwrapKey',
    'action C_WrapKey',
  ],
  'a function of the library, not of a session': ['action C_WaitForSlotEvent(DONT_BLOCK)', 'info'],
  'the compiler refuses NULL': [
    'error-ends C_DigestUpdate NULL data len 5',
    'error-ends C_Digest pulDigestLen NULL',
  ],
  'the key of 9A does not want its PIN each time; touch and PIN policies have tests of their own': [
    'always-auth',
  ],
  'login, logout and read-only sessions have the tests of `login`, `login-end` and `session`': ['login'],
  'the prober fetched outputs of parts in buffers of two sizes; parts have the tests of `call-by-call`': [
    'buffer-multi',
  ],
}

/** What a row that is not played is called above. */
function nameOf({ suite = '', action, call, case: name }: Row): string {
  if (action !== undefined) return `action ${action}`
  if (suite === 'noinit') return `noinit ${call}`
  return suite === 'error-ends' ? `${suite} ${name}` : suite
}

describe('what SoftHSM and NSS were measured to answer', () => {
  const found = new Set<string>()
  const unplayed = new Set<string>()
  let compared = 0
  beforeAll(async () => {
    const setups = { soft: await openKinds({ dualOperations: false }), 'nss-': await openKinds() }
    for (const row of rows) {
      const { lib = '', suite = '' } = row
      const name = lib.slice(0, 4) as keyof typeof setups
      const session = await setups[name].slot.openSession()
      const played = await players[suite]?.(row, new Caller(setups[name], session), setups[name])
      await session.close()
      if (played === undefined) unplayed.add(nameOf(row))
      for (const [field, ours] of Object.entries(played ?? {})) {
        const theirs = row[field]
        if (theirs === undefined) continue
        compared++
        if (theirs !== ours)
          found.add(
            `${name} ${suite} ${row['action'] ?? row['case'] ?? row['call'] ?? ''} ${field}: ours ${ours}, theirs ${theirs}`,
          )
      }
    }
  })

  it('is what sessions answer, or the difference has a name, and each name has a difference', () => {
    const reasons = Object.entries(differences)
    const unnamed = [...found].filter((each) => !reasons.some(([, pattern]) => pattern.test(each)))
    expect(unnamed).toEqual([])
    const idle = reasons.filter(([, pattern]) => ![...found].some((each) => pattern.test(each)))
    expect(idle).toEqual([])
    expect(compared).toBeGreaterThan(1200)
  })

  it('is played by sessions, but for rows that are listed here with the reason', () => {
    expect([...unplayed].toSorted()).toEqual(Object.values(notPlayed).flat().toSorted())
  })
})
