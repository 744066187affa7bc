/** Yields to the event loop during long work, so that timers fire, the page handles input and card removal is noticed. */

/** How many bytes to process between two checks of `isDue`. Slow machines hash this much in a few milliseconds. */
export const STEP_BYTES = 0x8000

/** Half of a frame of 16 ms. The step during which it passes is added to it. */
const BUSY_MS = 8

/** Measures when long work has to yield. Create one for each piece of work. */
export class Pace {
  #sinceMs = performance.now()

  /** True if the work has run for 8 ms: the caller then awaits `turn`. */
  get isDue(): boolean {
    return performance.now() - this.#sinceMs >= BUSY_MS
  }

  /** Resolves in a new task, after the tasks that were queued before it. */
  async turn(): Promise<void> {
    await new Promise<void>(inNextTask)
    this.#sinceMs = performance.now()
  }
}

function inNextTask(work: () => void): void {
  // Not MessageChannel in Node, which delivers up to 1000 messages of a port before it runs its timers.
  const { setImmediate, MessageChannel } = globalThis
  if (setImmediate !== undefined) setImmediate(work)
  else if (MessageChannel !== undefined) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      work()
    }
    port2.postMessage(undefined)
    // Last, because browsers delay nested timers by 4 ms: half as long as the work between two turns.
  } else setTimeout(work, 0)
}
