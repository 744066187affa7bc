/**
 * Streams and iterators can be read one time only. One that was read before gives no bytes, and would be taken for an empty
 * message; so whoever reads one asks here first and claims it.
 */

const claimed = new WeakSet<object>()

/** Whether nobody has read of it yet; 'unknown' if neither the platform nor a claim tells. */
export type Freshness = 'fresh' | 'used' | 'unknown'

/** Asks a stream of the Web (it has `getReader`), a stream of Node, or an iterator. Reads nothing of it. */
export function freshnessOf(source: object): Freshness {
  if (claimed.has(source)) return 'used'
  if (isNodeStream(source)) return source.readableDidRead ? 'used' : 'fresh'
  if (!('getReader' in source)) return 'unknown'
  if ('locked' in source && source.locked === true) return 'used'
  const { Response } = globalThis as { readonly Response?: new (body: object) => { readonly body: unknown } }
  if (Response === undefined) return 'unknown'
  try {
    // No property of a stream tells that somebody read it and let it go; that no Response takes it does (Fetch, "extract
    // a body"). A stream that is not the platform's own is taken for text.
    return new Response(source).body === source ? 'fresh' : 'unknown'
  } catch {
    return 'used'
  }
}

/** Claims a stream or an iterator for its reader. False if it was claimed before. */
export function claimOnce(source: object): boolean {
  if (claimed.has(source)) return false
  claimed.add(source)
  return true
}

/** Each iterator of such a stream is a new one, over what is left of the same bytes. */
export function isNodeStream(source: object): source is { readonly readableDidRead: boolean } {
  return 'readableDidRead' in source
}
