/** Measures the verification of a file with 80 signers and 50 certificates, and how long it blocks the thread. */
import { readFile } from 'node:fs/promises'
import { trustedBy, verifyDetached } from '@webtoki/documents'

const RUNS = 8

/** Each the best of eight runs, because single runs vary on a shared computer. */
export interface ManySigners {
  readonly milliseconds: number
  /** The longest time in which nothing else of the thread ran. */
  readonly longestTaskMs: number
}

/** Verifies the file. A test of `documents` created it, with fictional names; its document is 'doc'. */
export async function manySigners(): Promise<ManySigners> {
  const read = async (name: string): Promise<Uint8Array> =>
    new Uint8Array(await readFile(new URL(`../vectors/80-signers-50-certificates.${name}`, import.meta.url)))
  const [file, root] = [await read('p7s'), await read('root.der')]
  const document = new TextEncoder().encode('doc')
  const at = new Date('2026-12-01T12:00:00Z')
  const best = { milliseconds: Infinity, longestTaskMs: Infinity }
  for (let run = 0; run < RUNS; run++) {
    const watch = watchTurns()
    const start = performance.now()
    const { valid } = await verifyDetached(file, document, { trust: trustedBy([root]), at })
    const milliseconds = performance.now() - start
    const longestTaskMs = await watch.stop()
    if (!valid) throw new Error('The file with 80 signers should be valid, but its verification failed.')
    best.milliseconds = Math.min(best.milliseconds, milliseconds)
    best.longestTaskMs = Math.min(best.longestTaskMs, longestTaskMs)
  }
  return best
}

/** Measures the longest time between two turns of the event loop, until it is stopped. */
function watchTurns(): { stop(): Promise<number> } {
  let longest = 0
  let last = performance.now()
  let isOver = false
  const turn = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  return {
    stop: async () => {
      await new Promise((resolve) => setImmediate(resolve))
      isOver = true
      return longest
    },
  }
}
