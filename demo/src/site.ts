/** The page's relying party: asks it, and notices when it cannot be reached and when it is back. */
import {
  BehaviorSubject,
  distinctUntilChanged,
  EMPTY,
  exhaustMap,
  fromEvent,
  interval,
  merge,
  type Observable,
  switchMap,
} from 'rxjs'

/** What the site tells of whom it let in. */
export type Identity = Readonly<Record<string, string>>

const PATIENCE_MS = 15_000
/** Between two attempts to reach a site that could not be reached. */
const RETRY_MS = 3000

/** The site did not answer at all, or only a gateway before it did. */
export class UnreachableError extends Error {
  constructor(options?: ErrorOptions) {
    super('The site does not answer. Try again in a moment; signing works without it.', options)
    this.name = 'UnreachableError'
  }
}

/** An isolated app has an origin of its own, and its site another; a page's site is where it came from. */
const site: Promise<string> =
  location.protocol === 'isolated-app:'
    ? fetch('/site.json').then(async (response) => ((await response.json()) as { site: string }).site)
    : Promise.resolve('')

const answers$ = new BehaviorSubject(true)

/** Whether the last question was answered; hot, replays the current state. */
export const isReachable$: Observable<boolean> = answers$.pipe(distinctUntilChanged())

// While it cannot be reached it is asked again and again: the person has nothing to press.
isReachable$
  .pipe(
    switchMap((isReachable) =>
      isReachable
        ? EMPTY
        : merge(interval(RETRY_MS), fromEvent(window, 'online')).pipe(
            exhaustMap(() => whoIsKnown().catch(() => null)),
          ),
    ),
  )
  .subscribe()

/** The site's answer to a POST; its refusal as an error with the sentence that it sent. Rejects with UnreachableError too. */
export async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    response = await fetch(`${await site}${path}`, {
      ...init,
      method: 'POST',
      credentials: 'include',
      signal,
    })
    if ([502, 503, 504].includes(response.status)) throw new Error(response.statusText)
  } catch (cause) {
    answers$.next(false)
    throw new UnreachableError({ cause })
  }
  answers$.next(true)
  const body = (await response.json().catch(() => ({}))) as T & { message?: string }
  if (!response.ok) throw new Error(body.message ?? `The site refused (${response.status}).`)
  return body
}

/** Who is logged in at the site in this browser; nobody is null. */
export async function whoIsKnown(): Promise<Identity | null> {
  return (await ask<{ identity: Identity | null }>('/api/person')).identity
}
