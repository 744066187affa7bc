/** Compares the throughput of the digest of `documents` with hash-wasm alone and with node:crypto, over the same bytes. */
import { createHash } from 'node:crypto'
import { digestDocument } from '@webtoki/documents'
import { createSHA256 } from 'hash-wasm'

const TOTAL_BYTES = 256 * 1024 * 1024
const PIECE_BYTES = 2 * 1024 * 1024
const RUNS = 3

/** Megabytes per second, each the best of three runs. */
export interface DigestThroughput {
  readonly documents: number
  readonly hashWasm: number
  readonly nodeCrypto: number
}

/** Measures SHA-256 over 256 MB. The three alternate, so that load of the computer affects all of them. */
export async function digestThroughput(): Promise<DigestThroughput> {
  const piece = new Uint8Array(PIECE_BYTES).map((_, at) => at * 31)
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let bytes = 0; bytes < TOTAL_BYTES; bytes += PIECE_BYTES) yield piece
  }
  const best = { documents: 0, hashWasm: 0, nodeCrypto: 0 }
  const time = async (name: keyof typeof best, work: () => Promise<unknown>): Promise<void> => {
    const start = performance.now()
    await work()
    const speed = TOTAL_BYTES / 1e6 / ((performance.now() - start) / 1000)
    best[name] = Math.max(best[name], speed)
  }
  for (let run = 0; run < RUNS; run++) {
    await time('documents', () => digestDocument(['SHA-256'], pieces()))
    await time('hashWasm', async () => {
      const hasher = await createSHA256()
      for await (const chunk of pieces()) hasher.update(chunk)
      return hasher.digest('binary')
    })
    await time('nodeCrypto', async () => {
      const hasher = createHash('sha256')
      for await (const chunk of pieces()) hasher.update(chunk)
      return hasher.digest()
    })
  }
  return best
}
