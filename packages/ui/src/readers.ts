/** `<webtoki-readers>` lists the connected readers, the state of their cards, and why a reader cannot be used. */
import type { Presence, ReaderProblem, Webtoki } from 'webtoki'
import { ElementBase, isolated, make, shadowOf } from './dom.ts'
import { keepFocus, watchFocus } from './focus.ts'
import { explain, strings } from './strings.ts'

interface Unsubscribable {
  unsubscribe(): void
}

interface ShownSlot {
  readonly name: string
  presence: Presence | undefined
  readonly subscription: Unsubscribable
}

/**
 * The element `<webtoki-readers>`. Set its property `webtoki`. While the element is in the document, it follows the readers
 * and shows a button that connects one; the attribute `no-connect` hides the button.
 */
export class WebtokiReaders extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)
  readonly #list: HTMLUListElement = make('ul', { class: 'stack', 'aria-live': 'polite' })
  readonly #alert: HTMLParagraphElement = make('p', { class: 'danger', role: 'alert' })
  readonly #connect: HTMLButtonElement = make('button', {
    type: 'button',
    part: 'connect',
    hidden: true,
  })
  #webtoki: Webtoki | undefined
  #subscriptions: Unsubscribable[] = []
  readonly #slots = new Map<object, ShownSlot>()
  #problems: readonly ReaderProblem[] = []

  constructor() {
    super()
    this.#root.append(
      make('div', { class: 'stack' }, this.#list, this.#alert, make('div', { class: 'row' }, this.#connect)),
    )
    this.#connect.addEventListener('click', () => void this.#request())
  }

  /** The Webtoki instance whose readers are shown. */
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
    if (webtoki === undefined || this.#subscriptions.length > 0) return
    // The browser's chooser cannot connect a reader without WebUSB, even if a virtual reader makes `webtoki` usable.
    const { support } = webtoki
    this.#connect.hidden = this.hasAttribute('no-connect') || support !== 'available'
    keepFocus()
    this.#alert.textContent = support === 'available' ? '' : strings().errors[`reader/unreachable/${support}`]
    this.#subscriptions = [
      webtoki.problems$.subscribe((problems) => {
        this.#problems = problems
        this.#show()
      }),
      webtoki.slots$.subscribe((slots) => {
        for (const [slot, shown] of this.#slots) {
          if (slots.includes(slot as (typeof slots)[number])) continue
          shown.subscription.unsubscribe()
          this.#slots.delete(slot)
        }
        for (const slot of slots) {
          if (this.#slots.has(slot)) continue
          const shown: ShownSlot = {
            name: slot.name,
            presence: undefined,
            subscription: slot.presence$.subscribe((presence) => {
              // presence$ emits the current state within subscribe(), before `shown` is assigned.
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
    for (const each of this.#subscriptions) each.unsubscribe()
    for (const { subscription } of this.#slots.values()) subscription.unsubscribe()
    this.#subscriptions = []
    this.#slots.clear()
  }

  #show(): void {
    const text = strings()
    this.#connect.textContent = text.connectReader
    const items = [...this.#slots.values()].map(({ name, presence }) =>
      item(
        name,
        describePresence(presence),
        presence === 'present' ? 'on' : presence === 'empty' ? '' : 'bad',
      ),
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
    this.#alert.textContent = ''
    try {
      await this.#webtoki?.requestReader()
    } catch (error) {
      this.#alert.textContent = explain(error)
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

function describePresence(presence: Presence | undefined): string {
  const text = strings()
  if (presence === undefined) return ''
  if (typeof presence !== 'object') return text[presence]
  return { page: text.inUseByPage, tab: text.inUseByTab, unknown: text.inUse }[presence.inUse]
}
