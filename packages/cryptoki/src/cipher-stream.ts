/** A cipher as a pair of web streams. Nothing is taken from the writer before the reader wants more, so that a slow reader makes the source wait. */
import { copyOf } from '@webtoki/apdu'
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

/** The parts of the platform that we use. */
interface ReadableController {
  enqueue(chunk: Uint8Array): void
  close(): void
  error(reason: unknown): void
}
interface WritableController {
  error(reason: unknown): void
  /** Aborts at once; the sink's own `abort` waits for a write under way. */
  readonly signal: { readonly reason: unknown; addEventListener(type: 'abort', listener: () => void): void }
}
interface Platform {
  readonly ReadableStream: new (
    source: {
      start(controller: ReadableController): void
      pull(): void
      cancel(reason: unknown): void
    },
    strategy: { readonly highWaterMark: number },
  ) => CipherStream['readable']
  readonly WritableStream: new (sink: {
    start(controller: WritableController): void
    write(chunk: Uint8Array): Promise<void>
    close(): Promise<void>
  }) => CipherStream['writable']
}

type Step = Awaited<ReturnType<Chunks['next']>>

/** The streams of one operation. */
export class CipherPipe implements CipherStream {
  readonly readable: CipherStream['readable']
  readonly writable: CipherStream['writable']
  #output!: ReadableController
  #input!: WritableController
  /** The reader wants more. */
  #wanted = new Deferred<void>()
  /** The writer has given a chunk, or has come to its end. */
  #given = new Deferred<Step>()
  /** That chunk is used up, or the last byte has come out. */
  #done = new Deferred<void>()

  /** `leave` is called with the reason when either side is given up. */
  constructor(leave: (reason: unknown) => void) {
    const { ReadableStream, WritableStream } = globalThis as unknown as Platform
    const give = (step: Step): Promise<void> => {
      this.#done = new Deferred()
      this.#given.resolve(step)
      return this.#done.promise
    }
    this.readable = new ReadableStream(
      {
        start: (controller) => {
          this.#output = controller
        },
        pull: () => this.#wanted.resolve(),
        cancel: leave,
      },
      { highWaterMark: 0 },
    )
    this.writable = new WritableStream({
      start: (controller) => {
        this.#input = controller
        controller.signal.addEventListener('abort', () => leave(controller.signal.reason))
      },
      write: (value) => give({ done: false, value }),
      close: () => give({ done: true }),
    })
  }

  /** Moves the data through the operation. */
  async run(operation: ActiveOperation, progress: Progress): Promise<void> {
    for await (const step of stepsOf({ next: this.#taking(), stop: () => {} }, progress)) {
      await this.#wanted.promise
      progress.check()
      this.#put(await operation.update(step, { progress }))
    }
    this.#put(await operation.final({ progress }))
  }

  /** Taking the next chunk lets the writer go on. */
  #taking(): Chunks['next'] {
    let before: Deferred<void> | undefined
    return async () => {
      before?.resolve()
      const step = await this.#given.promise
      this.#given = new Deferred()
      before = this.#done
      return step
    }
  }

  #put(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#wanted = new Deferred()
    this.#output.enqueue(copyOf(bytes))
  }

  /** The operation has ended well. */
  end(): void {
    this.#output.close()
    this.#done.resolve()
  }

  fail(error: unknown): void {
    this.#output.error(error)
    this.#input.error(error)
    this.#done.reject(error)
    this.#wanted.resolve()
  }
}

/** A promise that is settled from outside; its rejection counts as handled. */
class Deferred<T> {
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  reject!: (error: unknown) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.promise.catch(() => {})
  }
}
