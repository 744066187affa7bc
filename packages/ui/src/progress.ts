/** `<webtoki-progress>` shows the state of an operation in a sentence that screen readers announce. */
import type { ActivityPhase } from 'webtoki'
import { ElementBase, make, shadowOf } from './dom.ts'
import { explain, strings } from './strings.ts'

/** The element `<webtoki-progress>`. Its methods show a phase, a progress bar, a sentence or an error. */
export class WebtokiProgress extends ElementBase {
  readonly #sentence: HTMLParagraphElement = make('p', {})
  readonly #dot: HTMLSpanElement = make('span', { class: 'dot', 'aria-hidden': 'true' })
  readonly #line: HTMLDivElement = make('div', { class: 'row', role: 'status' }, this.#dot, this.#sentence)
  readonly #bar: HTMLProgressElement = make('progress')

  constructor() {
    super()
    this.#bar.hidden = true
    this.#line.hidden = true
    shadowOf(this).append(make('div', { class: 'stack' }, this.#line, this.#bar))
  }

  /** Shows a phase of an operation. Ignores `failed`, because `fail` shows the error. */
  phase(phase: ActivityPhase): void {
    if (phase === 'failed') return
    this.#show(strings().phases[phase], phase === 'done' ? 'on' : '', phase !== 'done')
    if (phase !== 'collecting') this.#bar.hidden = true
  }

  /** Shows how many bytes of a document are read. Without a total, the progress bar is indeterminate. */
  progress(bytes: number, totalBytes: number | undefined): void {
    this.#bar.hidden = false
    this.#bar.ariaLabel = strings().phases.collecting
    if (totalBytes === undefined) this.#bar.removeAttribute('value')
    else this.#bar.value = totalBytes === 0 ? 1 : bytes / totalBytes
  }

  /** Shows a sentence of the site; `isGood` false marks it as an error. */
  say(sentence: string, isGood: boolean = true): void {
    this.#bar.hidden = true
    this.#show(sentence, isGood ? 'on' : 'bad', false)
  }

  /** Shows the sentence that `explain` returns for an error. */
  fail(error: unknown): void {
    this.#bar.hidden = true
    this.#show(explain(error), 'bad', false)
  }

  /** Hides the sentence and the progress bar. */
  clear(): void {
    this.#bar.hidden = true
    this.#line.hidden = true
  }

  #show(sentence: string, mark: string, isWorking: boolean): void {
    this.#line.hidden = false
    this.#line.className = isWorking ? 'row working' : 'row'
    this.#dot.className = `dot ${mark}`
    this.#sentence.className = mark === 'bad' ? 'danger' : ''
    this.#sentence.textContent = sentence
  }
}
