/** The same calls to SoftHSM and to sessions on a virtual PIV card: the same answers, or a difference that is named here. */
import {
  type ActiveOperation,
  CKA,
  CKK,
  CKM,
  CKO,
  CKR,
  CryptokiError,
  type RawOperationSpec,
} from '@webtoki/cryptoki'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openKinds, outcomeOf } from './kinds-setup.ts'
import type { CallResult, Call, CallSession, Kind, Material, SoftHsm } from './softhsm.ts'

const missing = await import('pkcs11js').then(
  async () => {
    const { existsSync } = await import('node:fs')
    return existsSync('/usr/lib/softhsm/libsofthsm2.so') ? undefined : 'softhsm2 is missing'
  },
  () => 'pkcs11js does not load',
)
if (missing !== undefined) {
  if (process.env['CI'] === 'true') throw new Error(missing)
  console.warn(`Sessions are not judged by SoftHSM: ${missing}.`)
}

const material: Material = {
  key: Uint8Array.from({ length: 32 }, (_, at) => at * 3),
  iv: Uint8Array.from({ length: 16 }, (_, at) => at + 100),
  data: Uint8Array.from({ length: 50 }, (_, at) => at * 5),
}

/** Our sessions, as SoftHSM is driven. */
async function ours(): Promise<() => Promise<CallSession>> {
  const { slot, session, examples } = await openKinds({ dualOperations: false })
  const aes = await session.createObject({
    [CKA.CLASS]: CKO.SECRET_KEY,
    [CKA.KEY_TYPE]: CKK.AES,
    [CKA.VALUE]: material.key,
    [CKA.ENCRYPT]: true,
    [CKA.DECRYPT]: true,
  })
  const cbc = { type: CKM.AES_CBC_PAD, iv: material.iv }
  const { encrypted } = await import('./softhsm.ts')
  const signature = await session.sign(
    { type: CKM.SHA256_RSA_PKCS },
    (examples.sign.spec as Extract<RawOperationSpec, { key: unknown }>).key,
    material.data,
  )
  const specs: Readonly<Partial<Record<Kind, RawOperationSpec | undefined>>> = {
    encrypt: { type: 'encrypt', mechanism: cbc, key: aes },
    decrypt: { type: 'decrypt', mechanism: cbc, key: aes },
    digest: { type: 'digest', mechanism: { type: CKM.SHA256 } },
    sign: examples.sign.spec,
    'sign-recover': examples['sign-recover'].spec,
    verify: examples.verify.spec,
    'verify-recover': examples['verify-recover'].spec,
  }
  return async () => {
    const own = await slot.openSession()
    const active = new Map<Kind, ActiveOperation>()
    let search: ReturnType<typeof own.beginSearch> | undefined
    const callSearch = async (call: Call): Promise<undefined> => {
      if (call === 'init') search = own.beginSearch()
      else if (search === undefined) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
      else if (call === 'update') await search.next(1)
      else search.final()
    }
    const make = async (kind: Kind, call: Call): Promise<Uint8Array | undefined> => {
      if (kind === 'search') return callSearch(call)
      if (call === 'init') {
        const spec = specs[kind]
        const [begun] = spec === undefined ? [] : own.begin(spec)
        if (begun !== undefined) active.set(kind, begun)
        return undefined
      }
      const operation = active.get(kind)
      if (operation === undefined) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
      const data = kind === 'decrypt' ? encrypted(material) : material.data
      const options = { signature, maxBytes: call.startsWith('small') ? 1 : 1024 }
      if (call === 'update') return operation.update(data, { maxBytes: 1024 })
      return call.endsWith('final') ? operation.final(options) : operation.single(data, options)
    }
    return {
      call: async (kind, call) => {
        const { code, value } = await outcomeOf(make(kind, call))
        return { code, output: value as Uint8Array | undefined }
      },
      close: () => own.close(),
    }
  }
}

type Sequence = readonly (readonly [Kind, Call])[]

/** A call that the two answer differently. */
interface Differing {
  readonly kind: Kind
  readonly call: Call
  /** The calls before it, which they answered alike. */
  readonly before: Sequence
  readonly ours: string
  readonly theirs: string
}

const [refused, ended, tooSmall] = [
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_BUFFER_TOO_SMALL',
]
const isSingle = (call: Call): boolean => call.endsWith('single')
const isPart = (call: Call): boolean => call === 'update' || call.endsWith('final')

/** Where SoftHSM leaves the text, or the text leaves a choice. */
const differences: Readonly<Record<string, (at: Differing) => boolean>> = {
  'single part after parts: the text forbids it and names no code; ours ends, SoftHSM begins again': ({
    kind,
    call,
    before,
    ours,
    theirs,
  }) =>
    kind !== 'verify' &&
    isSingle(call) &&
    before.some(([, each]) => isPart(each)) &&
    ours === refused &&
    theirs !== ended,
  'an Update after a last part that was decrypted and waits for room: ours ends, SoftHSM goes on': ({
    kind,
    call,
    before,
    ours,
  }) =>
    kind === 'decrypt' &&
    call === 'update' &&
    before.some(([, each]) => each === 'small final') &&
    ours === refused,
  'single part after an Update of sign and verify: SoftHSM knows only the operation in parts': ({
    kind,
    call,
    before,
    ours,
    theirs,
  }) =>
    (kind === 'sign' || kind === 'verify') &&
    isSingle(call) &&
    before.some(([, each]) => isPart(each)) &&
    ours === refused &&
    theirs === ended,
  'parts after a single part whose buffer was too small: forbidden in the text, taken by SoftHSM': ({
    call,
    before,
    ours,
  }) => isPart(call) && before.some(([, each]) => isSingle(each)) && ours === refused,
  'a CBC-PAD decryption of nothing: ours has the code for a wrong length, SoftHSM never has enough room': ({
    kind,
    call,
    before,
    ours,
    theirs,
  }) =>
    kind === 'decrypt' &&
    call.endsWith('final') &&
    !before.some(([, each]) => each === 'update') &&
    ours === 'CKR_ENCRYPTED_DATA_LEN_RANGE' &&
    theirs === tooSmall,
  'recovery: SoftHSM has none': ({ kind, call, theirs }) =>
    kind.endsWith('recover') && call === 'init' && theirs === 'CKR_FUNCTION_NOT_SUPPORTED',
}

describe.runIf(missing === undefined)('SoftHSM', () => {
  let hsm: SoftHsm
  let open: () => Promise<CallSession>
  const met = new Set<string>()
  beforeAll(async () => {
    hsm = new (await import('./softhsm.ts')).SoftHsm(material)
    open = await ours()
  })
  afterAll(() => hsm?.close())

  /** Makes the calls of both until they answer differently; that difference, unless it has a name. */
  async function differing(sequence: Sequence): Promise<readonly string[]> {
    const [mine, other] = [await open(), hsm.session()]
    try {
      for (const [at, [kind, call]] of sequence.entries()) {
        const [a, b]: readonly CallResult[] = [await mine.call(kind, call), await other.call(kind, call)]
        const [left, right] = [a?.code ?? '', b?.code ?? '']
        if (left === right) {
          // Of signatures by two keys only the length is the same.
          const isOne = kind === 'encrypt' || kind === 'decrypt' || kind === 'digest'
          if (isOne && Buffer.compare(a?.output ?? nothing, b?.output ?? nothing) !== 0)
            return [`${told(sequence, at)}: another output`]
          continue
        }
        const before = sequence.slice(0, at)
        const name = Object.keys(differences).find((each) =>
          differences[each]?.({ kind, call, before, ours: left, theirs: right }),
        )
        if (name === undefined) return [`${told(sequence, at)}: ours ${left}, SoftHSM ${right}`]
        met.add(name)
        return []
      }
      return []
    } finally {
      await mine.close()
      await other.close()
    }
  }

  async function all(sequences: readonly Sequence[]): Promise<readonly string[]> {
    const found = new Set<string>()
    for (const sequence of sequences) for (const each of await differing(sequence)) found.add(each)
    return [...found]
  }

  it.each(['encrypt', 'decrypt', 'digest', 'sign', 'verify'] as const)(
    'answers every three calls after an Init of %s as a session does, or a difference has a name',
    async (kind) => {
      const calls: readonly Call[] =
        kind === 'verify'
          ? ['init', 'single', 'update', 'final']
          : ['init', 'single', 'update', 'final', 'small single', 'small final']
      const sequences = calls.flatMap((a) =>
        calls.flatMap((b) =>
          calls.map(
            (c): Sequence => [
              [kind, 'init'],
              [kind, a],
              [kind, b],
              [kind, c],
            ],
          ),
        ),
      )
      expect(await all(sequences)).toEqual([])
    },
  )

  it('answers every call without an Init as a session does', async () => {
    const calls: readonly Call[] = ['single', 'update', 'final']
    const kinds = ['encrypt', 'decrypt', 'digest', 'sign', 'verify'] as const
    const sequences = kinds.flatMap((kind) => calls.map((call): Sequence => [[kind, call]]))
    expect(await all([...sequences, [['search', 'update']], [['search', 'final']]])).toEqual([])
  })

  it('answers a second Init beside each kind as a session without the dual flag, and both go on', async () => {
    const first = ['search', 'encrypt', 'decrypt', 'digest', 'sign', 'verify'] as const
    const second = [...first, 'sign-recover', 'verify-recover'] as const
    const sequences = first.flatMap((a) =>
      second.map(
        (b): Sequence => [
          [a, 'init'],
          [a, 'update'],
          [b, 'init'],
          [a, 'final'],
          [a, 'final'],
          [b, 'init'],
        ],
      ),
    )
    expect(await all(sequences)).toEqual([])
  })

  it('differs in each way that has a name here', () => {
    expect([...met].toSorted()).toEqual(Object.keys(differences).toSorted())
  })
})

const nothing = new Uint8Array(0)

function told(sequence: Sequence, at: number): string {
  return sequence
    .slice(0, at + 1)
    .map((each) => each.join(' '))
    .join(', ')
}
