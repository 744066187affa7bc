/** One request for a PIN, from the line in which it waits to its answer. */
import { type PinRequest, pinOf, WebtokiError } from 'webtoki'
import { isolated, make, SETTLE_MS } from './dom.ts'
import { keepFocus } from './focus.ts'
import { explain, strings } from './strings.ts'
import { isTyping } from './typing.ts'

/** What `ask` resolves to; undefined if the person said no. */
export type PinReply = { readonly pin: Uint8Array; readonly acceptLastTry?: true } | undefined

/** The dialog cannot be shown. Nobody was asked, and nothing was sent to the card. */
export class PinDialogError extends WebtokiError {
  readonly code = 'ui/no-dialog'
  readonly why: 'not-connected' | 'not-displayed'
  constructor(why: 'not-connected' | 'not-displayed', options?: ErrorOptions) {
    super(
      why === 'not-connected'
        ? 'The PIN dialog is not in the document; append <webtoki-pin> to the page, then ask.'
        : 'The PIN dialog is not displayed; show <webtoki-pin> and the elements around it, then ask.',
      options,
    )
    this.why = why
  }

  override get name(): 'PinDialogError' {
    return 'PinDialogError'
  }
}

/** Makes a dialog of its own for each request, so that neither digits nor consent pass from one to the next. */
export class PinRequestDialog {
  readonly owner: HTMLElement
  readonly reply: Promise<PinReply>
  readonly #root: ShadowRoot
  readonly #request: PinRequest
  readonly #ended: (ended: PinRequestDialog) => void
  readonly #title: HTMLHeadingElement
  readonly #field: HTMLInputElement | undefined
  readonly #complaint: HTMLParagraphElement
  readonly #sure: HTMLInputElement
  readonly #waiting: HTMLParagraphElement
  readonly #confirm: HTMLButtonElement
  readonly #dialog: HTMLDialogElement
  readonly #hidden: ResizeObserver
  #settle!: (reply: PinReply | Promise<never>) => void
  #isOver = false
  /** From when on a submit counts, in milliseconds of the page's clock. */
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
    const { purpose, label, reader, for: what, pinPad, lastTry, previousWasWrong: wasWrong } = request
    const words = text.pinPurposes[purpose]
    const why = words.why(isolated(label))
    this.#title = make('h2', { id: 'title', tabindex: '-1' }, pinPad ? text.pinPadTitle : words.title)
    this.#field = pinPad ? undefined : fieldFor(request)
    this.#complaint = make('p', { id: 'complaint', class: 'small danger', role: 'alert' })
    this.#sure = make('input', { type: 'checkbox', id: 'sure', required: true })
    this.#waiting = make('p', { id: 'waiting', class: 'small muted', role: 'status' })
    this.#confirm = make('button', { type: 'submit', class: 'primary', id: 'confirm' }, text.confirm)
    const cancel = make('button', { type: 'button', value: 'cancel', id: 'cancel' }, text.cancel)
    const form = make(
      'form',
      { class: 'stack', method: 'dialog' },
      this.#title,
      make('p', { id: 'why' }, why),
      what === undefined ? undefined : make('p', { id: 'for' }, text.pinFor(isolated(what))),
      make(
        'div',
        { id: 'where', class: 'small muted' },
        why.includes(isolated(label)) ? undefined : make('p', {}, text.card(isolated(label))),
        reader === undefined ? undefined : make('p', {}, text.reader(isolated(reader))),
      ),
      this.#field && make('label', { for: 'pin' }, words.field),
      this.#field,
      make('p', { id: 'tries', class: lastTry || wasWrong ? 'danger' : 'small muted' }, triesOf(request)),
      lastTry ? make('label', { class: 'check' }, this.#sure, text.acceptLastTry) : undefined,
      this.#complaint,
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
    // The second click of a double click was for the request before.
    cancel.addEventListener('click', ({ detail }) => void (detail < 2 && this.cancel()))
    // A main thread that was busy may hand over late what was done early.
    this.#confirm.addEventListener('click', (event) => void (this.#isEarly(event) && event.preventDefault()))
    this.#dialog.addEventListener('keydown', (event) => this.#pressed(event))
    // Escape, the page, and a close request that the browser grants without asking all end here.
    this.#dialog.addEventListener('close', this.cancel)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      if (!this.#isEarly(event)) this.#submit()
    })
    request.signal.addEventListener('abort', this.cancel, { once: true })
  }

  /** Opens the dialog; once more after its element was moved, which closes it. */
  show(): void {
    const { signal } = this.#request
    if (signal.aborted) return this.cancel()
    // Moved by moveBefore(), it is open still.
    if (this.#dialog.matches(':modal')) return
    // Keys meant for something else fall on the title, where they do nothing.
    const isOthers = isTyping() && this.#field?.value === ''
    const start = this.#field === undefined || isOthers ? this.#title : this.#field
    try {
      if (!this.#dialog.isConnected) this.#root.append(this.#dialog)
      this.#dialog.removeAttribute('open')
      this.#dialog.showModal()
    } catch (cause) {
      return this.#end(Promise.reject(new PinDialogError('not-connected', { cause })))
    }
    // Modal and invisible, it would block the page and nobody could tell why.
    if (!this.#dialog.checkVisibility()) return this.#end(Promise.reject(new PinDialogError('not-displayed')))
    this.#hidden.observe(this.#dialog)
    start.focus()
    this.#guard()
  }

  /** How many requests wait behind this one. */
  tellWaiting(count: number): void {
    this.#waiting.textContent = count === 0 ? '' : strings().moreRequests(count)
  }

  /** The person said no, or nobody can answer any more. */
  readonly cancel = (): void => this.#end(undefined)

  /** What a person does in the moment of a change was meant for what was there before. */
  #guard(): void {
    this.#readyAt = performance.now() + SETTLE_MS
    this.#confirm.disabled = this.#sure.disabled = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#confirm.disabled = this.#sure.disabled = false
      if (this.#root.activeElement === this.#title) this.#field?.focus()
    }, SETTLE_MS)
  }

  #isEarly({ timeStamp }: Event): boolean {
    return timeStamp < this.#readyAt
  }

  #pressed(event: KeyboardEvent): void {
    const { key, repeat } = event
    if (key === 'Enter' ? repeat || this.#isEarly(event) : key === 'Escape' && repeat) event.preventDefault()
    // Still typing what was meant for something else: the field waits for a pause.
    if (this.#isEarly(event) && this.#root.activeElement === this.#title) this.#guard()
  }

  #submit(): void {
    const typed = new TextEncoder().encode(this.#field?.value)
    let pin = typed
    if (this.#field !== undefined) {
      try {
        pin = pinOf(typed, this.#request)
      } catch (error) {
        this.#complaint.textContent = explain(error)
        this.#field.focus()
        return
      } finally {
        typed.fill(0)
      }
    }
    this.#end(this.#sure.checked ? { pin, acceptLastTry: true } : { pin })
  }

  #end(reply: PinReply | Promise<never>): void {
    if (this.#isOver) return
    this.#isOver = true
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
 * Password managers are to leave a PIN alone: it belongs to the card, and not to the site. They disregard "off" on password
 * fields; Chromium's takes no field with "one-time-code" for a password (components/password_manager, form_parser.cc,
 * IsNotPasswordField), and the others have attributes of their own. Without `maxlength`, which would cut what is pasted.
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
    'aria-describedby': 'tries complaint',
  })
}

function triesOf({ lastTry, previousWasWrong, triesLeft }: PinRequest): string {
  const text = strings()
  const left = lastTry ? text.lastTry : triesLeft === undefined ? '' : `${text.triesLeft(triesLeft)}.`
  return previousWasWrong ? `${text.pinWasWrong} ${left}`.trim() : left
}
