/** Parts of the page that load when they are wanted, and what it says if one cannot be loaded. */
import { setStrings } from '@webtoki/ui'

const code = 'page/part-missing'
const sentence = 'A part of this page could not be loaded. Reload the page, then try again.'

/** A script of the page that the site no longer has, or that it does not send now. */
export class PartMissingError extends Error {
  readonly code: typeof code = code

  constructor(options?: ErrorOptions) {
    super(sentence, options)
    this.name = 'PartMissingError'
  }
}

setStrings({ errors: { [code]: sentence } })

// The bundler tells of every import() that fails, those within packages too; the browser's own words for it are an address
// and a protocol. With the code on it the error is explained by the sentence, whatever wraps it on its way.
addEventListener('vite:preloadError', (event) => {
  Object.assign((event as Event & { payload: Error }).payload, { code })
})
