/** What `await using` closes (ECMAScript, Explicit Resource Management), also in browsers that do not know it yet. */
// Preserved in the declarations: not every TypeScript program has these types by itself.
/// <reference lib="esnext.disposable" preserve="true" />

/** Something with an end: `await using session = …` closes it at the end of the block, whatever happens there. */
export abstract class Closable implements AsyncDisposable {
  /** `close`, for `await using`. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>

  static {
    // Without Symbol.asyncDispose: the symbol that esbuild and Babel compile `await using` to for older browsers.
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
