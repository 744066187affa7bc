/** Joins several slot sources to one. A source that is slow, silent or broken does not hide the others. */
import {
  type CardSlot,
  isWebtokiError,
  type ReaderProblem,
  type ReaderSource,
  type SlotSource,
  TransferError,
} from '@webtoki/apdu'
import { BehaviorSubject, Observable } from 'rxjs'

/** The longest wait of the first list for sources that have not reported any slots. Their slots are added later. */
const FIRST_LIST_MS = 3_000
/**
 * The time limit for a source to look again or to close. Webtoki's sources need less: they give each device 10 s, at most
 * twice.
 */
const SOURCE_TIMEOUT_MS = 25_000

/** The slot sources of one library. */
export class JoinedSources {
  /** Cold; meant for one subscription. Completes when all sources have completed or failed. */
  readonly slots$: Observable<readonly CardSlot[]>
  /** Hot; replays the latest list, which contains the problems that sources report and the sources that failed. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #sources: readonly SlotSource[]
  readonly #allProblems = new BehaviorSubject<readonly ReaderProblem[]>([])
  readonly #problems = new Map<SlotSource, readonly ReaderProblem[]>()

  constructor(sources: readonly SlotSource[]) {
    this.#sources = sources
    this.problems$ = this.#allProblems.asObservable()
    for (const source of sources) {
      const update = (problems: readonly ReaderProblem[]): void => this.#setProblems(source, problems)
      ;(source as Partial<ReaderSource>).problems$?.subscribe({ next: update, error: () => {} })
    }
    this.slots$ = new Observable((subscriber) => {
      const lists = new Map<SlotSource, readonly CardSlot[]>()
      let isWaiting = true
      let running = sources.length
      const emit = (): void => {
        if (isWaiting && lists.size < sources.length) return
        isWaiting = false
        clearTimeout(timer)
        subscriber.next(sources.flatMap((source) => lists.get(source) ?? []))
      }
      const timer = setTimeout(() => {
        isWaiting = false
        emit()
      }, FIRST_LIST_MS)
      const subscriptions = sources.map((source) => {
        const finish = (): void => {
          if (!lists.has(source)) {
            lists.set(source, [])
            emit()
          }
          if (--running === 0) subscriber.complete()
        }
        return source.slots$.subscribe({
          next: (slots) => {
            lists.set(source, slots)
            emit()
          },
          error: (error: unknown) => {
            lists.delete(source)
            this.#setProblems(source, [{ name: 'Reader source', error: toReaderError(error) }])
            finish()
          },
          complete: finish,
        })
      })
      if (sources.length === 0) emit()
      return () => {
        clearTimeout(timer)
        for (const each of subscriptions) each.unsubscribe()
      }
    })
  }

  #setProblems(source: SlotSource, problems: readonly ReaderProblem[]): void {
    this.#problems.set(source, problems)
    this.#allProblems.next([...this.#problems.values()].flat())
  }

  /** Asks all sources to look again. Waits at most 25 s for each; never rejects. */
  async lookAgain(): Promise<void> {
    await Promise.all(this.#sources.map((source) => withTimeLimit(async () => source.lookAgain?.())))
  }

  /** Closes all sources. Waits at most 25 s for each; never rejects. */
  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => withTimeLimit(async () => source.close())))
    this.#allProblems.complete()
  }
}

/** Waits until the work has succeeded or failed, but at most 25 s. Never rejects. */
export function withTimeLimit(work: () => Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SOURCE_TIMEOUT_MS)
    const finish = (): void => {
      clearTimeout(timer)
      resolve()
    }
    work().then(finish, finish)
  })
}

function toReaderError(error: unknown): ReaderProblem['error'] {
  return isWebtokiError(error)
    ? error
    : new TransferError('The reader source failed; see the cause.', { cause: error })
}
