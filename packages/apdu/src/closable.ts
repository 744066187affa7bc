/**
 * Base class of objects for `await using` (ECMAScript, Explicit Resource Management), also for browsers without support
 * for it.
 */
// Preserved in the declarations, because not every TypeScript program includes these types.
/// <reference lib="esnext.disposable" preserve="true" />

/**
 * An object with a `close` method. `await using session = …` closes it at the end of the block, even if the block throws.
 */
export abstract class Closable implements AsyncDisposable {
  /** Calls `close`. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>

  static {
    // If the browser lacks Symbol.asyncDispose: the symbol to which esbuild and Babel compile `await using`.
    const name = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')
    Object.defineProperty(this.prototype, name, {
      value(this: Closable): Promise<void> {
        return this.close()
      },
      configurable: true,
      writable: true,
    })
  }

  abstract close(): Promise<void>
}
