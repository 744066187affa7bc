/** A cipher as a pair of web streams. Nothing is taken from the writer before the reader wants more, so that a slow reader makes the source wait. */
import { type AbortSignalLike, copyOf } from '@webtoki/apdu'
import type { ActiveOperation } from './engine.ts'
import type { Progress } from './progress.ts'
import { type Chunks, stepsOf } from './source.ts'

declare global {
  // Merge with the types of the DOM or of Node. A program that has neither has no use for streams.
  interface ReadableStream<R = any> {}
  interface WritableStream<W = any> {}
}

/** For `pipeThrough`: what is written comes out encrypted or decrypted. */
export interface CipherStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
}

type Step = Awaited<ReturnType<Chunks['next']>>

/** Settles a promise that was given out. */
interface Settle<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/**
 * Makes the streams of one operation. `begin` is its Init, and settles with its end; `move` is its work, and `signal` aborts
 * when either side is given up.
 */
export function cipherStream(
  begin: (
    move: (operation: ActiveOperation, progress: Progress) => Promise<void>,
    signal: AbortSignalLike,
  ) => Promise<void>,
): CipherStream {
  const leaving = new AbortController()
  const leave = (reason: unknown): void => leaving.abort(reason)
  let output!: ReadableStreamDefaultController
  let input!: WritableStreamDefaultController
  /** What the writer has given and nobody has taken yet, and how it hears that it was used up. */
  let given: { readonly step: Step; readonly used: Settle<void> } | undefined
  let used: Settle<void> | undefined
  let isWanted = false
  /** Called when the writer has given something, or the reader wants more. */
  let wake = (): void => {}
  const until = async (holds: () => unknown): Promise<void> => {
    while (!holds())
      await new Promise<void>((resolve) => {
        wake = resolve
      })
  }
  const give = (step: Step): Promise<void> =>
    new Promise((resolve, reject) => {
      given = { step, used: { resolve, reject } }
      wake()
    })
  const readable = new ReadableStream(
    {
      start: (controller) => {
        output = controller
      },
      pull: () => {
        isWanted = true
        wake()
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  )
  const writable = new WritableStream({
    start: (controller) => {
      input = controller
      controller.signal.addEventListener('abort', () => leave(controller.signal.reason))
    },
    write: (value) => give({ done: false, value }),
    close: () => give({ done: true }),
  })
  /** Taking the next chunk lets the writer go on. */
  const next = async (): Promise<Step> => {
    used?.resolve()
    await until(() => given)
    const { step, used: own } = given as NonNullable<typeof given>
    given = undefined
    used = own
    return step
  }
  const put = (bytes: Uint8Array): void => {
    if (bytes.length === 0) return
    isWanted = false
    output.enqueue(copyOf(bytes))
  }
  const move = async (operation: ActiveOperation, progress: Progress): Promise<void> => {
    for await (const step of stepsOf({ next, stop: () => {} }, progress, operation.stepBytes)) {
      await until(() => isWanted)
      progress.check()
      put(await operation.update(step, { progress }))
    }
    put(await operation.final({ progress }))
  }
  begin(move, leaving.signal).then(
    () => {
      output.close()
      used?.resolve()
    },
    (error: unknown) => {
      output.error(error)
      input.error(error)
      for (const each of [given?.used, used]) each?.reject(error)
    },
  )
  return { readable, writable }
}
