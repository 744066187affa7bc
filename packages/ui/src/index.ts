/** Custom elements to choose a reader and a certificate, enter a PIN and follow an operation. */
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

/** The classes of the elements by tag name. Extends the types of `document.createElement` and `querySelector`. */
export interface WebtokiElements {
  'webtoki-certificates': WebtokiCertificates
  'webtoki-pin': WebtokiPin
  'webtoki-progress': WebtokiProgress
  'webtoki-readers': WebtokiReaders
}

let hasWarned = false

/**
 * Registers all elements. Further calls do nothing. Without custom elements (in Node, for example during server-side
 * rendering) it registers nothing and prints one warning: call it in the browser too.
 */
export function defineElements(): void {
  if (!('customElements' in globalThis)) {
    if (!hasWarned)
      console.warn(
        'defineElements() did nothing, because custom elements exist only in the browser. Call it there too.',
      )
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
