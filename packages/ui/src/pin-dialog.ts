/** `<webtoki-pin>` asks for PINs in a modal dialog, one request at a time. */
import type { PinRequest } from 'webtoki'
import { ElementBase, shadowOf } from './dom.ts'
import { watchFocus } from './focus.ts'
import { PinDialogError, type PinReply, PinRequestDialog } from './pin-request-dialog.ts'
import { watchTyping } from './typing.ts'

/**
 * All requests of the page in order of arrival, from all elements. Only the first is shown, because keys meant for one modal
 * dialog would reach the other.
 */
const queue: PinRequestDialog[] = []

/** The element `<webtoki-pin>`. Its `ask` returns the PIN as bytes; the element keeps no copy. */
export class WebtokiPin extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)

  /**
   * A PIN source: `new Webtoki({ pin: element.ask })`. Requests are shown one after the other. Resolves to undefined if the
   * person cancels, the request's signal aborts, the element is hidden or removed from the document, or the page is left.
   * Rejects with PinDialogError if the element is not in the document or not displayed.
   */
  readonly ask = (request: PinRequest): Promise<PinReply> => {
    if (request.signal.aborted) return Promise.resolve(undefined)
    if (!this.isConnected) return Promise.reject(new PinDialogError('not-connected'))
    const dialog = new PinRequestDialog(this, this.#root, request, showNext)
    if (queue.push(dialog) === 1) dialog.show()
    else queue[0]?.showWaiting(queue.length - 1)
    return dialog.reply
  }

  connectedCallback(): void {
    watchTyping()
    watchFocus()
    addEventListener('pagehide', this.#cancelAll)
    // If the element was moved within the document, the browser closed its dialog but the request is still pending.
    const [shown] = queue
    if (shown?.owner === this) shown.show()
  }

  disconnectedCallback(): void {
    removeEventListener('pagehide', this.#cancelAll)
    // If the element is only moved, it is in the document again by then.
    queueMicrotask(() => {
      if (!this.isConnected) this.#cancelAll()
    })
  }

  /** Cancels from the end of the queue, so that no other request of this element is shown in between. */
  readonly #cancelAll = (): void => {
    for (const dialog of queue.filter(({ owner }) => owner === this).toReversed()) dialog.cancel()
  }
}

/** Removes an ended request and shows the next in the same task, so that no frame is rendered without a dialog. */
function showNext(ended: PinRequestDialog): void {
  const index = queue.indexOf(ended)
  queue.splice(index, 1)
  const [shown] = queue
  shown?.showWaiting(queue.length - 1)
  if (index === 0) shown?.show()
}
