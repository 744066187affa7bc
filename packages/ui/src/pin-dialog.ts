/** `<webtoki-pin>`: asks for a PIN in a modal dialog. Its `ask` is a PIN source. */
import type { PinRequest } from 'webtoki'
import { ElementBase, make, shadowOf } from './dom.ts'
import { strings } from './strings.ts'

const MIN_DIGITS = 6

/** What `ask` resolves to; undefined where the person said no. */
export type PinReply = { readonly pin: Uint8Array; readonly acceptLastTry?: true } | undefined

/** Hands the PIN on as bytes and keeps none. */
export class WebtokiPin extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)
  #end: ((reply: PinReply) => void) | undefined

  /** A PIN source: `new Webtoki({ pin: element.ask })`. A second request ends the first. */
  readonly ask = (request: PinRequest): Promise<PinReply> => {
    this.#end?.(undefined)
    return new Promise((resolve) => {
      const text = strings()
      const field = make('input', {
        type: 'password',
        inputmode: 'numeric',
        autocomplete: 'off',
        maxlength: '8',
        id: 'pin',
        required: true,
        'aria-describedby': 'why tries complaint',
      })
      const complaint = make('p', { id: 'complaint', class: 'small danger', role: 'alert' })
      const sure = make('input', { type: 'checkbox', id: 'sure', required: true })
      const form = make(
        'form',
        { class: 'stack', method: 'dialog' },
        make('h2', { id: 'title' }, request.pinPad ? text.pinPadTitle : text.pinTitle),
        make(
          'p',
          { id: 'why' },
          request.user === 'context' ? text.pinForSignature : text.pinForLogin(isolated(request.label)),
        ),
        request.pinPad ? undefined : make('label', { for: 'pin' }, text.pin),
        request.pinPad ? undefined : field,
        make('p', { id: 'tries', class: request.lastTry ? 'danger' : 'small muted' }, triesOf(request)),
        request.lastTry ? make('label', { class: 'check' }, sure, text.acceptLastTry) : undefined,
        complaint,
        make(
          'div',
          { class: 'row' },
          make('button', { type: 'button', value: 'cancel', id: 'cancel' }, text.cancel),
          make('button', { type: 'submit', class: 'primary', id: 'confirm' }, text.confirm),
        ),
      )
      const dialog = make('dialog', { 'aria-labelledby': 'title', part: 'dialog' }, form)
      const end = (reply: PinReply): void => {
        if (this.#end !== end) return
        this.#end = undefined
        request.signal.removeEventListener('abort', abort)
        field.value = ''
        dialog.close()
        dialog.remove()
        resolve(reply)
      }
      const abort = (): void => end(undefined)
      this.#end = end
      request.signal.addEventListener('abort', abort, { once: true })
      dialog.addEventListener('cancel', abort)
      form.querySelector('#cancel')?.addEventListener('click', abort)
      form.addEventListener('submit', (event) => {
        event.preventDefault()
        const pin = new TextEncoder().encode(field.value)
        if (request.pinPad === undefined && pin.length < MIN_DIGITS) {
          pin.fill(0)
          complaint.textContent = text.pinTooShort
          field.focus()
          return
        }
        end(sure.checked ? { pin, acceptLastTry: true } : { pin })
      })
      this.#root.append(dialog)
      dialog.showModal()
      if (request.pinPad === undefined) field.focus()
      if (request.signal.aborted) abort()
    })
  }
}

/** Cards name themselves: what stands beside the name keeps its place, whichever way that is written (UAX #9, FSI and PDI). */
function isolated(label: string): string {
  return `\u2068${label}\u2069`
}

function triesOf(request: PinRequest): string {
  const text = strings()
  if (request.lastTry) return text.lastTry
  return request.triesLeft === undefined ? '' : text.triesLeft(request.triesLeft)
}
