/** The base class of all errors. Details are in fields; `cause` is preserved. */

/**
 * Base class of every Webtoki error. Each class has a literal `code` of the form `area/reason` and a literal `name`, which
 * minifiers do not change. No leaf class extends another, because it would lose its literals.
 */
export abstract class WebtokiError extends Error {
  abstract readonly code: `${string}/${string}`
  abstract override get name(): string
  /** Marks the errors of every copy of this package. `isWebtokiError` checks it. */
  get isWebtokiError(): true {
    return true
  }
}
