/** Custom elements for what people do with a card. `defineElements()` makes them known to the page. */
import { WebtokiCertificates } from './certificates.ts'
import { WebtokiPin } from './pin-dialog.ts'
import { WebtokiProgress } from './progress.ts'
import { WebtokiReaders } from './readers.ts'

export { WebtokiPin } from './pin-dialog.ts'
export { PinDialogError, type PinReply } from './pin-request-dialog.ts'
export { WebtokiCertificates } from './certificates.ts'
export { WebtokiProgress } from './progress.ts'
export { WebtokiReaders } from './readers.ts'
export { type ChangedStrings, english, explain, type Strings, setStrings, strings } from './strings.ts'

/** Registers all elements; calling it again does nothing. */
export function defineElements(): void {
  const elements = {
    'webtoki-certificates': WebtokiCertificates,
    'webtoki-pin': WebtokiPin,
    'webtoki-progress': WebtokiProgress,
    'webtoki-readers': WebtokiReaders,
  }
  for (const [name, element] of Object.entries(elements)) {
    if (customElements.get(name) === undefined) customElements.define(name, element)
  }
}
