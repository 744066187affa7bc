/** How documents are read: buffers, pieces, errors and cancellation. */
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

/** A file with a byte stream that fills the buffers of the reader, like a File in a browser. */
const streaming = (size: number, pull: UnderlyingByteSource['pull']) => ({
  size,
  slice: () => {
    throw new Error('It has a stream.')
  },
  stream: () => new ReadableStream({ type: 'bytes', ...(pull === undefined ? {} : { pull }) }),
})

/** Completes a read with `bytes` bytes. */
function fill(controller: ReadableByteStreamController, bytes: number): void {
  const view = controller.byobRequest?.view
  if (!view) throw new Error('The read has no buffer.')
  controller.byobRequest.respond(Math.min(bytes, view.byteLength))
}

describe('a signature file in a Node Buffer', () => {
  it('is read from its own bytes, not from the start of the shared pool', async () => {
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

  it('is read into two alternating buffers, never more than one piece ahead of hashing', async () => {
    let reads = 0
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
            if (reads * pieceBytes >= size) return { done: true }
            reads++
            most = Math.max(most, reads - hashed)
            buffers.add(view.buffer)
            return { done: false, value: view }
          },
          cancel: async () => {},
        }),
      }),
    }
    await signDetached(await countingSigner(), file, { onProgress: () => hashed++ })
    expect({ reads, hashed, most }).toEqual({ reads: 20, hashed: 20, most: 2 })
    expect(buffers.size).toBe(2)
  })

  it('is read slice by slice if there is no stream, at most two slices at a time', async () => {
    let reads = 0
    let hashed = 0
    let most = 0
    const file = {
      size,
      slice: (start: number, end: number) => ({
        arrayBuffer: async () => {
          reads++
          most = Math.max(most, reads - hashed)
          return new ArrayBuffer(end - start)
        },
      }),
    }
    await signDetached(await countingSigner(), file, { onProgress: () => hashed++ })
    expect({ reads, hashed, most }).toEqual({ reads: 20, hashed: 20, most: 2 })
  })
})

describe('a document in a page without WebAssembly', () => {
  it.each(['ES256', 'ES384', 'ES512'] as const)('has the same digest with %s', async (algorithm) => {
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

describe('signDetached rejects without using the key for', () => {
  const size = 3 * pieceBytes

  it('a file that is moved while it is read', async () => {
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

  it('a file that is truncated while it is read', async () => {
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

  it('a stream that fails', async () => {
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

  it('a Blob with a slice that fails or is too short', async () => {
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

  it('a signal that is already aborted', async () => {
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
  ])('%s whose reading is aborted while it waits, and cancels its stream', async (_what, expected, data) => {
    ended.length = 0
    const signer = await countingSigner()
    const controller = new AbortController()
    const { signal } = controller
    const work = signDetached(signer, data as Blob, { signal })
    // The read is pending now.
    await new Promise((resolve) => void setImmediate(resolve))
    controller.abort()
    await expect(work).rejects.toMatchObject({ reason: 'cancelled', cause: signal.reason as unknown })
    expect(ended).toEqual(expected)
    expect(signer.signatures).toBe(0)
  })
})
