/** Detects that a person is typing in the page, so that the PIN field does not take keys meant for another field. */
import { SETTLE_MS } from './dom.ts'

/** The time of the last text input in milliseconds, as in `Event.timeStamp`. */
let lastInputAt = Number.NEGATIVE_INFINITY

/** Keys that end an entry, as a click does: keys pressed after them are meant for what is shown then. */
const endingKeys: readonly string[] = ['Enter', 'Tab', 'Escape']

function update(event: Event): void {
  if (event instanceof InputEvent) lastInputAt = event.timeStamp
  else if (event instanceof PointerEvent || endingKeys.includes((event as KeyboardEvent).key))
    lastInputAt = Number.NEGATIVE_INFINITY
}

/** Starts to record input. Further calls do nothing, because the listener is the same. */
export function watchTyping(): void {
  // In the capture phase, because the page may stop the propagation of its events.
  for (const type of ['input', 'keydown', 'pointerdown'])
    addEventListener(type, update, { capture: true, passive: true })
}

/** True if text was entered within SETTLE_MS and nothing has ended the entry since. */
export function isTyping(): boolean {
  return performance.now() - lastInputAt < SETTLE_MS
}
