/** A cipher as a pair of web streams. The writer's data is processed only when the reader pulls, so a slow reader makes the source wait. */
import { type AbortSignalLike, copyOf } from '@webtoki/apdu'
import type { ActiveOperation } from './engine.ts'
import type { Progress } from './progress.ts'
import { type Chunks, stepsOf } from './source.ts'

declare global {
  // Merges with the types of the DOM or Node, which this package does not reference. Programs with neither cannot use streams.
  interface ReadableStream<R = any> {}
  interface WritableStream<W = any> {}
}

/** A pair of streams for `pipeThrough`. Data written to `writable` is read encrypted or decrypted from `readable`. */
export interface CipherStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
}

type Step = Awaited<ReturnType<Chunks['next']>>

/** The functions that settle a promise. */
interface Settle<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/**
 * Creates the streams of one operation. `begin` performs its Init and settles when it ends. `move` runs the data through the
 * operation, and `signal` aborts when either stream is aborted or cancelled.
 */
export function cipherStream(
  begin: (
    move: (operation: ActiveOperation, progress: Progress) => Promise<void>,
    signal: AbortSignalLike,
  ) => Promise<void>,
): CipherStream {
  const aborter = new AbortController()
  const abort = (reason: unknown): void => aborter.abort(reason)
  let output!: ReadableStreamDefaultController
  let input!: WritableStreamDefaultController
  /** The chunk of the pending write that has not been taken yet, with the functions that settle the write. */
  let offered: { readonly step: Step; readonly used: Settle<void> } | undefined
  let used: Settle<void> | undefined
  let isPulled = false
  /** Called when the writer offers a chunk or the reader pulls. */
  let wake = (): void => {}
  const until = async (holds: () => unknown): Promise<void> => {
    while (!holds())
      await new Promise<void>((resolve) => {
        wake = resolve
      })
  }
  const offer = (step: Step): Promise<void> =>
    new Promise((resolve, reject) => {
      offered = { step, used: { resolve, reject } }
      wake()
    })
  const readable = new ReadableStream(
    {
      start: (controller) => {
        output = controller
      },
      pull: () => {
        isPulled = true
        wake()
      },
      cancel: abort,
    },
    { highWaterMark: 0 },
  )
  const writable = new WritableStream({
    start: (controller) => {
      input = controller
      controller.signal.addEventListener('abort', () => abort(controller.signal.reason))
    },
    write: (value) => offer({ done: false, value }),
    close: () => offer({ done: true }),
  })
  /** Takes the next chunk. This resolves the write of the previous chunk. */
  const next = async (): Promise<Step> => {
    used?.resolve()
    await until(() => offered)
    const { step, used: own } = offered as NonNullable<typeof offered>
    offered = undefined
    used = own
    return step
  }
  const enqueue = (bytes: Uint8Array): void => {
    if (bytes.length === 0) return
    isPulled = false
    output.enqueue(copyOf(bytes))
  }
  const move = async (operation: ActiveOperation, progress: Progress): Promise<void> => {
    for await (const step of stepsOf({ next, stop: () => {} }, progress, operation.stepBytes)) {
      await until(() => isPulled)
      progress.check()
      enqueue(await operation.update(step, { progress }))
    }
    enqueue(await operation.final({ progress }))
  }
  begin(move, aborter.signal).then(
    () => {
      output.close()
      used?.resolve()
    },
    (error: unknown) => {
      output.error(error)
      input.error(error)
      for (const each of [offered?.used, used]) each?.reject(error)
    },
  )
  return { readable, writable }
}
