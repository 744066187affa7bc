/** Compares digests and AES-CTR through a session's streams with hash-wasm alone and with a single call of WebCrypto. */
import { CKA, CKK, CKM, CKO, type CkObject, type Session } from '@webtoki/cryptoki'
import { createSHA256 } from 'hash-wasm'
import { CountedCard } from './counted-card.ts'

const TOTAL_BYTES = 128 * 1024 * 1024
const PIECE_BYTES = 2 * 1024 * 1024
const LONG_BYTES = 2 * 1024 ** 3
const RUNS = 3

/** The throughput of streams, and the cost of encrypting 2 GB. */
export interface SessionThroughput {
  /** Megabytes per second, the best of three runs, as for the next three. */
  readonly digest: number
  readonly hashWasm: number
  readonly ctr: number
  readonly webCrypto: number
  /** The longest time in which nothing else of the thread ran, in milliseconds. */
  readonly longestTaskMs: number
  /** The highest resident set of the process, minus that at the start. */
  readonly memoryMegabytes: number
  /** The highest number of chunks that the stream had read but not yet written. */
  readonly queuedChunks: number
}

/** Measures the throughput. The two of a pair alternate, so that load of the computer affects both. */
export async function sessionThroughput(): Promise<SessionThroughput> {
  const card = await CountedCard.open('extended')
  try {
    const session = await card.slot.openSession()
    const key = await session.createObject({
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: CKK.AES,
      [CKA.VALUE]: new Uint8Array(32).fill(7),
      [CKA.ENCRYPT]: true,
    })
    // Runs first, because the large arrays of the other measurements would hide its memory use.
    const slow = await slowlyWritten(session, key)
    const best = { digest: 0, hashWasm: 0, ctr: 0, webCrypto: 0 }
    const time = async (name: keyof typeof best, work: () => Promise<unknown>): Promise<void> => {
      const start = performance.now()
      await work()
      best[name] = Math.max(best[name], TOTAL_BYTES / 1e6 / ((performance.now() - start) / 1000))
    }
    const whole = new Uint8Array(TOTAL_BYTES)
    const { subtle } = globalThis.crypto
    const imported = await subtle.importKey('raw', new Uint8Array(32).fill(7), 'AES-CTR', false, ['encrypt'])
    for (let run = 0; run < RUNS; run++) {
      await time('digest', () => session.digest({ type: CKM.SHA256 }, pieces(TOTAL_BYTES)).result())
      await time('hashWasm', async () => {
        const hasher = await createSHA256()
        for await (const chunk of pieces(TOTAL_BYTES)) hasher.update(chunk)
        return hasher.digest('binary')
      })
      await time('ctr', () => encryptBytes(session, key, TOTAL_BYTES))
      await time('webCrypto', () =>
        subtle.encrypt({ name: 'AES-CTR', counter: new Uint8Array(16), length: 128 }, imported, whole),
      )
    }
    return { ...best, ...slow }
  } finally {
    await card.close()
  }
}

async function* pieces(bytes: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const piece = new Uint8Array(PIECE_BYTES).map((_, at) => at * 31)
  for (let given = 0; given < bytes; given += PIECE_BYTES) yield piece
}

/** Encrypts that many bytes through a session's stream. */
function encryptBytes(
  session: Session,
  key: CkObject,
  bytes: number,
  {
    onRead = () => {},
    write = async () => {},
  }: { onRead?: () => void; write?: (chunk: Uint8Array) => Promise<void> } = {},
): Promise<void> {
  const source = pieces(bytes)
  const readable = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (controller) => {
      const step = await source.next()
      if (step.done) return controller.close()
      onRead()
      controller.enqueue(step.value)
    },
  })
  const cipher = session.encryptStream({ type: CKM.AES_CTR, iv: new Uint8Array(16) }, key)
  return readable.pipeThrough(cipher).pipeTo(new WritableStream({ write }))
}

/** Encrypts 2 GB to a writer that takes a millisecond for each chunk. */
async function slowlyWritten(
  session: Session,
  key: CkObject,
): Promise<Pick<SessionThroughput, 'longestTaskMs' | 'memoryMegabytes' | 'queuedChunks'>> {
  const { rss } = process.memoryUsage()
  let read = 0
  let written = 0
  let queuedChunks = 0
  let highest = rss
  let longestTaskMs = 0
  let last = performance.now()
  let isRunning = true
  const tick = (): void => {
    const now = performance.now()
    longestTaskMs = Math.max(longestTaskMs, now - last)
    last = now
    if (isRunning) setImmediate(tick)
  }
  setImmediate(tick)
  const onRead = (): void => {
    read++
    queuedChunks = Math.max(queuedChunks, read - Math.floor(written))
    highest = Math.max(highest, process.memoryUsage.rss())
  }
  const write = async (chunk: Uint8Array): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    // An output chunk may be shorter than an input chunk.
    written += chunk.length / PIECE_BYTES
  }
  await encryptBytes(session, key, LONG_BYTES, { onRead, write })
  isRunning = false
  return { longestTaskMs, memoryMegabytes: Math.round((highest - rss) / 1e6), queuedChunks }
}
