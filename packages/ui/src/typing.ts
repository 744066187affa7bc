/** Whether somebody is typing text in the page: then no field of ours may take the keys. */
import { SETTLE_MS } from './dom.ts'

/** When text was typed last, in milliseconds of the page's clock. */
let typedAt = Number.NEGATIVE_INFINITY

/** A click, or a key that ends an entry, says that what comes next is meant for what comes next. */
const endingKeys: readonly string[] = ['Enter', 'Tab', 'Escape']

/** Events of the window; the same listener may be added twice. */
function hear(event: Event): void {
  if (event instanceof InputEvent) typedAt = event.timeStamp
  else if (event instanceof PointerEvent || endingKeys.includes((event as KeyboardEvent).key))
    typedAt = Number.NEGATIVE_INFINITY
}

/** Listens from now on; calling it again does nothing. */
export function watchTyping(): void {
  // Capturing: the page may keep its events to itself.
  for (const type of ['input', 'keydown', 'pointerdown'])
    addEventListener(type, hear, { capture: true, passive: true })
}

/** Text was typed a moment ago, and nothing has ended the entry. */
export function isTyping(): boolean {
  return performance.now() - typedAt < SETTLE_MS
}
