/** Operations driven call by call, as C callers do (PKCS#11 v2.40, 5.2 and 5.8 to 5.13). */
import { createCipheriv, createHash } from 'node:crypto'
import {
  type ActiveOperation,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  type OperationCall,
  type Session,
} from '@webtoki/cryptoki'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { aesKey, cbcPad, iv, keyBytes, keyOf, openMemory, rv, settled, sha256, sign } from './memory-setup.ts'

const message = new TextEncoder().encode('what is to be signed, and a little more')
const kinds = ['digest', 'sign', 'verify', 'encrypt', 'decrypt'] as const
type Kind = (typeof kinds)[number]

const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const sha = (data: Uint8Array): Uint8Array => bytes(createHash('sha256').update(data).digest())
const encrypted = (data: Uint8Array): Uint8Array => {
  const cipher = createCipheriv('aes-256-cbc', keyBytes, iv)
  return bytes(Buffer.concat([cipher.update(data), cipher.final()]))
}

/** The input and the output of an operation, and the signature for a verification. */
function caseOf(
  kind: Kind,
  data: Uint8Array,
): { input: Uint8Array; output: Uint8Array; signature?: Uint8Array } {
  if (kind === 'encrypt') return { input: data, output: encrypted(data) }
  if (kind === 'decrypt') return { input: encrypted(data), output: data }
  if (kind === 'verify') return { input: data, output: new Uint8Array(0), signature: sha(data) }
  return { input: data, output: sha(data) }
}

interface Keys {
  readonly own: CkObject
  readonly open: CkObject
  readonly aes: CkObject
}

async function setUp() {
  const memory = await openMemory()
  const { session } = memory
  await session.login(CKU.USER)
  const keys: Keys = {
    own: await keyOf(session, CKO.PRIVATE_KEY),
    open: await keyOf(session, CKO.PUBLIC_KEY),
    aes: await aesKey(session),
  }
  return { ...memory, keys, begin: (kind: Kind) => begin(session, keys, kind) }
}

function begin(session: Session, keys: Keys, kind: Kind): ActiveOperation {
  const specs = {
    digest: { type: 'digest', mechanism: sha256 },
    sign: { type: 'sign', mechanism: sign, key: keys.own },
    verify: { type: 'verify', mechanism: sign, key: keys.open },
    encrypt: { type: 'encrypt', mechanism: cbcPad, key: keys.aes },
    decrypt: { type: 'decrypt', mechanism: cbcPad, key: keys.aes },
  } as const
  const [operation] = session.begin(specs[kind])
  if (operation === undefined) throw new Error('An operation should be active.')
  return operation
}

const joined = (...parts: Uint8Array[]): Uint8Array => bytes(Buffer.concat(parts))

describe.each(kinds)('%s, driven call by call,', (kind) => {
  const { input, output, signature } = caseOf(kind, message)
  const more = signature === undefined ? {} : { signature }
  const gone = rv(CKR.OPERATION_NOT_INITIALIZED)

  it('gives the same result in one part and in several', async () => {
    const { session, begin: start } = await setUp()
    const single = start(kind)
    expect([single.phase, session.active]).toEqual(['fresh', [kind]])
    expect(await single.single(input, more)).toEqual(output)
    expect([single.phase, single.active, session.active]).toEqual(['gone', false, []])
    const multi = start(kind)
    const parts = [await multi.update(input.subarray(0, 20)), await multi.update(input.subarray(20))]
    expect(multi.phase).toBe('multi')
    expect(joined(...parts, await multi.final(more))).toEqual(output)
    expect(session.active).toEqual([])
  })

  it('refuses every call after its end with CKR_OPERATION_NOT_INITIALIZED', async () => {
    const { begin: start } = await setUp()
    const operation = start(kind)
    await operation.single(input, more)
    await expect(operation.update(input)).rejects.toEqual(gone)
    await expect(operation.final()).rejects.toEqual(gone)
    await expect(operation.single(input)).rejects.toEqual(gone)
    await expect(operation.authorise(async () => undefined)).rejects.toEqual(gone)
    for (const call of ['single', 'update', 'final'] as const)
      expect(() => operation.outputBytes(call)).toThrow(
        expect.objectContaining({ rv: CKR.OPERATION_NOT_INITIALIZED }),
      )
  })

  it('ends with CKR_OPERATION_ACTIVE if single-part and multiple-part calls are mixed', async () => {
    const { session, begin: start } = await setUp()
    const multi = start(kind)
    await multi.update(input)
    await expect(multi.single(input, more)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(session.active).toEqual([])
    if (kind === 'verify') return
    for (const call of ['update', 'final'] as const) {
      const queried = start(kind)
      queried.outputBytes('single', input.length)
      expect(queried.phase).toBe('queried')
      const mixed = call === 'update' ? queried.update(input) : queried.final()
      await expect(mixed).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
      expect(session.active).toEqual([])
    }
  })

  it('reports its output size without consuming data, before a single part and before Final', async () => {
    const { begin: start } = await setUp()
    const single = start(kind)
    expect(single.outputBytes('single', input.length)).toBeGreaterThanOrEqual(output.length)
    expect(await single.single(input, more)).toEqual(output)
    const multi = start(kind)
    const first = await multi.update(input)
    expect(multi.outputBytes('final')).toBeGreaterThanOrEqual(output.length - first.length)
    expect(multi.phase).toBe('multi')
    expect(joined(first, await multi.final(more))).toEqual(output)
  })

  it('refuses a second call while one is pending, and the first one continues', async () => {
    const { begin: start } = await setUp()
    const operation = start(kind)
    const first = operation.update(input)
    const others = await Promise.allSettled([operation.update(input), operation.final(more)])
    for (const other of others)
      expect(other).toMatchObject({ status: 'rejected', reason: { rv: CKR.OPERATION_ACTIVE } })
    expect(joined(await first, await operation.final(more))).toEqual(output)
  })

  it('ends at once if it is cancelled during a call, and the call rejects with the reason', async () => {
    const { session, begin: start } = await setUp()
    const operation = start(kind)
    const call = operation.update(input)
    session.cancel()
    expect([operation.phase, session.active]).toEqual(['gone', []])
    const next = start(kind)
    await expect(call).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    await expect(operation.final(more)).rejects.toEqual(gone)
    expect(await next.single(input, more)).toEqual(output)
  })
})

describe.each(['digest', 'sign', 'encrypt', 'decrypt'] as const)(
  'a buffer that is too small for %s',
  (kind) => {
    const { input, output } = caseOf(kind, message)

    it('loses nothing: the call can be repeated with a larger one', async () => {
      const { token, begin: start } = await setUp()
      const small = { maxBytes: output.length - 1 }
      const single = start(kind)
      await expect(single.single(input, small)).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
      expect(single.phase).toBe('queried')
      expect(single.outputBytes('single', input.length)).toBeGreaterThanOrEqual(output.length)
      // The refused call must not have used the key.
      expect(token.signatures).toBe(0)
      expect(await single.single(input, { maxBytes: output.length })).toEqual(output)

      const multi = start(kind)
      const first = await multi.update(input)
      const rest = output.length - first.length
      await expect(multi.final({ maxBytes: rest - 1 })).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
      expect(multi.phase).toBe('multi')
      expect(joined(first, await multi.final({ maxBytes: rest }))).toEqual(output)
    })
  },
)

describe('a cipher', () => {
  it('whose Update did not fit accepts the same data in smaller parts', async () => {
    const { begin: start } = await setUp()
    const operation = start('encrypt')
    const { input, output } = caseOf('encrypt', message)
    await expect(operation.update(input, { maxBytes: 16 })).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
    const parts: Uint8Array[] = []
    for (let at = 0; at < input.length; at += 16)
      parts.push(await operation.update(input.subarray(at, at + 16), { maxBytes: 16 }))
    expect(joined(...parts, await operation.final({ maxBytes: 16 }))).toEqual(output)
  })

  it.each([CKM.AES_ECB, CKM.AES_CBC, CKM.AES_CBC_PAD, CKM.AES_CTR])(
    'reports the exact output of its next call, held-back bytes included (mechanism %i)',
    async (type) => {
      const { session, keys } = await setUp()
      const mechanism = type === CKM.AES_ECB ? { type } : { type, iv }
      const [operation] = session.begin({ type: 'encrypt', mechanism, key: keys.aes })
      const sizes: [number, number][] = []
      for (const length of [15, 1, 17, 0, 31]) {
        const reported = operation?.outputBytes('update', length) ?? -1
        sizes.push([reported, (await operation?.update(new Uint8Array(length)))?.length ?? -2])
      }
      const reported = operation?.outputBytes('final') ?? -1
      sizes.push([reported, (await operation?.final())?.length ?? -2])
      for (const [reportedBytes, actualBytes] of sizes) expect(actualBytes).toBe(reportedBytes)
    },
  )

  it('whose Final waits for a larger buffer refuses more data and ends', async () => {
    const { begin: start } = await setUp()
    const operation = start('decrypt')
    const { input } = caseOf('decrypt', message)
    await operation.update(input)
    await expect(operation.final({ maxBytes: 1 })).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
    await expect(operation.update(input)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(operation.phase).toBe('gone')
  })
})

describe('an error ends an operation that is driven call by call', () => {
  it('with the same return value as in the stream functions', async () => {
    const { session, token, keys, begin: start } = await setUp()
    const verify = start('verify')
    await expect(verify.single(message, { signature: message })).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
    expect(verify.phase).toBe('gone')
    const decrypt = start('decrypt')
    await expect(decrypt.single(message)).rejects.toEqual(rv(CKR.ENCRYPTED_DATA_LEN_RANGE))
    expect(decrypt.phase).toBe('gone')
    const [raw] = session.begin({ type: 'sign', mechanism: { type: CKM.RSA_PKCS }, key: keys.own })
    await raw?.update(new Uint8Array(2048))
    await expect(raw?.update(new Uint8Array(1))).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
    expect(session.active).toEqual([])
    token.signing = Promise.reject(new Error('the key failed'))
    token.signing.catch(() => {})
    const failed = start('sign')
    await expect(failed.single(message)).rejects.toMatchObject({
      rv: CKR.FUNCTION_FAILED,
      cause: { message: 'the key failed' },
    })
    expect(session.active).toEqual([])
  })

  it('if the card is pulled or the session closed during the call', async () => {
    for (const [how, error] of [
      ['pull', CKR.DEVICE_REMOVED],
      ['close', CKR.SESSION_CLOSED],
    ] as const) {
      const { session, cardSlot, token, begin: start } = await setUp()
      token.signing = new Promise(() => {})
      const operation = start('sign')
      const call = operation.single(message)
      await settled()
      if (how === 'pull') cardSlot.pull()
      else void session.close()
      await expect(call).rejects.toEqual(rv(error))
      expect(operation.phase).toBe('gone')
      await expect(operation.update(message)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    }
  })

  it('if it is cancelled while the card computes, and the caller is free at once', async () => {
    const { session, token, begin: start } = await setUp()
    token.signing = new Promise(() => {})
    const call = start('sign').single(message)
    await settled()
    session.cancel(['sign'])
    await expect(call).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await start('digest').single(message)).toEqual(sha(message))
  })
})

it('C_SignInit with an active digest returns CKR_OPERATION_ACTIVE and leaves the digest running', async () => {
  const { begin: start } = await setUp()
  const digest = start('digest')
  await digest.update(message)
  expect(() => start('sign')).toThrow(
    expect.objectContaining({ rv: CKR.OPERATION_ACTIVE, active: ['digest'] }),
  )
  expect(await digest.final()).toEqual(sha(message))
})

it('one operation of a pair ends with its own Final, and the other stays active', async () => {
  const { session, keys } = await setUp()
  const [digest, encrypt] = session.begin(
    { type: 'digest', mechanism: sha256 },
    { type: 'encrypt', mechanism: cbcPad, key: keys.aes },
  )
  if (digest === undefined || encrypt === undefined) throw new Error('Two operations should be active.')
  expect(session.active).toEqual(['digest', 'encrypt'])
  await digest.update(message)
  expect(await digest.final()).toEqual(sha(message))
  expect(session.active).toEqual(['encrypt'])
  expect(await encrypt.single(message)).toEqual(encrypted(message))
})

it('a pair is not started if one of its operations is refused', async () => {
  const { session, keys } = await setUp()
  const digest = { type: 'digest', mechanism: sha256 } as const
  const bad = {
    type: 'encrypt',
    mechanism: { type: CKM.AES_CBC, iv: new Uint8Array(3) },
    key: keys.aes,
  } as const
  expect(() => session.begin(digest, bad)).toThrow(
    expect.objectContaining({ rv: CKR.MECHANISM_PARAM_INVALID }),
  )
  expect(() => session.begin(digest, digest)).toThrow(expect.objectContaining({ rv: CKR.OPERATION_ACTIVE }))
  expect(session.active).toEqual([])
})

/**
 * A second implementation of the tables of PKCS#11 v2.40, 5.2 and 5.8 to 5.13: what each call does to an
 * operation.
 */
class Reference {
  phase: 'fresh' | 'queried' | 'multi' | 'complete' | 'gone' = 'fresh'
  given = 0
  readonly #kind: Kind
  constructor(kind: Kind) {
    this.#kind = kind
  }
  /**
   * The return value of a call that is refused in this phase, which also ends the operation; undefined if it
   * is allowed.
   */
  refusal(call: OperationCall): number | undefined {
    if (this.phase === 'gone') return CKR.OPERATION_NOT_INITIALIZED
    const mixes =
      call === 'single'
        ? this.phase === 'multi' || this.phase === 'complete'
        : this.phase === 'queried' || (this.phase === 'complete' && call === 'update')
    if (!mixes) return undefined
    this.phase = 'gone'
    return CKR.OPERATION_ACTIVE
  }
  sizeQueried(call: OperationCall): void {
    if (this.#kind === 'verify' && call !== 'update') return
    if (call === 'single') this.phase = 'queried'
    else if (this.phase !== 'complete') this.phase = 'multi'
  }
  tooSmall(call: OperationCall): void {
    if (call === 'single') this.phase = 'queried'
    // The result of a decryption is kept because its size is not known before.
    else this.phase = call === 'final' && this.#kind === 'decrypt' ? 'complete' : 'multi'
  }
}

describe('calls in any order', () => {
  const call = fc.record({
    call: fc.constantFrom<OperationCall>('single', 'update', 'final', 'update'),
    query: fc.boolean(),
    length: fc.integer({ min: 0, max: 50 }),
    maxBytes: fc.option(fc.integer({ min: 0, max: 64 }), { nil: undefined }),
  })

  it.each(kinds)('leave %s in the phase that the standard requires, with the right output', async (kind) => {
    const { session, keys } = await setUp()
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 80 }),
        fc.array(call, { maxLength: 8 }),
        async (data, calls) => {
          const { input, output, signature } = caseOf(kind, data)
          const operation = begin(session, keys, kind)
          const reference = new Reference(kind)
          let taken = 0
          let given: Uint8Array = new Uint8Array(0)
          try {
            for (const { call: name, query, length, maxBytes } of calls) {
              const chunk = input.subarray(taken, taken + length)
              const refusal = reference.refusal(name)
              if (query) {
                const query = (): number =>
                  operation.outputBytes(
                    name,
                    name === 'update' ? chunk.length : name === 'single' ? input.length : 0,
                  )
                if (refusal === undefined) query()
                else expect(query).toThrow(expect.objectContaining({ rv: refusal }))
                if (refusal === undefined) reference.sizeQueried(name)
              } else {
                // Final needs all data first; without them it would be the result of a shorter message.
                const rest = name === 'final' ? input.subarray(taken) : new Uint8Array(0)
                if (refusal === undefined && rest.length > 0) {
                  given = joined(given, await operation.update(rest))
                  taken = input.length
                  reference.phase = 'multi'
                }
                const options = {
                  ...(maxBytes === undefined ? {} : { maxBytes }),
                  ...(signature && { signature }),
                }
                const running =
                  name === 'update'
                    ? operation.update(chunk, options)
                    : name === 'single'
                      ? operation.single(input, options)
                      : operation.final(options)
                const outcome = await running.then(
                  (bytesOut) => ({ bytesOut, code: undefined }),
                  (error: { rv: number }) => ({ bytesOut: undefined, code: error.rv }),
                )
                if (refusal !== undefined) expect(outcome.code).toBe(refusal)
                else if (outcome.bytesOut === undefined) {
                  expect(outcome.code).toBe(CKR.BUFFER_TOO_SMALL)
                  const due = name === 'single' ? output.length : output.length - given.length
                  if (name !== 'update') expect(maxBytes).toBeLessThan(due)
                  reference.tooSmall(name)
                } else {
                  expect(outcome.bytesOut.length).toBeLessThanOrEqual(maxBytes ?? Infinity)
                  given = joined(given, outcome.bytesOut)
                  if (name === 'update') {
                    taken += chunk.length
                    reference.phase = 'multi'
                    expect(given).toEqual(output.subarray(0, given.length))
                  } else {
                    reference.phase = 'gone'
                    expect(given).toEqual(output)
                  }
                }
              }
              const phase = reference.phase === 'complete' ? 'multi' : reference.phase
              expect(operation.phase).toBe(phase)
              expect(session.active).toEqual(phase === 'gone' ? [] : [kind])
            }
          } finally {
            session.cancel()
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
