/**
 * The same calls to SoftHSM and to sessions on a virtual PIV card: the same return values, or a difference
 * named here.
 */
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
  console.warn(`Sessions are not compared with SoftHSM: ${missing}.`)
}

const material: Material = {
  key: Uint8Array.from({ length: 32 }, (_, at) => at * 3),
  iv: Uint8Array.from({ length: 16 }, (_, at) => at + 100),
  data: Uint8Array.from({ length: 50 }, (_, at) => at * 5),
}

/** Sessions of this library, driven like SoftHSM. */
async function openWebtoki(): Promise<() => Promise<CallSession>> {
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

/** A call with different return values in the two libraries. */
interface Differing {
  readonly kind: Kind
  readonly call: Call
  /** The calls before it, which returned the same values. */
  readonly before: Sequence
  readonly webtoki: string
  readonly softHsm: string
}

const [refused, ended, tooSmall] = [
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_BUFFER_TOO_SMALL',
]
const isSingle = (call: Call): boolean => call.endsWith('single')
const isPart = (call: Call): boolean => call === 'update' || call.endsWith('final')

/** SoftHSM deviates from the standard in these cases, or the standard leaves a choice. */
const differences: Readonly<Record<string, (at: Differing) => boolean>> = {
  'single part after parts: forbidden without a code; Webtoki ends, SoftHSM begins again': ({
    kind,
    call,
    before,
    webtoki,
    softHsm,
  }) =>
    kind !== 'verify' &&
    isSingle(call) &&
    before.some(([, each]) => isPart(each)) &&
    webtoki === refused &&
    softHsm !== ended,
  'an Update after a decrypted Final that waits for a buffer: Webtoki ends, SoftHSM continues': ({
    kind,
    call,
    before,
    webtoki,
  }) =>
    kind === 'decrypt' &&
    call === 'update' &&
    before.some(([, each]) => each === 'small final') &&
    webtoki === refused,
  'single part after an Update of sign and verify: SoftHSM has only the operation in parts': ({
    kind,
    call,
    before,
    webtoki,
    softHsm,
  }) =>
    (kind === 'sign' || kind === 'verify') &&
    isSingle(call) &&
    before.some(([, each]) => isPart(each)) &&
    webtoki === refused &&
    softHsm === ended,
  'parts after a single part with a buffer too small: forbidden, but accepted by SoftHSM': ({
    call,
    before,
    webtoki,
  }) => isPart(call) && before.some(([, each]) => isSingle(each)) && webtoki === refused,
  'CBC-PAD decryption of no data: Webtoki returns a wrong length, SoftHSM a buffer too small': ({
    kind,
    call,
    before,
    webtoki,
    softHsm,
  }) =>
    kind === 'decrypt' &&
    call.endsWith('final') &&
    !before.some(([, each]) => each === 'update') &&
    webtoki === 'CKR_ENCRYPTED_DATA_LEN_RANGE' &&
    softHsm === tooSmall,
  'recovery: not supported by SoftHSM': ({ kind, call, softHsm }) =>
    kind.endsWith('recover') && call === 'init' && softHsm === 'CKR_FUNCTION_NOT_SUPPORTED',
}

describe.runIf(missing === undefined)('SoftHSM', () => {
  let hsm: SoftHsm
  let open: () => Promise<CallSession>
  const observed = new Set<string>()
  beforeAll(async () => {
    hsm = new (await import('./softhsm.ts')).SoftHsm(material)
    open = await openWebtoki()
  })
  afterAll(() => hsm?.close())

  /**
   * Makes the calls in both libraries until the return values differ. Resolves to that difference if it has
   * no name.
   */
  async function differing(sequence: Sequence): Promise<readonly string[]> {
    const [webtoki, softHsm] = [await open(), hsm.session()]
    try {
      for (const [at, [kind, call]] of sequence.entries()) {
        const [a, b]: readonly CallResult[] = [await webtoki.call(kind, call), await softHsm.call(kind, call)]
        const [left, right] = [a?.code ?? '', b?.code ?? '']
        if (left === right) {
          // The two libraries sign with different keys, so only the lengths are comparable.
          const isComparable = kind === 'encrypt' || kind === 'decrypt' || kind === 'digest'
          if (isComparable && Buffer.compare(a?.output ?? nothing, b?.output ?? nothing) !== 0)
            return [`${describeCalls(sequence, at)}: another output`]
          continue
        }
        const before = sequence.slice(0, at)
        const name = Object.keys(differences).find((each) =>
          differences[each]?.({ kind, call, before, webtoki: left, softHsm: right }),
        )
        if (name === undefined) return [`${describeCalls(sequence, at)}: Webtoki ${left}, SoftHSM ${right}`]
        observed.add(name)
        return []
      }
      return []
    } finally {
      await webtoki.close()
      await softHsm.close()
    }
  }

  async function all(sequences: readonly Sequence[]): Promise<readonly string[]> {
    const found = new Set<string>()
    for (const sequence of sequences) for (const each of await differing(sequence)) found.add(each)
    return [...found]
  }

  it.each(['encrypt', 'decrypt', 'digest', 'sign', 'verify'] as const)(
    'returns what a session returns for every three calls after an Init of %s',
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

  it('returns what a session returns for every call without an Init', async () => {
    const calls: readonly Call[] = ['single', 'update', 'final']
    const kinds = ['encrypt', 'decrypt', 'digest', 'sign', 'verify'] as const
    const sequences = kinds.flatMap((kind) => calls.map((call): Sequence => [[kind, call]]))
    expect(await all([...sequences, [['search', 'update']], [['search', 'final']]])).toEqual([])
  })

  it('returns what a session without the dual flag returns for a second Init, and both continue', async () => {
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

  it('differs in each way that is named here', () => {
    expect([...observed].toSorted()).toEqual(Object.keys(differences).toSorted())
  })
})

const nothing = new Uint8Array(0)

function describeCalls(sequence: Sequence, at: number): string {
  return sequence
    .slice(0, at + 1)
    .map((each) => each.join(' '))
    .join(', ')
}
