/** `<webtoki-pin>`: asks for PINs in a modal dialog, one request at a time. Its `ask` is a PIN source. */
import type { PinRequest } from 'webtoki'
import { ElementBase, shadowOf } from './dom.ts'
import { watchFocus } from './focus.ts'
import { PinDialogError, type PinReply, PinRequestDialog } from './pin-request-dialog.ts'
import { watchTyping } from './typing.ts'

/**
 * The requests of the page in their order, whichever element they came by; the first is shown. Two modal dialogs would
 * take each other's keys.
 */
const line: PinRequestDialog[] = []

/** Hands the PIN on as bytes and keeps none. */
export class WebtokiPin extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)

  /**
   * A PIN source: `new Webtoki({ pin: element.ask })`. Requests are shown one after the other. Resolves to undefined if
   * the person says no, the request's signal aborts, or the element is hidden or leaves the document; rejects with
   * PinDialogError if the element is not in the document or not displayed.
   */
  readonly ask = (request: PinRequest): Promise<PinReply> => {
    if (request.signal.aborted) return Promise.resolve(undefined)
    if (!this.isConnected) return Promise.reject(new PinDialogError('not-connected'))
    const asked = new PinRequestDialog(this, this.#root, request, leave)
    if (line.push(asked) === 1) asked.show()
    else line[0]?.tellWaiting(line.length - 1)
    return asked.reply
  }

  connectedCallback(): void {
    watchTyping()
    watchFocus()
    addEventListener('pagehide', this.#cancelAll)
    // Moved in the document: the browser closed the dialog, and its request is still open.
    const [shown] = line
    if (shown?.owner === this) shown.show()
  }

  disconnectedCallback(): void {
    removeEventListener('pagehide', this.#cancelAll)
    // One that is moved is in the document again by then.
    queueMicrotask(() => {
      if (!this.isConnected) this.#cancelAll()
    })
  }

  /** From the end of the line, so that none of them is shown in passing. */
  readonly #cancelAll = (): void => {
    for (const asked of line.filter(({ owner }) => owner === this).toReversed()) asked.cancel()
  }
}

/** The next one is shown in the same task: no frame shows neither. */
function leave(ended: PinRequestDialog): void {
  const at = line.indexOf(ended)
  line.splice(at, 1)
  const [shown] = line
  shown?.tellWaiting(line.length - 1)
  if (at === 0) shown?.show()
}
