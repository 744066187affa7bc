/** Sends requests to the page's relying party, and reports whether it can be reached. */
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

/** What the site returns about a person who is logged in. */
export type Identity = Readonly<Record<string, string>>

const REQUEST_TIMEOUT_MS = 15_000
/** The time between two attempts to reach the site again. */
const RETRY_MS = 3000

/** The site did not respond, or only a gateway in front of it did. */
export class UnreachableError extends Error {
  constructor(options?: ErrorOptions) {
    super('The site is not responding. Try again in a moment. You can still sign documents.', options)
    this.name = 'UnreachableError'
  }
}

/** The origin of the relying party, or '' for the page's own. An isolated app has another origin than its site. */
const site: Promise<string> =
  location.protocol === 'isolated-app:'
    ? fetch('/site.json').then(async (response) => ((await response.json()) as { site: string }).site)
    : Promise.resolve('')

const reachable$ = new BehaviorSubject(true)

/** True if the last request got a response. Hot; replays the current value. */
export const isReachable$: Observable<boolean> = reachable$.pipe(distinctUntilChanged())

// Retries while the site cannot be reached, because there is no button for it.
isReachable$
  .pipe(
    switchMap((isReachable) =>
      isReachable
        ? EMPTY
        : merge(interval(RETRY_MS), fromEvent(window, 'online')).pipe(
            exhaustMap(() => currentIdentity().catch(() => null)),
          ),
    ),
  )
  .subscribe()

/**
 * Sends a POST request and resolves to the response's body. Rejects with the site's message if the site refuses, and with
 * UnreachableError if it cannot be reached.
 */
export async function post<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
    response = await fetch(`${await site}${path}`, {
      ...init,
      method: 'POST',
      credentials: 'include',
      signal,
    })
    if ([502, 503, 504].includes(response.status)) throw new Error(response.statusText)
  } catch (cause) {
    reachable$.next(false)
    throw new UnreachableError({ cause })
  }
  reachable$.next(true)
  const body = (await response.json().catch(() => ({}))) as T & { message?: string }
  if (!response.ok) throw new Error(body.message ?? `The site refused the request (${response.status}).`)
  return body
}

/** Resolves to the person who is logged in at the site in this browser, or to null. */
export async function currentIdentity(): Promise<Identity | null> {
  return (await post<{ identity: Identity | null }>('/api/person')).identity
}
