/**
 * Decompression of gzip (RFC 1952) and zlib (RFC 1950) with the platform's DecompressionStream, for compressed
 * certificates.
 */
import { concatBytes, copyOf } from './bytes.ts'
import { MalformedError, NotSupportedError } from './errors.ts'

/** The part of `DecompressionStream` that Webtoki uses, so that no DOM types are needed. */
interface Inflater {
  readonly writable: {
    getWriter(): { write(chunk: Uint8Array): Promise<void>; close(): Promise<void> }
  }
  readonly readable: {
    getReader(): {
      read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
      cancel(reason?: unknown): Promise<void>
    }
  }
}

/** Certificates have two to four kilobytes; the cap stops decompression bombs. */
const MAX_INFLATED_BYTES = 0x1_0000

/** Detects the format from the first two bytes. Returns undefined if it is neither gzip nor zlib. */
export function compressionOf(bytes: Uint8Array): 'gzip' | 'deflate' | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  if (first === 0x1f && second === 0x8b) return 'gzip'
  // RFC 1950, 2.2: method 8, a window of at most 32 KiB, and the two bytes as a number are a multiple of 31.
  const isZlib = (first & 0x0f) === 8 && first >> 4 <= 7 && ((first << 8) | second) % 31 === 0
  return isZlib ? 'deflate' : undefined
}

/**
 * Inflates gzip or zlib, detected by its header. `maxBytes` caps the output (default: 64 KiB). Rejects with MalformedError
 * for other data, damaged data and longer output, and with NotSupportedError if the platform has no DecompressionStream.
 */
export async function inflate(bytes: Uint8Array, maxBytes: number = MAX_INFLATED_BYTES): Promise<Uint8Array> {
  const format = compressionOf(bytes)
  if (format === undefined) throw new MalformedError('compressed data', 'neither gzip nor zlib')
  const { DecompressionStream } = globalThis as {
    DecompressionStream?: new (format: 'gzip' | 'deflate') => Inflater
  }
  if (DecompressionStream === undefined) {
    throw new NotSupportedError(
      'The certificate is compressed and this platform has no DecompressionStream. Use a newer platform.',
    )
  }
  const stream = new DecompressionStream(format)
  const writer = stream.writable.getWriter()
  const reader = stream.readable.getReader()
  // Not awaited: backpressure blocks the writes until we read. read() reports their errors too.
  writer.write(copyOf(bytes)).catch(ignore)
  writer.close().catch(ignore)
  const parts: Uint8Array[] = []
  let total = 0
  for (;;) {
    let chunk: { done: boolean; value?: Uint8Array | undefined }
    try {
      chunk = await reader.read()
    } catch (cause) {
      throw new MalformedError('compressed data', `${bytes.length} bytes cannot be inflated`, { cause })
    }
    if (chunk.done || chunk.value === undefined) return concatBytes(...parts)
    total += chunk.value.length
    if (total > maxBytes) {
      reader.cancel().catch(ignore)
      throw new MalformedError('compressed data', `more than ${maxBytes} bytes after inflating`)
    }
    parts.push(chunk.value)
  }
}

function ignore(): void {}
