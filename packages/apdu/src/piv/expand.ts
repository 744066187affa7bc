/** Decompression of certificates: gzip and zlib (SP 800-73-4 part 1, appendix A), and the format of Net iD. */
import { MalformedError } from '../errors.ts'
import { compressionOf, inflate } from '../inflate.ts'

/** Inflates the content of tag 70 if it is not DER. Rejects with MalformedError. */
export async function expand(stored: Uint8Array): Promise<Uint8Array> {
  if (compressionOf(stored) !== undefined) return inflate(stored)
  // Net iD: 01 00, the inflated length as two bytes (little-endian), then zlib.
  if (stored[0] === 0x01 && stored[1] === 0x00 && stored.length > 4) {
    const inflatedBytes = (stored[2] ?? 0) | ((stored[3] ?? 0) << 8)
    const inflated = await inflate(stored.subarray(4))
    if (inflated.length !== inflatedBytes) {
      throw new MalformedError(
        'certificate object',
        `${inflated.length} bytes after inflating instead of ${inflatedBytes}`,
      )
    }
    return inflated
  }
  throw new MalformedError('certificate object', 'neither DER, gzip nor zlib')
}
