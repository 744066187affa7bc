/** `<webtoki-certificates>`: choose one; fires `change`. */
import type { CardCertificate } from 'webtoki'
import { ElementBase, make, shadowOf } from './dom.ts'
import { strings } from './strings.ts'

/** Set `certificates`; `value` is the chosen one, at first the first that is valid. */
export class WebtokiCertificates extends ElementBase {
  readonly #root: ShadowRoot = shadowOf(this)
  #certificates: readonly CardCertificate[] = []
  #value: CardCertificate | undefined

  get certificates(): readonly CardCertificate[] {
    return this.#certificates
  }

  set certificates(certificates: readonly CardCertificate[]) {
    this.#certificates = certificates
    const same = certificates.find(
      ({ der }) => this.#value !== undefined && der.join() === this.#value.der.join(),
    )
    this.#value = same ?? certificates.find(isValid) ?? certificates[0]
    this.#show()
  }

  get value(): CardCertificate | undefined {
    return this.#value
  }

  #show(): void {
    const text = strings()
    if (this.#certificates.length === 0) {
      this.#root.replaceChildren(make('p', { class: 'muted' }, text.noCertificate))
      return
    }
    // One person's cards in two readers have certificates of the same names.
    const isOneReader = new Set(this.#certificates.map(({ slot }) => slot)).size === 1
    const choices = this.#certificates.map((certificate) => {
      const radio = make('input', { type: 'radio', name: 'certificate' })
      radio.checked = certificate === this.#value
      radio.addEventListener('change', () => {
        this.#value = certificate
        this.dispatchEvent(new Event('change', { bubbles: true }))
      })
      const { notBefore, notAfter, slot } = certificate
      const until = isExpired(certificate)
        ? make('span', { class: 'small danger' }, text.expired(notAfter))
        : isValid(certificate)
          ? make('span', { class: 'small muted' }, text.validUntil(notAfter))
          : make('span', { class: 'small danger' }, text.notYetValid(notBefore))
      return make(
        'label',
        { class: 'item' },
        radio,
        make(
          'span',
          {},
          make('strong', {}, certificate.subject || certificate.label),
          make('br'),
          make('span', { class: 'small muted' }, certificate.label),
          make('br'),
          ...(isOneReader ? [] : [make('span', { class: 'small muted' }, slot.name), make('br')]),
          until,
          ...(certificate.asksEachTime
            ? [make('br'), make('span', { class: 'small muted' }, text.asksEachTime)]
            : []),
        ),
      )
    })
    this.#root.replaceChildren(
      make(
        'fieldset',
        { class: 'stack' },
        make('legend', { class: 'small muted' }, text.chooseCertificate),
        make('div', { class: 'stack choices' }, ...choices),
      ),
    )
  }
}

function isExpired({ notAfter }: CardCertificate): boolean {
  return notAfter.getTime() < Date.now()
}

function isValid(certificate: CardCertificate): boolean {
  return certificate.notBefore.getTime() <= Date.now() && !isExpired(certificate)
}
