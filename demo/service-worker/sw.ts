/**
 * The service worker: the page starts and works without its site.
 *
 * The page itself is asked of the site first, so that each start shows the newest build; what it loads has the hash of its
 * content in its name, so that a page only ever gets parts of its own build, from here or from the site. A new build's
 * worker waits until no page of the old one is open (the browser's rule, which is not overridden), and only then are the
 * old parts deleted: an open page never loses any, and nothing reloads under a person's hands. What the page asks its
 * relying party (/api) goes past the worker.
 */
import { matchPrecache, precacheAndRoute } from 'workbox-precaching'

declare const self: ServiceWorkerGlobalScope & {
  readonly __WB_MANIFEST: readonly { readonly url: string; readonly revision: string | null }[]
}

/** A site that takes longer is not waited for: the page that was kept is here at once. */
const PATIENCE_MS = 3000

// The first visit's page is served from now on; later workers begin when no page is open, and find nobody to claim.
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))

self.addEventListener('fetch', (event) => {
  const { mode, url } = event.request
  if (mode === 'navigate' && new URL(url).pathname === '/') event.respondWith(newestPage(event.request))
})

// Without directoryIndex it would answer for '/' too, with the page of its own build.
precacheAndRoute([...self.__WB_MANIFEST], { directoryIndex: '' })

// A page of a newer build than this worker's: its parts are here already if its own worker waits. Workbox stops the event
// if it answers.
self.addEventListener('fetch', (event) => {
  if (!new URL(event.request.url).pathname.startsWith('/assets/')) return
  event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)))
})

async function newestPage(request: Request): Promise<Response> {
  const fromSite = fetch(request).then((answer) => (answer.ok ? answer : undefined))
  const patience = new Promise<undefined>((resolve) => {
    setTimeout(() => resolve(undefined), PATIENCE_MS)
  })
  const answer = await Promise.race([fromSite, patience]).catch(() => undefined)
  return answer ?? (await matchPrecache('/index.html')) ?? fetch(request)
}
