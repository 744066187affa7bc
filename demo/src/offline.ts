/** The page without its site: its service worker. */
import { serviceWorkerScript } from './trusted-scripts.ts'

/**
 * Lets the service worker keep the page, once the page itself has loaded. An isolated app is installed whole and needs
 * none. If the browser keeps nothing (a private window, storage refused), the page works as long as its site does.
 */
export function keepForOffline(): void {
  if (!('serviceWorker' in navigator) || location.protocol === 'isolated-app:') return
  addEventListener('load', () => {
    navigator.serviceWorker.register(serviceWorkerScript, { updateViaCache: 'none' }).catch(() => {})
  })
}
