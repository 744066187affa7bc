/** Turns for everybody else during long work: timers fire, pages repaint and hear clicks, a card that goes is noticed. */

/** How much to do before `isDue` is asked: even slow machines hash it in a few milliseconds. */
export const STEP_BYTES = 0x8000

/** Half of a frame of 16 ms; the step that ends it comes on top. */
const BUSY_MS = 8

/** One for each long piece of work. */
export class Pace {
  #sinceMs = performance.now()

  /** Whether others have waited long enough: then `turn` is awaited. */
  get isDue(): boolean {
    return performance.now() - this.#sinceMs >= BUSY_MS
  }

  /** Resolves in a task of its own, when what was waiting has had its turn. */
  async turn(): Promise<void> {
    await new Promise<void>(inNextTask)
    this.#sinceMs = performance.now()
  }
}

function inNextTask(work: () => void): void {
  // Node delivers up to a thousand messages of a port before it looks at its timers.
  const { setImmediate, MessageChannel } = globalThis
  if (setImmediate !== undefined) setImmediate(work)
  else if (MessageChannel !== undefined) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      work()
    }
    port2.postMessage(undefined)
    // Browsers make nested timers wait for 4 ms, which is half as long as the work between two turns.
  } else setTimeout(work, 0)
}
