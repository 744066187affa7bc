/** The base of all errors. Data stands in fields; `cause` is kept. */

/**
 * Base of every error of this project. Each class has a literal `code`, `area/reason`, and a literal `name`, which a
 * minifier does not change. No class extends another: it would lose its literals.
 */
export abstract class WebtokiError extends Error {
  abstract readonly code: `${string}/${string}`
  abstract override get name(): string
  /** Marks the errors of every copy of this package; `isWebtokiError` looks for it. */
  get isWebtokiError(): true {
    return true
  }
}
