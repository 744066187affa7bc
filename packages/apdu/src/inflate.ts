/** Decompression of what cards keep compressed: gzip (RFC 1952) and zlib (RFC 1950), by the platform's own stream. */
import { concatBytes, copyOf } from './bytes.ts'
import { MalformedError, NotSupportedError } from './errors.ts'

/** The part of the Compression Streams standard that we use, so that no DOM types are needed. */
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

/** Certificates are two to four kilobytes; this is what no honest one reaches. */
const MAX_INFLATED_BYTES = 0x1_0000

/** The format that the first bytes tell; undefined where it is neither. */
export function compressionOf(bytes: Uint8Array): 'gzip' | 'deflate' | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  if (first === 0x1f && second === 0x8b) return 'gzip'
  // RFC 1950, 2.2: method 8, window of at most 32 KiB, and the two bytes are a multiple of 31.
  const isZlib = (first & 0x0f) === 8 && first >> 4 <= 7 && ((first << 8) | second) % 31 === 0
  return isZlib ? 'deflate' : undefined
}

/** Inflates gzip or zlib, whichever the header says. Throws MalformedError on anything else and on output over the cap. */
export async function inflate(bytes: Uint8Array, maxBytes: number = MAX_INFLATED_BYTES): Promise<Uint8Array> {
  const format = compressionOf(bytes)
  if (format === undefined) throw new MalformedError('compressed data', 'neither gzip nor zlib')
  const { DecompressionStream } = globalThis as {
    DecompressionStream?: new (format: 'gzip' | 'deflate') => Inflater
  }
  if (DecompressionStream === undefined) {
    throw new NotSupportedError(
      'The certificate is compressed, and this platform has no DecompressionStream.',
    )
  }
  const stream = new DecompressionStream(format)
  const writer = stream.writable.getWriter()
  const reader = stream.readable.getReader()
  // Not awaited: the stream takes no more until we read. What goes wrong in it comes out of read() as well.
  writer.write(copyOf(bytes)).catch(ignore)
  writer.close().catch(ignore)
  const parts: Uint8Array[] = []
  let total = 0
  for (;;) {
    let chunk: { done: boolean; value?: Uint8Array | undefined }
    try {
      chunk = await reader.read()
    } catch (cause) {
      throw new MalformedError('compressed data', `${bytes.length} bytes that do not inflate`, { cause })
    }
    if (chunk.done || chunk.value === undefined) return concatBytes(...parts)
    total += chunk.value.length
    if (total > maxBytes) {
      reader.cancel().catch(ignore)
      throw new MalformedError('compressed data', `more than ${maxBytes} bytes when inflated`)
    }
    parts.push(chunk.value)
  }
}

function ignore(): void {}
