/**
 * Claims for streams and iterators, which can be read only once. A used one yields no bytes and would pass for an empty
 * message, so code that reads one checks its freshness and claims it first.
 */

const claimed = new WeakSet<object>()

/** Whether a source has been read from. 'unknown' if neither the platform nor a claim shows it. */
export type Freshness = 'fresh' | 'used' | 'unknown'

/** Returns whether a web stream (an object with `getReader`), a Node stream or an iterator was read from. Reads nothing. */
export function freshnessOf(source: object): Freshness {
  if (claimed.has(source)) return 'used'
  if (isNodeStream(source)) return source.readableDidRead ? 'used' : 'fresh'
  if (!('getReader' in source)) return 'unknown'
  if ('locked' in source && source.locked === true) return 'used'
  const { Response } = globalThis as { readonly Response?: new (body: object) => { readonly body: unknown } }
  if (Response === undefined) return 'unknown'
  try {
    // No property shows that a stream was read and then released, but Response rejects such a stream (Fetch, "extract a
    // body"). Response converts a stream that is not the platform's own to text.
    return new Response(source).body === source ? 'fresh' : 'unknown'
  } catch {
    return 'used'
  }
}

/** Claims a stream or an iterator for one reader. Returns false if it was claimed before. */
export function claimOnce(source: object): boolean {
  if (claimed.has(source)) return false
  claimed.add(source)
  return true
}

/**
 * Returns true for a Node stream. Each of its iterators is a new object over the rest of the same bytes, so the stream is
 * claimed.
 */
export function isNodeStream(source: object): source is { readonly readableDidRead: boolean } {
  return 'readableDidRead' in source
}
