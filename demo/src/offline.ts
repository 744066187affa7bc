/** Registers the service worker, which lets the page start while its site cannot be reached. */
import { serviceWorkerScript } from './trusted-scripts.ts'

/**
 * Registers the service worker after the page has loaded. An isolated app needs none, because it is installed completely. If
 * the registration fails, as in a private window, the page works only while its site can be reached.
 */
export function keepForOffline(): void {
  if (!('serviceWorker' in navigator) || location.protocol === 'isolated-app:') return
  addEventListener('load', () => {
    navigator.serviceWorker.register(serviceWorkerScript, { updateViaCache: 'none' }).catch(() => {})
  })
}
