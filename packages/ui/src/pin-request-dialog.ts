/** The dialog of one PIN request, from the time it waits in the queue to the reply. */
import { type PinRequest, pinOf, WebtokiError } from 'webtoki'
import { isolated, make, SETTLE_MS } from './dom.ts'
import { keepFocus } from './focus.ts'
import { explain, strings } from './strings.ts'
import { isTyping } from './typing.ts'

/** The result of `ask`; undefined if the person cancelled or the request ended without a PIN. */
export type PinReply = { readonly pin: Uint8Array; readonly acceptLastTry?: true } | undefined

/** The PIN dialog could not be shown. Nothing was sent to the card. */
export class PinDialogError extends WebtokiError {
  readonly code = 'ui/no-dialog'
  readonly why: 'not-connected' | 'not-displayed'
  constructor(why: 'not-connected' | 'not-displayed', options?: ErrorOptions) {
    super(
      why === 'not-connected'
        ? 'The PIN dialog is not in the document. Append <webtoki-pin> to the page before you request a PIN.'
        : 'The PIN dialog is not displayed. Show <webtoki-pin> and its ancestors before you request a PIN.',
      options,
    )
    this.why = why
  }

  override get name(): 'PinDialogError' {
    return 'PinDialogError'
  }
}

/** A dialog for one request only, so that neither the digits nor the consent of one request reach the next. */
export class PinRequestDialog {
  readonly owner: HTMLElement
  readonly reply: Promise<PinReply>
  readonly #root: ShadowRoot
  readonly #request: PinRequest
  readonly #ended: (ended: PinRequestDialog) => void
  readonly #title: HTMLHeadingElement
  readonly #field: HTMLInputElement | undefined
  readonly #alert: HTMLParagraphElement
  readonly #consent: HTMLInputElement
  readonly #waiting: HTMLParagraphElement
  readonly #confirm: HTMLButtonElement
  readonly #dialog: HTMLDialogElement
  readonly #hidden: ResizeObserver
  #settle!: (reply: PinReply | Promise<never>) => void
  #hasEnded = false
  /** Earlier submits are ignored; in milliseconds, as in `Event.timeStamp`. */
  #readyAt = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    owner: HTMLElement,
    root: ShadowRoot,
    request: PinRequest,
    ended: (ended: PinRequestDialog) => void,
  ) {
    this.owner = owner
    this.#root = root
    this.#request = request
    this.#ended = ended
    this.reply = new Promise((resolve) => {
      this.#settle = resolve
    })
    const text = strings()
    const { purpose, label, reader, for: subject, pinPad, lastTry, previousWasWrong: wasWrong } = request
    const words = text.pinPurposes[purpose]
    const why = words.why(isolated(label))
    this.#title = make('h2', { id: 'title', tabindex: '-1' }, pinPad ? text.pinPadTitle : words.title)
    this.#field = pinPad ? undefined : fieldFor(request)
    this.#alert = make('p', { id: 'alert', class: 'small danger', role: 'alert' })
    this.#consent = make('input', { type: 'checkbox', id: 'consent', required: true })
    this.#waiting = make('p', { id: 'waiting', class: 'small muted', role: 'status' })
    this.#confirm = make('button', { type: 'submit', class: 'primary', id: 'confirm' }, text.confirm)
    const cancel = make('button', { type: 'button', value: 'cancel', id: 'cancel' }, text.cancel)
    const form = make(
      'form',
      { class: 'stack', method: 'dialog' },
      this.#title,
      make('p', { id: 'why' }, why),
      subject === undefined ? undefined : make('p', { id: 'for' }, text.pinFor(isolated(subject))),
      make(
        'div',
        { id: 'where', class: 'small muted' },
        why.includes(isolated(label)) ? undefined : make('p', {}, text.card(isolated(label))),
        reader === undefined ? undefined : make('p', {}, text.reader(isolated(reader))),
      ),
      this.#field && make('label', { for: 'pin' }, words.field),
      this.#field,
      make(
        'p',
        { id: 'tries', class: lastTry || wasWrong ? 'danger' : 'small muted' },
        describeTries(request),
      ),
      lastTry ? make('label', { class: 'check' }, this.#consent, text.acceptLastTry) : undefined,
      this.#alert,
      this.#waiting,
      make('div', { class: 'row' }, cancel, this.#confirm),
    )
    this.#dialog = make(
      'dialog',
      { 'aria-labelledby': 'title', 'aria-describedby': 'why for where tries', part: 'dialog' },
      form,
    )
    this.#hidden = new ResizeObserver(() => {
      if (!this.#dialog.checkVisibility()) this.cancel()
    })
    // The second click of a double click was meant for the previous request.
    cancel.addEventListener('click', ({ detail }) => void (detail < 2 && this.cancel()))
    // After the main thread was busy, early events can arrive late; their time stamps are still early.
    this.#confirm.addEventListener('click', (event) => void (this.#isEarly(event) && event.preventDefault()))
    this.#dialog.addEventListener('keydown', (event) => this.#onKeydown(event))
    // Fires after Escape, after close() by the page, and after a close request without a cancelable `cancel` event.
    this.#dialog.addEventListener('close', this.cancel)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      if (!this.#isEarly(event)) this.#submit()
    })
    request.signal.addEventListener('abort', this.cancel, { once: true })
  }

  /** Opens the dialog, or opens it again after its element was moved, which closes it. */
  show(): void {
    const { signal } = this.#request
    if (signal.aborted) return this.cancel()
    // moveBefore() keeps the dialog open.
    if (this.#dialog.matches(':modal')) return
    // While the person types elsewhere, the title gets the focus: keys have no effect there.
    const isElsewhere = isTyping() && this.#field?.value === ''
    const start = this.#field === undefined || isElsewhere ? this.#title : this.#field
    try {
      if (!this.#dialog.isConnected) this.#root.append(this.#dialog)
      this.#dialog.removeAttribute('open')
      this.#dialog.showModal()
    } catch (cause) {
      return this.#end(Promise.reject(new PinDialogError('not-connected', { cause })))
    }
    // An invisible modal dialog would block the page without an apparent reason.
    if (!this.#dialog.checkVisibility()) return this.#end(Promise.reject(new PinDialogError('not-displayed')))
    this.#hidden.observe(this.#dialog)
    start.focus()
    this.#ignoreSubmits()
  }

  /** Shows how many requests wait for this one. */
  showWaiting(count: number): void {
    this.#waiting.textContent = count === 0 ? '' : strings().moreRequests(count)
  }

  /** Ends the request without a PIN. */
  readonly cancel = (): void => this.#end(undefined)

  /** Ignores submits for SETTLE_MS, because they were meant for what was shown before. */
  #ignoreSubmits(): void {
    this.#readyAt = performance.now() + SETTLE_MS
    this.#confirm.disabled = this.#consent.disabled = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#confirm.disabled = this.#consent.disabled = false
      if (this.#root.activeElement === this.#title) this.#field?.focus()
    }, SETTLE_MS)
  }

  #isEarly({ timeStamp }: Event): boolean {
    return timeStamp < this.#readyAt
  }

  #onKeydown(event: KeyboardEvent): void {
    const { key, repeat } = event
    if (key === 'Enter' ? repeat || this.#isEarly(event) : key === 'Escape' && repeat) event.preventDefault()
    // The person is still typing for another field: wait for a pause before the focus moves to the PIN field.
    if (this.#isEarly(event) && this.#root.activeElement === this.#title) this.#ignoreSubmits()
  }

  #submit(): void {
    const typed = new TextEncoder().encode(this.#field?.value)
    let pin = typed
    if (this.#field !== undefined) {
      try {
        pin = pinOf(typed, this.#request)
      } catch (error) {
        this.#alert.textContent = explain(error)
        this.#field.focus()
        return
      } finally {
        typed.fill(0)
      }
    }
    this.#end(this.#consent.checked ? { pin, acceptLastTry: true } : { pin })
  }

  #end(reply: PinReply | Promise<never>): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearTimeout(this.#timer)
    this.#hidden.disconnect()
    this.#request.signal.removeEventListener('abort', this.cancel)
    if (this.#field !== undefined) this.#field.value = ''
    this.#dialog.close()
    this.#dialog.remove()
    keepFocus()
    this.#settle(reply)
    this.#ended(this)
  }
}

/**
 * Creates the PIN field. Password managers must not save a PIN, because it belongs to the card and not to the site. They ignore
 * "off" on password fields. Chromium's does not treat a field with "one-time-code" as a password; the others have their own
 * attributes. There is no `maxlength`, because it would truncate pasted text silently.
 * https://github.com/chromium/chromium/blob/793f243755dfed4ff65bc9c5ec05a91f6e183ff6/components/password_manager/core/browser/form_parsing/form_data_parser.cc#L139-L146
 */
function fieldFor({ alphabet }: PinRequest): HTMLInputElement {
  return make('input', {
    type: 'password',
    inputmode: alphabet === 'digits' ? 'numeric' : undefined,
    autocomplete: 'one-time-code',
    'data-1p-ignore': true,
    'data-bwignore': true,
    'data-lpignore': 'true',
    'data-form-type': 'other',
    id: 'pin',
    required: true,
    'aria-describedby': 'tries alert',
  })
}

function describeTries({ lastTry, previousWasWrong, triesLeft }: PinRequest): string {
  const text = strings()
  const left = lastTry ? text.lastTry : triesLeft === undefined ? '' : `${text.triesLeft(triesLeft)}.`
  return previousWasWrong ? `${text.pinWasWrong} ${left}`.trim() : left
}
