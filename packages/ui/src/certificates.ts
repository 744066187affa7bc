/** `<webtoki-certificates>`: choose one; fires `change`. */
import type { CardCertificate, CertificateFault } from 'webtoki'
import { ElementBase, isolated, make, SETTLE_MS, shadowOf } from './dom.ts'
import { keepFocus, watchFocus } from './focus.ts'
import { strings } from './strings.ts'

/** Set `certificates`; `value` is the chosen one, at first the first without a fault. */
export class WebtokiCertificates extends ElementBase {
  /** Scrolls, so that thirty certificates do not push the page away. */
  readonly #list: HTMLDivElement = make('div', { class: 'choices' })
  #certificates: readonly CardCertificate[] = []
  #value: CardCertificate | undefined
  #radios: readonly HTMLInputElement[] = []
  /** From when on a click counts, in milliseconds of the page's clock. */
  #readyAt = 0

  constructor() {
    super()
    shadowOf(this).append(this.#list)
    // Radios alone would scroll it only by choosing something else.
    new ResizeObserver(() => this.#takeKeys()).observe(this.#list)
  }

  connectedCallback(): void {
    watchFocus()
  }

  get certificates(): readonly CardCertificate[] {
    return this.#certificates
  }

  set certificates(certificates: readonly CardCertificate[]) {
    const focused = this.#certificates[this.#radios.findIndex((radio) => radio.matches(':focus'))]
    this.#certificates = certificates
    const same = certificates.find(
      ({ der }) => this.#value !== undefined && der.join() === this.#value.der.join(),
    )
    this.#value = same ?? certificates.find((each) => faultOf(each) === undefined) ?? certificates[0]
    this.#show()
    if (focused === undefined) return
    const again = certificates.findIndex(({ der }) => der.join() === focused.der.join())
    ;(this.#radios[again] ?? this.#radios.find(({ checked }) => checked))?.focus()
    keepFocus()
  }

  #takeKeys(): void {
    const scrolls = this.#list.scrollHeight > this.#list.clientHeight
    if (scrolls === this.#list.hasAttribute('role')) return
    const attributes = { tabindex: '0', role: 'group', 'aria-label': strings().chooseCertificate }
    for (const [name, value] of Object.entries(attributes)) {
      if (scrolls) this.#list.setAttribute(name, value)
      else this.#list.removeAttribute(name)
    }
  }

  get value(): CardCertificate | undefined {
    return this.#value
  }

  #show(): void {
    const shown = this.#list.firstElementChild
    const next = this.#made()
    // Rows that stay as they are stay under the pointer and the keys.
    if (shown === null || !next.isEqualNode(shown)) {
      if (this.#radios.length > 0) this.#readyAt = performance.now() + SETTLE_MS
      this.#list.replaceChildren(next)
      this.#takeKeys()
      this.#radios = [...next.querySelectorAll('input')]
      for (const [at, radio] of this.#radios.entries()) this.#hear(radio, at)
    }
    for (const [at, radio] of this.#radios.entries()) radio.checked = this.#certificates[at] === this.#value
  }

  #hear(radio: HTMLInputElement, at: number): void {
    // What a person does in the moment of a change was meant for the row that stood there before.
    radio.addEventListener('click', (event) => {
      if (event.timeStamp < this.#readyAt) event.preventDefault()
    })
    radio.addEventListener('change', () => {
      this.#value = this.#certificates[at]
      this.dispatchEvent(new Event('change', { bubbles: true }))
    })
  }

  #made(): HTMLElement {
    const text = strings()
    if (this.#certificates.length === 0) return make('p', { class: 'muted' }, text.noCertificate)
    // One person's cards in two readers have certificates of the same names.
    const isOneReader = new Set(this.#certificates.map(({ slot }) => slot)).size === 1
    const choices = this.#certificates.map((certificate) => {
      const { slot } = certificate
      const fault = faultOf(certificate)
      const state = fault === undefined ? 'small muted' : 'small danger'
      return make(
        'label',
        { class: 'item' },
        make('input', { type: 'radio', name: 'certificate' }),
        make(
          'span',
          {},
          make('strong', {}, isolated(certificate.subject || certificate.label)),
          make('br'),
          make('span', { class: 'small muted' }, isolated(certificate.label)),
          make('br'),
          ...(isOneReader ? [] : [make('span', { class: 'small muted' }, isolated(slot.name)), make('br')]),
          make('span', { class: state }, sentenceOf(certificate, fault)),
          ...(certificate.asksEachTime
            ? [make('br'), make('span', { class: 'small muted' }, text.asksEachTime)]
            : []),
        ),
      )
    })
    return make(
      'fieldset',
      { class: 'stack' },
      make('legend', { class: 'small muted' }, text.chooseCertificate),
      make('div', { class: 'stack' }, ...choices),
    )
  }
}

/** What is wrong with it now: time has gone on since it was read. */
function faultOf({ fault, notBefore, notAfter }: CardCertificate): CertificateFault | undefined {
  if (fault === 'weak-key' || fault === 'key-not-supported') return fault
  const now = Date.now()
  if (now > notAfter.getTime()) return 'expired'
  return now < notBefore.getTime() ? 'not-yet-valid' : undefined
}

function sentenceOf({ notBefore, notAfter }: CardCertificate, fault: CertificateFault | undefined): string {
  const text = strings()
  switch (fault) {
    case 'expired':
      return text.expired(notAfter)
    case 'not-yet-valid':
      return text.notYetValid(notBefore)
    case 'weak-key':
      return text.weakKey
    case 'key-not-supported':
      return text.keyNotSupported
    case undefined:
      return text.validUntil(notAfter)
  }
}
