/** Several sources of slots as one: a source that is slow, silent or broken hides none of the others. */
import {
  type CardSlot,
  isWebtokiError,
  type ReaderProblem,
  type ReaderSource,
  type SlotSource,
  TransferError,
} from '@webtoki/apdu'
import { BehaviorSubject, Observable } from 'rxjs'

/** The first list waits no longer than this for a source that tells none; what comes later is added. */
const FIRST_LIST_MS = 3_000
/**
 * A source may take so long to look again, or to close. Longer than our own sources take: each of their devices has 10 s, and
 * is looked at twice.
 */
const SOURCE_MS = 25_000

/** The sources of one library. */
export class JoinedSources {
  /** Cold; one subscription is meant. Completes when all sources have completed or failed. */
  readonly slots$: Observable<readonly CardSlot[]>
  /** Hot; replays the latest list: the problems that sources tell, and sources that failed. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #sources: readonly SlotSource[]
  readonly #all = new BehaviorSubject<readonly ReaderProblem[]>([])
  readonly #problems = new Map<SlotSource, readonly ReaderProblem[]>()

  constructor(sources: readonly SlotSource[]) {
    this.#sources = sources
    this.problems$ = this.#all.asObservable()
    for (const source of sources) {
      const tell = (problems: readonly ReaderProblem[]): void => this.#tell(source, problems)
      ;(source as Partial<ReaderSource>).problems$?.subscribe({ next: tell, error: () => {} })
    }
    this.slots$ = new Observable((subscriber) => {
      const lists = new Map<SlotSource, readonly CardSlot[]>()
      let isWaiting = true
      let running = sources.length
      const tell = (): void => {
        if (isWaiting && lists.size < sources.length) return
        isWaiting = false
        clearTimeout(timer)
        subscriber.next(sources.flatMap((source) => lists.get(source) ?? []))
      }
      const timer = setTimeout(() => {
        isWaiting = false
        tell()
      }, FIRST_LIST_MS)
      const following = sources.map((source) => {
        const ended = (): void => {
          if (!lists.has(source)) {
            lists.set(source, [])
            tell()
          }
          if (--running === 0) subscriber.complete()
        }
        return source.slots$.subscribe({
          next: (slots) => {
            lists.set(source, slots)
            tell()
          },
          error: (error: unknown) => {
            lists.delete(source)
            this.#tell(source, [{ name: 'A source of readers', error: typed(error) }])
            ended()
          },
          complete: ended,
        })
      })
      if (sources.length === 0) tell()
      return () => {
        clearTimeout(timer)
        for (const each of following) each.unsubscribe()
      }
    })
  }

  #tell(source: SlotSource, problems: readonly ReaderProblem[]): void {
    this.#problems.set(source, problems)
    this.#all.next([...this.#problems.values()].flat())
  }

  /** Never rejects, and waits for no source for ever. */
  async lookAgain(): Promise<void> {
    await Promise.all(this.#sources.map((source) => inTime(async () => source.lookAgain?.())))
  }

  /** Never rejects, whatever a source does, and waits for none for ever. */
  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => inTime(async () => source.close())))
    this.#all.complete()
  }
}

/** Done when the work is, well or not, or when its time is up. Never rejects. */
export function inTime(work: () => Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SOURCE_MS)
    const over = (): void => {
      clearTimeout(timer)
      resolve()
    }
    work().then(over, over)
  })
}

function typed(error: unknown): ReaderProblem['error'] {
  return isWebtokiError(error)
    ? error
    : new TransferError('The source of readers failed, and tells no reason.', { cause: error })
}
