/** Keeps the keyboard somewhere: what had the focus may be gone or disabled when it should have it again. */

/** The element that had the focus last outside of our dialogs, and those around it, the innermost first. */
let places: readonly HTMLElement[] = []

function hear(event: FocusEvent): void {
  const path = event
    .composedPath()
    .filter((node): node is HTMLElement => node instanceof HTMLElement && !node.contains(document.body))
  if (!path.some(({ localName }) => localName === 'webtoki-pin')) places = path
}

/** Listens from now on; calling it again does nothing. */
export function watchFocus(): void {
  addEventListener('focusin', hear, { capture: true, passive: true })
}

/**
 * If nothing has the focus any more, gives it to what had it last, or to the nearest element around it that is still there:
 * from the body a screen reader would begin the page again, and so would Tab.
 */
export function keepFocus(): void {
  // What was hidden or disabled has the focus until the next frame.
  const isNowhere = (): boolean => {
    let at = document.activeElement
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
    return at === null || at === document.body || at.matches(':disabled') || !at.checkVisibility()
  }
  for (const place of places) {
    if (!isNowhere()) return
    if (!place.isConnected || !place.checkVisibility()) continue
    place.focus({ preventScroll: true })
    if (!isNowhere() || place.hasAttribute('tabindex')) continue
    // For this once, if it takes the focus by that.
    place.tabIndex = -1
    place.focus({ preventScroll: true })
    if (isNowhere()) place.removeAttribute('tabindex')
    else place.addEventListener('blur', () => place.removeAttribute('tabindex'), { once: true })
  }
}
