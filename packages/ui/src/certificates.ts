/** `<webtoki-certificates>` lets a person choose a certificate, and fires `change`. */
import type { CardCertificate, CertificateFault } from 'webtoki'
import { ElementBase, isolated, make, SETTLE_MS, shadowOf } from './dom.ts'
import { keepFocus, watchFocus } from './focus.ts'
import { strings } from './strings.ts'

/**
 * The element `<webtoki-certificates>`. Set its property `certificates`; `value` is the chosen one. The first certificate
 * without a fault is preselected. A choice fires `change`, which bubbles.
 */
export class WebtokiCertificates extends ElementBase {
  /** Scrolls if it is long, so that many certificates do not displace the rest of the page. */
  readonly #list: HTMLDivElement = make('div', { class: 'choices' })
  #certificates: readonly CardCertificate[] = []
  #value: CardCertificate | undefined
  #radios: readonly HTMLInputElement[] = []
  /** Earlier clicks are ignored; in milliseconds, as in `Event.timeStamp`. */
  #readyAt = 0

  constructor() {
    super()
    shadowOf(this).append(this.#list)
    // A scrolling list needs the focus itself: arrow keys on a radio button scroll only by changing the choice.
    new ResizeObserver(() => this.#updateFocusable()).observe(this.#list)
  }

  connectedCallback(): void {
    watchFocus()
  }

  /** The certificates to choose from. A new list keeps the choice and the focus if it has the same certificates. */
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

  /** Makes the list focusable while it scrolls. */
  #updateFocusable(): void {
    const scrolls = this.#list.scrollHeight > this.#list.clientHeight
    if (scrolls === this.#list.hasAttribute('role')) return
    const attributes = { tabindex: '0', role: 'group', 'aria-label': strings().chooseCertificate }
    for (const [name, value] of Object.entries(attributes)) {
      if (scrolls) this.#list.setAttribute(name, value)
      else this.#list.removeAttribute(name)
    }
  }

  /** The chosen certificate; undefined if the list is empty. */
  get value(): CardCertificate | undefined {
    return this.#value
  }

  #show(): void {
    const shown = this.#list.firstElementChild
    const next = this.#build()
    // Rows that do not change are not replaced, so that they keep the pointer and the focus.
    if (shown === null || !next.isEqualNode(shown)) {
      if (this.#radios.length > 0) this.#readyAt = performance.now() + SETTLE_MS
      this.#list.replaceChildren(next)
      this.#updateFocusable()
      this.#radios = [...next.querySelectorAll('input')]
      for (const [at, radio] of this.#radios.entries()) this.#listen(radio, at)
    }
    for (const [at, radio] of this.#radios.entries()) radio.checked = this.#certificates[at] === this.#value
  }

  #listen(radio: HTMLInputElement, at: number): void {
    // A click just after a change was meant for the row that was there before.
    radio.addEventListener('click', (event) => {
      if (event.timeStamp < this.#readyAt) event.preventDefault()
    })
    radio.addEventListener('change', () => {
      this.#value = this.#certificates[at]
      this.dispatchEvent(new Event('change', { bubbles: true }))
    })
  }

  #build(): HTMLElement {
    const text = strings()
    if (this.#certificates.length === 0) return make('p', { class: 'muted' }, text.noCertificate)
    // Cards of one person in two readers have certificates with equal names; the reader tells them apart.
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

/** The fault at present: a certificate can have expired, or become valid, since it was read. */
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
