/** Custom elements for what people do with a card. `defineElements()` makes them known to the page. */
import { WebtokiCertificates } from './certificates.ts'
import { WebtokiPin } from './pin-dialog.ts'
import { WebtokiProgress } from './progress.ts'
import { WebtokiReaders } from './readers.ts'

export { plainName } from './dom.ts'
export { WebtokiPin } from './pin-dialog.ts'
export { PinDialogError, type PinReply } from './pin-request-dialog.ts'
export { WebtokiCertificates } from './certificates.ts'
export { WebtokiProgress } from './progress.ts'
export { WebtokiReaders } from './readers.ts'
export type { WebtokiElementProps, WebtokiIntrinsicElements } from './jsx.ts'
export {
  type ChangedStrings,
  english,
  explain,
  type PinWords,
  type Strings,
  setStrings,
  strings,
} from './strings.ts'

declare global {
  interface HTMLElementTagNameMap extends WebtokiElements {}
}

/** The classes by their tags, as `document.createElement` and `querySelector` have them. */
export interface WebtokiElements {
  'webtoki-certificates': WebtokiCertificates
  'webtoki-pin': WebtokiPin
  'webtoki-progress': WebtokiProgress
  'webtoki-readers': WebtokiReaders
}

let hasWarned = false

/**
 * Registers all elements; calling it again does nothing. Where there are no custom elements (Node, while a page is rendered
 * on its server) it does nothing but say so once: the browser registers them.
 */
export function defineElements(): void {
  if (!('customElements' in globalThis)) {
    if (!hasWarned)
      console.warn('defineElements() did nothing: call it in the browser too, where elements are.')
    hasWarned = true
    return
  }
  const elements: { readonly [Tag in keyof WebtokiElements]: new () => WebtokiElements[Tag] } = {
    'webtoki-certificates': WebtokiCertificates,
    'webtoki-pin': WebtokiPin,
    'webtoki-progress': WebtokiProgress,
    'webtoki-readers': WebtokiReaders,
  }
  for (const [name, element] of Object.entries(elements)) {
    if (customElements.get(name) === undefined) customElements.define(name, element)
  }
}
