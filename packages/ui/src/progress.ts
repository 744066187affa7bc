/** `<webtoki-progress>`: what is being waited for, in a sentence that screen readers hear. */
import type { ActivityPhase } from 'webtoki'
import { ElementBase, make, shadowOf } from './dom.ts'
import { explain, strings } from './strings.ts'

/** Tell it phases, progress and errors; it says them. */
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

  /** A phase of an operation; a `failed` one is told by `fail`. */
  phase(phase: ActivityPhase): void {
    if (phase === 'failed') return
    this.#say(strings().phases[phase], phase === 'done' ? 'on' : '', phase !== 'done')
    if (phase !== 'collecting') this.#bar.hidden = true
  }

  /** How far a long reading is; without a total, that it goes on. */
  progress(bytes: number, totalBytes: number | undefined): void {
    this.#bar.hidden = false
    this.#bar.ariaLabel = strings().phases.collecting
    if (totalBytes === undefined) this.#bar.removeAttribute('value')
    else this.#bar.value = totalBytes === 0 ? 1 : bytes / totalBytes
  }

  /** A sentence of the site's own. */
  say(sentence: string, isGood: boolean = true): void {
    this.#bar.hidden = true
    this.#say(sentence, isGood ? 'on' : 'bad', false)
  }

  /** An error, in words. */
  fail(error: unknown): void {
    this.#bar.hidden = true
    this.#say(explain(error), 'bad', false)
  }

  /** Nothing is going on. */
  clear(): void {
    this.#bar.hidden = true
    this.#line.hidden = true
  }

  #say(sentence: string, mark: string, isWorking: boolean): void {
    this.#line.hidden = false
    this.#line.className = isWorking ? 'row working' : 'row'
    this.#dot.className = `dot ${mark}`
    this.#sentence.className = mark === 'bad' ? 'danger' : ''
    this.#sentence.textContent = sentence
  }
}
