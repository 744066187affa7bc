/** `<webtoki-readers>`: which readers are there, what is in them, and why one cannot be used. */
import type { Presence, ReaderProblem, Webtoki } from 'webtoki'
import { ElementBase, isolated, make, shadowOf } from './dom.ts'
import { keepFocus, watchFocus } from './focus.ts'
import { explain, strings } from './strings.ts'

interface Stoppable {
  unsubscribe(): void
}

interface ShownSlot {
  readonly name: string
  presence: Presence | undefined
  readonly watch: Stoppable
}

/** Set `webtoki`; it follows the readers until it is taken out of the page. */
export class WebtokiReaders extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)
  readonly #list: HTMLUListElement = make('ul', { class: 'stack', 'aria-live': 'polite' })
  readonly #complaint: HTMLParagraphElement = make('p', { class: 'danger', role: 'alert' })
  readonly #connect: HTMLButtonElement = make('button', {
    type: 'button',
    part: 'connect',
    hidden: true,
  })
  #webtoki: Webtoki | undefined
  #following: Stoppable[] = []
  readonly #slots = new Map<object, ShownSlot>()
  #problems: readonly ReaderProblem[] = []

  constructor() {
    super()
    this.#root.append(
      make(
        'div',
        { class: 'stack' },
        this.#list,
        this.#complaint,
        make('div', { class: 'row' }, this.#connect),
      ),
    )
    this.#connect.addEventListener('click', () => void this.#request())
  }

  get webtoki(): Webtoki | undefined {
    return this.#webtoki
  }

  set webtoki(webtoki: Webtoki | undefined) {
    this.#stop()
    this.#webtoki = webtoki
    if (this.isConnected) this.#follow()
  }

  connectedCallback(): void {
    watchFocus()
    this.#follow()
  }

  disconnectedCallback(): void {
    this.#stop()
  }

  #follow(): void {
    const webtoki = this.#webtoki
    if (webtoki === undefined || this.#following.length > 0) return
    // A reader that the virtual one stands in for is not to be connected by a chooser.
    const { support } = webtoki
    this.#connect.hidden = this.hasAttribute('no-connect') || support !== 'available'
    keepFocus()
    this.#complaint.textContent =
      support === 'available' ? '' : strings().errors[`reader/unreachable/${support}`]
    this.#following = [
      webtoki.problems$.subscribe((problems) => {
        this.#problems = problems
        this.#show()
      }),
      webtoki.slots$.subscribe((slots) => {
        for (const [slot, shown] of this.#slots) {
          if (slots.includes(slot as (typeof slots)[number])) continue
          shown.watch.unsubscribe()
          this.#slots.delete(slot)
        }
        for (const slot of slots) {
          if (this.#slots.has(slot)) continue
          const shown: ShownSlot = {
            name: slot.name,
            presence: undefined,
            watch: slot.presence$.subscribe((presence) => {
              // The first one comes before `shown` is there.
              queueMicrotask(() => {
                shown.presence = presence
                this.#show()
              })
            }),
          }
          this.#slots.set(slot, shown)
        }
        this.#show()
      }),
    ]
  }

  #stop(): void {
    for (const each of this.#following) each.unsubscribe()
    for (const { watch } of this.#slots.values()) watch.unsubscribe()
    this.#following = []
    this.#slots.clear()
  }

  #show(): void {
    const text = strings()
    this.#connect.textContent = text.connectReader
    const items = [...this.#slots.values()].map(({ name, presence }) =>
      item(name, inWords(presence), presence === 'present' ? 'on' : presence === 'empty' ? '' : 'bad'),
    )
    for (const { name, error } of this.#problems) {
      const why =
        error.code === 'reader/protected-class' || error.code === 'reader/not-granted'
          ? text.errors[error.code]
          : error.code === 'reader/firmware'
            ? error.message
            : `${text.readerProblem} ${error.message}`
      items.push(item(name, why, 'bad'))
    }
    if (items.length === 0) items.push(make('li', { class: 'muted' }, text.noReader))
    this.#list.replaceChildren(...items)
  }

  async #request(): Promise<void> {
    this.#complaint.textContent = ''
    try {
      await this.#webtoki?.requestReader()
    } catch (error) {
      this.#complaint.textContent = explain(error)
    }
  }
}

function item(name: string, state: string, mark: string): HTMLLIElement {
  return make(
    'li',
    { class: 'item' },
    make('span', { class: `dot ${mark}`, 'aria-hidden': 'true' }),
    make(
      'span',
      {},
      make('strong', {}, isolated(name)),
      make('br'),
      make('span', { class: 'small muted' }, state),
    ),
  )
}

function inWords(presence: Presence | undefined): string {
  const text = strings()
  if (presence === undefined) return ''
  if (typeof presence !== 'object') return text[presence]
  return { page: text.inUseByPage, tab: text.inUseByTab, unknown: text.inUse }[presence.inUse]
}
