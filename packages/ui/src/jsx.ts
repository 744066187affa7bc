/** Types of the elements for JSX and templates. They import no framework. */
import type { WebtokiCertificates } from './certificates.ts'
import type { WebtokiPin } from './pin-dialog.ts'
import type { WebtokiProgress } from './progress.ts'
import type { WebtokiReaders } from './readers.ts'

/** The properties that every element accepts in every framework. */
export interface WebtokiElementProps<Element extends HTMLElement> {
  /** A function, an object or a string, depending on the framework. */
  readonly ref?: unknown
  readonly key?: string | number | bigint | null | undefined
  readonly children?: unknown
  readonly id?: string | undefined
  readonly class?: string | undefined
  readonly className?: string | undefined
  readonly hidden?: boolean | undefined
  readonly slot?: string | undefined
  readonly onChange?: ((event: Event & { readonly currentTarget: Element }) => void) | undefined
  readonly onchange?: ((event: Event & { readonly currentTarget: Element }) => void) | undefined
}

/**
 * The properties of the elements by tag name. For React:
 * `declare module 'react' { namespace JSX { interface IntrinsicElements extends WebtokiIntrinsicElements {} } }`.
 */
export interface WebtokiIntrinsicElements {
  'webtoki-certificates': WebtokiElementProps<WebtokiCertificates> & {
    readonly certificates?: WebtokiCertificates['certificates']
  }
  'webtoki-pin': WebtokiElementProps<WebtokiPin>
  'webtoki-progress': WebtokiElementProps<WebtokiProgress>
  'webtoki-readers': WebtokiElementProps<WebtokiReaders> & {
    readonly webtoki?: WebtokiReaders['webtoki']
    readonly 'no-connect'?: boolean | undefined
  }
}
