/** Explains the failure to load a part of the page that is loaded on demand. */
import { setStrings } from '@webtoki/ui'

const code = 'page/part-missing'
const sentence = 'A part of this page could not be loaded. Reload the page, then try again.'

/** A script of the page could not be loaded, because the site no longer has it or cannot be reached. */
export class PartMissingError extends Error {
  readonly code: typeof code = code

  constructor(options?: ErrorOptions) {
    super(sentence, options)
    this.name = 'PartMissingError'
  }
}

setStrings({ errors: { [code]: sentence } })

// Vite dispatches this event for every import() that fails, even in packages. The browser's own message is only a URL. With
// the code on the error `explain` finds the sentence, even if another error wraps it.
addEventListener('vite:preloadError', (event) => {
  Object.assign((event as Event & { payload: Error }).payload, { code })
})
