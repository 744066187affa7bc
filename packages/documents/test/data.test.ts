/** How a document is read, without anybody else's judgement. */
import { createHash } from 'node:crypto'
import { notChecked, signDetached, verifyDetached } from '@webtoki/documents'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { issue, softwareSigner } from '../../trust/test/pki.ts'

const pieceBytes = 0x20_0000

/** A signer that counts what it signs. */
async function countingSigner() {
  const signer = softwareSigner(await issue({ name: 'Ada' }), 'ES256')
  const counting = {
    ...signer,
    signatures: 0,
    sign: (bytes: Uint8Array) => {
      counting.signatures++
      return signer.sign(bytes)
    },
  }
  return counting
}

/** A file whose bytes are read into the reader's own buffers, as a browser's File has them. */
const streaming = (size: number, pull: UnderlyingByteSource['pull']) => ({
  size,
  slice: () => {
    throw new Error('It has a stream.')
  },
  stream: () => new ReadableStream({ type: 'bytes', ...(pull === undefined ? {} : { pull }) }),
})

/** Answers a read with so many bytes. */
function fill(controller: ReadableByteStreamController, bytes: number): void {
  const view = controller.byobRequest?.view
  if (!view) throw new Error('Nobody gave a buffer.')
  controller.byobRequest.respond(Math.min(bytes, view.byteLength))
}

describe('a signature file in a Node Buffer', () => {
  it('is its own bytes, not a good signature that lies at the beginning of the same pool', async () => {
    const issued = await issue({ name: 'Ada' })
    const letter = new TextEncoder().encode('Dear reader,\n')
    const file = await signDetached(softwareSigner(issued, 'ES256'), letter)
    const pool = new Uint8Array(8192)
    pool.set(file)
    const forged = Buffer.from(pool.buffer, 8000, 5)
    await expect(verifyDetached(forged, letter, { trust: notChecked })).rejects.toMatchObject({
      reason: 'malformed',
    })
  })
})

describe('a long document', () => {
  const size = 20 * pieceBytes

  it('is read into two buffers that take turns, and no third piece is asked for before the first is hashed', async () => {
    let asked = 0
    let hashed = 0
    let most = 0
    const buffers = new Set<ArrayBufferLike>()
    const file = {
      size,
      slice: () => {
        throw new Error('It has a stream.')
      },
      stream: () => ({
        getReader: () => ({
          read: async (view: Uint8Array) => {
            if (asked * pieceBytes >= size) return { done: true }
            asked++
            most = Math.max(most, asked - hashed)
            buffers.add(view.buffer)
            return { done: false, value: view }
          },
          cancel: async () => {},
        }),
      }),
    }
    await signDetached(await countingSigner(), file, { onProgress: () => hashed++ })
    expect({ asked, hashed, most }).toEqual({ asked: 20, hashed: 20, most: 2 })
    expect(buffers.size).toBe(2)
  })

  it('is read slice by slice where there is no stream, and no more than two are alive', async () => {
    let asked = 0
    let hashed = 0
    let most = 0
    const file = {
      size,
      slice: (start: number, end: number) => ({
        arrayBuffer: async () => {
          asked++
          most = Math.max(most, asked - hashed)
          return new ArrayBuffer(end - start)
        },
      }),
    }
    await signDetached(await countingSigner(), file, { onProgress: () => hashed++ })
    expect({ asked, hashed, most }).toEqual({ asked: 20, hashed: 20, most: 2 })
  })
})

describe('a document in a page that lets no WebAssembly run', () => {
  it.each(['ES256', 'ES384', 'ES512'] as const)('has the same digest, for %s', async (algorithm) => {
    vi.stubGlobal('WebAssembly', undefined)
    onTestFinished(() => void vi.unstubAllGlobals())
    const letter = new TextEncoder().encode('Dear reader,\n')
    const signer = softwareSigner(await issue({ name: 'Ada', algorithm }), algorithm)
    const sign = vi.spyOn(signer, 'sign')
    await signDetached(signer, letter)
    const digest = createHash(`sha${algorithm.slice(2)}`)
      .update(letter)
      .digest()
    expect(Buffer.from(sign.mock.calls[0]?.[0] ?? []).includes(digest)).toBe(true)
  })
})

describe('a document that cannot be read to its end is said so, and the key is not used:', () => {
  const size = 3 * pieceBytes

  it('a file that is moved away midway', async () => {
    let pieces = 0
    const file = streaming(size, (controller) => {
      if (pieces++ === 1) throw new DOMException('gone', 'NotReadableError')
      fill(controller as ReadableByteStreamController, pieceBytes)
    })
    const signer = await countingSigner()
    await expect(signDetached(signer, file)).rejects.toMatchObject({
      reason: 'unreadable',
      cause: { name: 'NotReadableError' },
    })
    expect(pieces).toBe(2)
    expect(signer.signatures).toBe(0)
  })

  it('a file that is cut midway', async () => {
    let pieces = 0
    const file = streaming(size, (each) => {
      const controller = each as ReadableByteStreamController
      if (pieces++ < 2) {
        fill(controller, pieceBytes)
        return
      }
      controller.close()
      controller.byobRequest?.respond(0)
    })
    const signer = await countingSigner()
    await expect(signDetached(signer, file)).rejects.toMatchObject({ reason: 'unreadable' })
    expect(signer.signatures).toBe(0)
  })

  it('a stream that breaks', async () => {
    let pieces = 0
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (pieces++ === 1) throw new TypeError('broken')
        controller.enqueue(new Uint8Array(1000))
      },
    })
    const signer = await countingSigner()
    await expect(signDetached(signer, stream)).rejects.toMatchObject({ reason: 'unreadable' })
    expect(signer.signatures).toBe(0)
  })

  it('slices of which one fails, or is too short', async () => {
    const signer = await countingSigner()
    const vanishing = {
      size,
      slice: (start: number) => ({
        arrayBuffer: async () => {
          if (start > pieceBytes) throw new DOMException('gone', 'NotReadableError')
          return new ArrayBuffer(pieceBytes)
        },
      }),
    }
    await expect(signDetached(signer, vanishing)).rejects.toMatchObject({ reason: 'unreadable' })
    const shrinking = { size, slice: () => ({ arrayBuffer: async () => new ArrayBuffer(5) }) }
    await expect(signDetached(signer, shrinking)).rejects.toMatchObject({ reason: 'unreadable' })
    expect(signer.signatures).toBe(0)
  })

  it('one that nobody wants any more', async () => {
    const signer = await countingSigner()
    const controller = new AbortController()
    controller.abort()
    const letter = new TextEncoder().encode('Dear reader,\n')
    await expect(signDetached(signer, letter, { signal: controller.signal })).rejects.toMatchObject({
      reason: 'cancelled',
    })
    expect(signer.signatures).toBe(0)
  })

  const never = <T>(): Promise<T> => new Promise(() => {})
  const ended: string[] = []
  const cancel = (): void => void ended.push('cancelled')
  async function* waiting(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1)
    await never()
  }
  it.each([
    [
      'a file',
      ['cancelled'],
      { size, slice: never, stream: () => new ReadableStream({ type: 'bytes', pull: never, cancel }) },
    ],
    ['a stream', ['cancelled'], new ReadableStream<Uint8Array>({ pull: never, cancel })],
    ['slices', [], { size, slice: () => ({ arrayBuffer: () => never<ArrayBuffer>() }) }],
    ['an iterable', [], waiting()],
  ])(
    '%s that nobody wants any more while it is waited for; a reader that can is told',
    async (_what, told, data) => {
      ended.length = 0
      const signer = await countingSigner()
      const controller = new AbortController()
      const { signal } = controller
      const work = signDetached(signer, data as Blob, { signal })
      // The reading has begun, and waits.
      await new Promise((resolve) => void setImmediate(resolve))
      controller.abort()
      await expect(work).rejects.toMatchObject({ reason: 'cancelled', cause: signal.reason as unknown })
      expect(ended).toEqual(told)
      expect(signer.signatures).toBe(0)
    },
  )
})
