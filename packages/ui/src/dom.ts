/** Builds elements and their style sheet without HTML strings and inline styles, for a strict CSP and Trusted Types. */

/** HTMLElement. In Node, which does not have it, an empty class, so that the modules can be imported. */
export const ElementBase: typeof HTMLElement =
  globalThis.HTMLElement ?? (class {} as unknown as typeof HTMLElement)

/**
 * The time in milliseconds during which input is ignored after a change, because it was meant for what was there before. It is
 * the longest double click, which browsers also wait before their own prompts accept input. Typists press keys faster than
 * that.
 */
export const SETTLE_MS: number = 500

/**
 * Removes bidirectional controls from a name that comes from outside, such as that of a card or a file. An override would
 * show the letters in another order, and a PDI would end any isolation around the name, even that of a `bdi` element.
 */
export function plainName(name: string): string {
  return name.replace(/[\u202A-\u202E\u2066-\u2069]/g, '')
}

/** `plainName` within FSI and PDI (UAX #9), so that a right-to-left name does not reorder the text around it. */
export function isolated(name: string): string {
  return `\u2068${plainName(name)}\u2069`
}

type Child = Node | string | undefined

/** Creates an element with attributes and children. The value true sets an empty attribute; false and undefined set none. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | boolean | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, '')
    else if (typeof value === 'string') node.setAttribute(name, value)
  }
  for (const child of children) if (child !== undefined) node.append(child)
  return node
}

/** Attaches a shadow root with the shared style sheet. */
export function shadowOf(host: HTMLElement): ShadowRoot {
  const root = host.attachShadow({ mode: 'open', delegatesFocus: true })
  root.adoptedStyleSheets = [sheet()]
  return root
}

let shared: CSSStyleSheet | undefined

/** A constructed style sheet, because a strict CSP forbids inline styles. */
function sheet(): CSSStyleSheet {
  if (shared === undefined) {
    shared = new CSSStyleSheet()
    shared.replaceSync(css)
  }
  return shared
}

/** Every colour and length that a site may want to change is a custom property. */
const css = `
:host {
  color-scheme: light dark;
  display: block;
  font: inherit;
  color: var(--webtoki-text, light-dark(#16202c, #e8edf3));
  overflow-wrap: anywhere;
}
:host([hidden]), [hidden] { display: none !important }
* { box-sizing: border-box; font: inherit }
p, ul, h2, fieldset, legend { margin: 0; padding: 0; border: 0 }
ul { list-style: none }
legend { padding-block-end: .5rem }
strong { font-weight: 600 }
.stack { display: grid; grid-template-columns: minmax(0, 1fr); gap: .75rem }
.muted { color: var(--webtoki-muted, light-dark(#526070, #9fb0c2)) }
.small { font-size: .875em }
.danger { color: var(--webtoki-danger, light-dark(#b3261e, #ffb4ab)) }
.row { display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: center }
.row:not(:has(> :not([hidden]))), p:empty, div:empty { display: none }
.check { display: flex; gap: .75rem; align-items: baseline }
.item {
  display: flex; gap: .75rem; align-items: flex-start; width: 100%; text-align: start;
  padding: .75rem 1rem; border: 1px solid var(--webtoki-line, light-dark(#d6dee8, #33414f));
  border-radius: var(--webtoki-radius, .625rem);
  background: var(--webtoki-surface, light-dark(#fff, #17212b));
}
.choices { max-block-size: min(32rem, 70vh); overflow: auto }
label.item { cursor: pointer }
label.item:has(:checked) {
  border-color: var(--webtoki-accent, light-dark(#0b57d0, #8ab4f8));
  box-shadow: inset 0 0 0 1px var(--webtoki-accent, light-dark(#0b57d0, #8ab4f8));
}
.dot { flex: none; inline-size: .625rem; block-size: .625rem; margin-block-start: .4em; border-radius: 50%;
  background: var(--webtoki-muted, light-dark(#8796a8, #66788b)) }
.row .dot { margin-block-start: 0 }
.row .dot + p { flex: 1 }
.dot.on { background: light-dark(#18794e, #5bd49a) }
.dot.bad { background: var(--webtoki-danger, light-dark(#b3261e, #ffb4ab)) }
button {
  padding: .5rem 1rem; border-radius: var(--webtoki-radius, .625rem); cursor: pointer;
  border: 1px solid var(--webtoki-line, light-dark(#b9c6d4, #46576a)); background: transparent; color: inherit;
}
button.primary {
  border-color: transparent; font-weight: 600;
  background: var(--webtoki-accent, light-dark(#0b57d0, #8ab4f8));
  color: var(--webtoki-on-accent, light-dark(#fff, #0a1420));
}
button:disabled { opacity: .55; cursor: default }
:focus-visible { outline: 3px solid var(--webtoki-focus, light-dark(#7cacf8, #a8c7fa)); outline-offset: 2px }
input[type=radio] { accent-color: var(--webtoki-accent, light-dark(#0b57d0, #8ab4f8)); margin-block-start: .35em }
input[type=password] {
  inline-size: 100%; padding: .625rem .75rem; font-size: 1.25em; letter-spacing: .3em; color: inherit;
  border: 1px solid var(--webtoki-line, light-dark(#8796a8, #66788b)); border-radius: .5rem;
  background: var(--webtoki-field, light-dark(#fff, #0f1720));
}
dialog {
  inline-size: min(24rem, calc(100vw - 2rem)); padding: clamp(1rem, 6vw, 1.5rem); color: inherit;
  border: 1px solid transparent; /* with forced colours, only the border separates the dialog from the page */
  border-radius: calc(var(--webtoki-radius, .625rem) * 1.6);
  background: var(--webtoki-surface, light-dark(#fff, #17212b));
  box-shadow: 0 1.5rem 4rem rgb(0 0 0 / .35);
}
dialog::backdrop { background: rgb(8 14 22 / .5) }
dialog h2 { font-size: 1.25em; font-weight: 650; outline: none }
dialog .row { justify-content: flex-end }
progress { inline-size: 100%; block-size: .5rem; accent-color: var(--webtoki-accent, light-dark(#0b57d0, #8ab4f8)) }
/* With forced colours, the marks differ by shape: a ring, a disc, a diamond. */
@media (forced-colors: active) {
  .dot { background: Canvas; border: 2px solid CanvasText }
  .dot.on { background: CanvasText }
  .dot.bad { background: CanvasText; border-radius: 0; rotate: 45deg }
  label.item:has(:checked) { border-color: Highlight; outline: 1px solid Highlight }
}
@media (prefers-reduced-motion: no-preference) {
  .working .dot { animation: pulse 1.2s ease-in-out infinite }
  @keyframes pulse { 50% { opacity: .3 } }
}
`
