// What every platform has that this project runs on (WinterTC's Minimum Common API): declared once, for packages that
// compile without the types of the DOM. Only the members that are used. No declaration file of a package names these.

declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>
}

declare class TextDecoder {
  constructor(encoding: 'utf-8', options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean })
  decode(bytes: Uint8Array): string
}

declare class URL {
  constructor(text: string)
  readonly origin: string
}

declare function atob(text: string): string
declare function btoa(text: string): string

declare var performance: { now(): number }
declare function setTimeout(work: () => void, delayMs: number): unknown
declare function clearTimeout(timer: unknown): void
/** Node's; browsers have a MessageChannel. */
declare var setImmediate: ((work: () => void) => void) | undefined
declare var MessageChannel:
  | (new () => {
      readonly port1: { onmessage: (() => void) | null; close(): void }
      readonly port2: { postMessage(message: unknown): void }
    })
  | undefined

/** A page's. */
declare var location: { readonly origin: string } | undefined

interface AbortSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

declare class AbortController {
  readonly signal: AbortSignal
  abort(reason?: unknown): void
}

interface CryptoKey {
  readonly type: string
}

interface SubtleCrypto {
  digest(algorithm: string, data: Uint8Array): Promise<ArrayBuffer>
  importKey(
    format: 'raw' | 'spki',
    key: Uint8Array,
    algorithm: object | string,
    extractable: boolean,
    uses: readonly string[],
  ): Promise<CryptoKey>
  encrypt(algorithm: object, key: CryptoKey, data: Uint8Array): Promise<ArrayBuffer>
  decrypt(algorithm: object, key: CryptoKey, data: Uint8Array): Promise<ArrayBuffer>
  verify(
    algorithm: object | string,
    key: CryptoKey,
    signature: Uint8Array,
    data: Uint8Array,
  ): Promise<boolean>
}

/** Without `subtle` in a page that was not served securely. */
declare var crypto: {
  readonly subtle: SubtleCrypto
  getRandomValues<Bytes extends Uint8Array>(bytes: Bytes): Bytes
}

interface ReadableStreamDefaultController {
  enqueue(chunk: Uint8Array): void
  close(): void
  error(reason: unknown): void
}

interface WritableStreamDefaultController {
  error(reason: unknown): void
  /** Aborts at once; the sink's own `abort` waits for a write under way. */
  readonly signal: AbortSignal
}

interface ReadableStream<R = any> {}
declare var ReadableStream: new (
  source: {
    start(controller: ReadableStreamDefaultController): void
    pull(): void
    cancel(reason: unknown): void
  },
  strategy: { readonly highWaterMark: number },
) => ReadableStream<Uint8Array<ArrayBuffer>>

interface WritableStream<W = any> {}
declare var WritableStream: new (sink: {
  start(controller: WritableStreamDefaultController): void
  write(chunk: Uint8Array): Promise<void>
  close(): Promise<void>
}) => WritableStream<Uint8Array>
