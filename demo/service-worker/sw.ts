/**
 * The service worker, which lets the page start and work while its site cannot be reached.
 *
 * It fetches the page itself from the site first, so each start shows the newest build. The names of all other files contain
 * the hash of their content, so a page always gets files of its own build, from the cache or from the site. The worker of a
 * new build waits until no page of the old build is open, which is the browser's default. Only then the old files are
 * deleted, so an open page never loses a file, and no page is reloaded during use. Requests to the relying party (/api) do
 * not pass through the worker.
 */
import { matchPrecache, precacheAndRoute } from 'workbox-precaching'

declare const self: ServiceWorkerGlobalScope & {
  readonly __WB_MANIFEST: readonly { readonly url: string; readonly revision: string | null }[]
}

/** After this time without a response the worker serves the cached page. */
const NAVIGATION_TIMEOUT_MS = 3000

// Claims the page of the first visit. Later workers are activated when no page is open, so there is nothing to claim.
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))

self.addEventListener('fetch', (event) => {
  const { mode, url } = event.request
  if (mode === 'navigate' && new URL(url).pathname === '/') event.respondWith(newestPage(event.request))
})

// With the default directoryIndex Workbox would also respond to '/', with the page of its own build.
precacheAndRoute([...self.__WB_MANIFEST], { directoryIndex: '' })

// Handles files of a newer build than this worker's. They are in the cache if the worker of that build is already waiting.
// Workbox stops the propagation of events that it handles.
self.addEventListener('fetch', (event) => {
  if (!new URL(event.request.url).pathname.startsWith('/assets/')) return
  event.respondWith(caches.match(event.request).then((cached) => cached ?? fetch(event.request)))
})

async function newestPage(request: Request): Promise<Response> {
  const fromSite = fetch(request).then((response) => (response.ok ? response : undefined))
  const timeout = new Promise<undefined>((resolve) => {
    setTimeout(() => resolve(undefined), NAVIGATION_TIMEOUT_MS)
  })
  const response = await Promise.race([fromSite, timeout]).catch(() => undefined)
  return response ?? (await matchPrecache('/index.html')) ?? fetch(request)
}
