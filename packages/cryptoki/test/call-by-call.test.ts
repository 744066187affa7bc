/**
 * Searches, dual updates, headers, signatures given as a Promise and Inits that cancel (PKCS#11 v3.0, 5.7 to
 * 5.14).
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import {
  CKA,
  CKF,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  type OperationEvent,
  type RawOperationSpec,
} from '@webtoki/cryptoki'
import { Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { aesKey, cbcPad, iv, keyBytes, keyOf, openMemory, rv, settled, sha256, sign } from './memory-setup.ts'
import { open as openPiv } from './piv-setup.ts'

const message = new TextEncoder().encode('a file of more than two blocks, to be digested and encrypted')
const header = new TextEncoder().encode('its header, which is not encrypted')
const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const sha = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return bytes(hash.digest())
}
const encrypted = (data: Uint8Array): Uint8Array => {
  const cipher = createCipheriv('aes-256-cbc', keyBytes, iv)
  return bytes(Buffer.concat([cipher.update(data), cipher.final()]))
}

async function setUp(options: Parameters<typeof openMemory>[0] = {}) {
  const memory = await openMemory(options)
  await memory.session.login(CKU.USER)
  const aes = await aesKey(memory.session)
  return { ...memory, aes, own: await keyOf(memory.session, CKO.PRIVATE_KEY) }
}

describe('A search', () => {
  it('emits each object as it is found, before the next one is read from the card', async () => {
    let commands = 0
    const { session, cryptoki } = await openPiv({
      intercept: (command, card) => {
        commands++
        return card.process(command)
      },
    })
    const read: number[] = []
    const template = { [CKA.CLASS]: CKO.CERTIFICATE }
    const events: OperationEvent<readonly CkObject[]>[] = []
    const found = await session.findObjects(template).result({
      onEvent: (event) => {
        events.push(event)
        if (event.phase === 'found') read.push(commands)
      },
    })
    const emitted = events.flatMap((event) => (event.phase === 'found' ? [event.object] : []))
    expect(emitted).toEqual(found)
    expect(found).toHaveLength(4)
    expect(new Set(read).size).toBe(4)
    await cryptoki.close()
  })

  it('ends with its first object if its listener unsubscribes, and reads no other object', async () => {
    const { session, cryptoki } = await openPiv()
    const seen: CkObject[] = []
    const subscription = session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE }).events$.subscribe((event) => {
      if (event.phase !== 'found') return
      seen.push(event.object)
      subscription.unsubscribe()
      expect(session.active).toEqual([])
    })
    const first = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE }, { onConflict: 'wait' })
    expect(seen).toEqual(first.slice(0, 1))
    await cryptoki.close()
  })

  it('is driven call by call: some objects, the rest, none; it is active until C_FindObjectsFinal', async () => {
    const { session } = await setUp()
    const all = await session.findObjects()
    const search = session.beginSearch()
    expect(session.active).toEqual(['search'])
    expect(await search.next(2)).toEqual(all.slice(0, 2))
    expect(await search.next(0)).toEqual([])
    expect(await search.next(100)).toEqual(all.slice(2))
    expect(await search.next(100)).toEqual([])
    expect(session.active).toEqual(['search'])
    expect(() => session.beginSearch()).toThrow(rv(CKR.OPERATION_ACTIVE) as Error)
    search.final()
    expect(session.active).toEqual([])
    expect(() => search.final()).toThrow(rv(CKR.OPERATION_NOT_INITIALIZED) as Error)
    await expect(search.next(1)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
  })

  it('refuses a second call while one runs, and the first one continues', async () => {
    const { session } = await setUp()
    const search = session.beginSearch()
    const first = search.next(1)
    await expect(search.next(1)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(await first).toHaveLength(1)
    await expect(search.next(-1)).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
    expect(await search.next(1)).toHaveLength(1)
    search.final()
  })

  it.each(['cancel', 'close', 'logout'] as const)(
    'ends by %s and rejects a running call with the reason',
    async (how) => {
      const { session } = await setUp()
      const search = session.beginSearch()
      await search.next(1)
      const codes = {
        cancel: CKR.FUNCTION_CANCELED,
        close: CKR.SESSION_CLOSED,
        logout: CKR.USER_NOT_LOGGED_IN,
      }
      const running = expect(search.next(1)).rejects.toEqual(rv(codes[how]))
      await session[how]()
      await running
      expect(search.active).toBe(false)
      await expect(search.next(1)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    },
  )
})

describe('A call of an operation', () => {
  it.each(['update', 'single'] as const)(
    '%s with anything but bytes returns CKR_ARGUMENTS_BAD and ends the operation',
    async (call) => {
      const { session } = await setUp()
      for (const wrong of [null, undefined, 'text', [1]]) {
        const [digest] = session.begin({ type: 'digest', mechanism: sha256 })
        const called = digest?.[call](wrong as unknown as Uint8Array)
        await expect(called).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
        expect(session.active).toEqual([])
      }
    },
  )
})

describe('An Init with the mechanism null', () => {
  it('cancels the active operation of its type and leaves the other one of the pair', async () => {
    const { session, aes } = await setUp()
    const [digest, cipher] = session.begin(
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    )
    expect(session.begin({ type: 'encrypt', mechanism: null })).toEqual([])
    expect(session.active).toEqual(['digest'])
    await expect(cipher?.update(message)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(await digest?.single(message)).toEqual(sha(message))
  })

  it('returns CKR_ARGUMENTS_BAD if no operation of that type is active', async () => {
    const { session } = await setUp()
    const [digest] = session.begin({ type: 'digest', mechanism: sha256 })
    expect(() => session.begin({ type: 'sign', mechanism: null })).toThrow(rv(CKR.ARGUMENTS_BAD) as Error)
    expect(await digest?.single(message)).toEqual(sha(message))
  })
})

describe('A dual update', () => {
  const specs = (aes: CkObject, own: CkObject): Record<string, [RawOperationSpec, RawOperationSpec]> => ({
    'digest+encrypt': [
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    ],
    'encrypt+digest': [
      { type: 'encrypt', mechanism: cbcPad, key: aes },
      { type: 'digest', mechanism: sha256 },
    ],
    'sign+encrypt': [
      { type: 'sign', mechanism: sign, key: own },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    ],
  })

  it.each(['digest+encrypt', 'encrypt+digest', 'sign+encrypt'])(
    'of %s passes its chunk to the cipher and to the other operation',
    async (pair) => {
      const { session, aes, own } = await setUp()
      const pairSpecs = specs(aes, own)[pair] as [RawOperationSpec, RawOperationSpec]
      const [first, second] = session.begin(...pairSpecs)
      if (first === undefined || second === undefined) throw new Error('Two operations should be active.')
      const cipher = first.type === 'encrypt' ? first : second
      const other = first === cipher ? second : first
      const parts = [await session.updateTogether([first, second], message.subarray(0, 33))]
      // The standard allows single updates between dual ones.
      await other.update(header)
      parts.push(await session.updateTogether([second, first], message.subarray(33)))
      const result = await other.final()
      expect(result).toEqual(sha(message.subarray(0, 33), header, message.subarray(33)))
      expect(session.active).toEqual(['encrypt'])
      parts.push(await cipher.final())
      expect(bytes(Buffer.concat(parts))).toEqual(encrypted(message))
    },
  )

  it('of decrypt+digest digests the plaintext; the caller digests the last bytes itself', async () => {
    const { session, aes } = await setUp()
    const [cipher, digest] = session.begin(
      { type: 'decrypt', mechanism: cbcPad, key: aes },
      { type: 'digest', mechanism: sha256 },
    )
    if (cipher === undefined || digest === undefined) throw new Error('Two operations should be active.')
    const plain = [await session.updateTogether([cipher, digest], encrypted(message))]
    const last = await cipher.final()
    await digest.update(last)
    expect(bytes(Buffer.concat([...plain, last]))).toEqual(message)
    expect(await digest.final()).toEqual(sha(message))
  })

  it('passes nothing to the other operation if the buffer is too small, and can be repeated', async () => {
    const { session, aes } = await setUp()
    const [digest, cipher] = session.begin(
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    )
    if (cipher === undefined || digest === undefined) throw new Error('Two operations should be active.')
    const small = session.updateTogether([digest, cipher], message, { maxBytes: 3 })
    await expect(small).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
    const output = await session.updateTogether([digest, cipher], message, { maxBytes: 64 })
    expect(await digest.final()).toEqual(sha(message))
    expect(bytes(Buffer.concat([output, await cipher.final()]))).toEqual(encrypted(message))
  })

  it('returns CKR_OPERATION_NOT_INITIALIZED if one operation has ended; the other one continues', async () => {
    const { session, aes } = await setUp()
    const [digest, cipher] = session.begin(
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    )
    if (cipher === undefined || digest === undefined) throw new Error('Two operations should be active.')
    await digest.final()
    const late = session.updateTogether([digest, cipher], message)
    await expect(late).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(await cipher.single(message)).toEqual(encrypted(message))
  })

  it('returns CKR_OPERATION_NOT_INITIALIZED for operations of another session, which stay active', async () => {
    const { session, slot, aes } = await setUp()
    const other = await slot.openSession()
    const [digest, cipher] = session.begin(
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: cbcPad, key: aes },
    )
    if (cipher === undefined || digest === undefined) throw new Error('Two operations should be active.')
    const foreign = other.updateTogether([digest, cipher], message)
    await expect(foreign).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(session.active).toEqual(['digest', 'encrypt'])
  })
})

describe('A header', () => {
  it('is digested before the part that is also encrypted', async () => {
    const { session, aes } = await setUp()
    const own = bytes(header)
    const operation = session.together(
      { type: 'encrypt', mechanism: cbcPad, key: aes },
      { type: 'digest', mechanism: sha256, header: own },
      message,
    )
    own.fill(0)
    const [cipher, digest] = await operation
    expect(cipher).toEqual(encrypted(message))
    expect(digest).toEqual(sha(header, message))
  })

  it('is digested before the decrypted data', async () => {
    const { session, aes } = await setUp()
    const [plain, digest] = await session.together(
      { type: 'decrypt', mechanism: cbcPad, key: aes },
      { type: 'digest', mechanism: sha256, header },
      encrypted(message),
    )
    expect(plain).toEqual(message)
    expect(digest).toEqual(sha(header, message))
  })

  it('that is not bytes fails with CKR_ARGUMENTS_BAD', async () => {
    const { session, aes } = await setUp()
    const operation = session.together(
      { type: 'encrypt', mechanism: cbcPad, key: aes },
      { type: 'digest', mechanism: sha256, header: 'text' as unknown as Uint8Array },
      message,
    )
    await expect(operation).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
  })
})

describe('A signature given as a Promise', () => {
  it('is awaited after the data are complete', async () => {
    const { session } = await setUp()
    const key = await keyOf(session, CKO.PUBLIC_KEY)
    const data = new Subject<Uint8Array>()
    let promise!: (signature: Uint8Array) => void
    const signature = new Promise<Uint8Array>((resolve) => {
      promise = resolve
    })
    const verified = session.verify(sign, key, data, signature).result()
    data.next(message)
    data.complete()
    await settled()
    expect(session.active).toEqual(['verify'])
    promise(sha(message))
    expect(await verified).toBe(true)
  })

  it('that does not match fails with CKR_SIGNATURE_INVALID', async () => {
    const { session } = await setUp()
    const key = await keyOf(session, CKO.PUBLIC_KEY)
    const verified = session.verify(sign, key, message, Promise.resolve(sha(header)))
    await expect(verified).rejects.toEqual(rv(CKR.SIGNATURE_INVALID))
  })

  it('that rejects ends the verification with the reason as its cause', async () => {
    const { session } = await setUp()
    const key = await keyOf(session, CKO.PUBLIC_KEY)
    const reason = new Error('the file has no signature')
    const verified = session.verify(sign, key, message, Promise.reject(reason))
    await expect(verified).rejects.toMatchObject({ rv: CKR.FUNCTION_FAILED, cause: reason })
    expect(session.active).toEqual([])
  })

  it('of anything but bytes fails with CKR_ARGUMENTS_BAD; a pending one can be aborted', async () => {
    const { session } = await setUp()
    const key = await keyOf(session, CKO.PUBLIC_KEY)
    const wrong = session.verify(sign, key, message, Promise.resolve('text' as unknown as Uint8Array))
    await expect(wrong).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
    const abort = new AbortController()
    const never = session.verify(sign, key, message, new Promise(() => {}))
    const result = never.result({ signal: abort.signal })
    await settled()
    abort.abort()
    await expect(result).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(session.active).toEqual([])
  })

  it('is verified while the data are decrypted', async () => {
    const { session, aes } = await setUp()
    const key = await keyOf(session, CKO.PUBLIC_KEY)
    const [plain, fits] = await session.together(
      { type: 'decrypt', mechanism: cbcPad, key: aes },
      { type: 'verify', mechanism: sign, key, signature: Promise.resolve(sha(message)) },
      encrypted(message),
    )
    const cipher = createDecipheriv('aes-256-cbc', keyBytes, iv)
    expect(plain).toEqual(bytes(Buffer.concat([cipher.update(encrypted(message)), cipher.final()])))
    expect(fits).toBe(true)
  })
})

describe('A choice that the standard leaves to the token', () => {
  it("is made by the library's options for each token: pairs and single-part functions", async () => {
    const tokens: string[] = []
    const { session, slot, aes } = await setUp({
      dualOperations: (token) => {
        tokens.push(token.name)
        return false
      },
      singlePartWhileActive: () => 'allow',
    })
    expect(tokens).toContain('memory')
    expect((await slot.tokenInfo()).flags & CKF.DUAL_CRYPTO_OPERATIONS).toBe(0)
    session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    expect(() => session.begin({ type: 'encrypt', mechanism: cbcPad, key: aes })).toThrow(
      rv(CKR.OPERATION_ACTIVE) as Error,
    )
    expect(await session.random(3)).toHaveLength(3)
  })
})
