/** Restores the focus if the element that had it was removed, hidden or disabled. */

/** The element outside the PIN dialog that had the focus last, and its ancestors; innermost first. */
let candidates: readonly HTMLElement[] = []

function remember(event: FocusEvent): void {
  const path = event
    .composedPath()
    .filter((node): node is HTMLElement => node instanceof HTMLElement && !node.contains(document.body))
  if (!path.some(({ localName }) => localName === 'webtoki-pin')) candidates = path
}

/** Starts to record the focus. Further calls do nothing, because the listener is the same. */
export function watchFocus(): void {
  addEventListener('focusin', remember, { capture: true, passive: true })
}

/**
 * If no element has the focus, focuses the one that had it last, or its nearest ancestor that is still visible. With the focus
 * on the body, screen readers and the Tab key would start again at the top of the page.
 */
export function keepFocus(): void {
  // A hidden or disabled element remains document.activeElement until the next frame.
  const isLost = (): boolean => {
    let active = document.activeElement
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement
    return (
      active === null || active === document.body || active.matches(':disabled') || !active.checkVisibility()
    )
  }
  for (const candidate of candidates) {
    if (!isLost()) return
    if (!candidate.isConnected || !candidate.checkVisibility()) continue
    candidate.focus({ preventScroll: true })
    if (!isLost() || candidate.hasAttribute('tabindex')) continue
    // Not focusable by itself: a temporary tabindex makes it so until it loses the focus.
    candidate.tabIndex = -1
    candidate.focus({ preventScroll: true })
    if (isLost()) candidate.removeAttribute('tabindex')
    else candidate.addEventListener('blur', () => candidate.removeAttribute('tabindex'), { once: true })
  }
}
