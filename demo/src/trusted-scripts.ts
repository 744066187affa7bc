/** The URLs of the page's two worker scripts. Its Trusted Types policy accepts no other URL. */
// oxlint-disable-next-line import/default -- the bundler makes this module, demo/src/vite.d.ts types it
import digestWorkerUrl from './digest-worker.ts?worker&url'

const serviceWorkerUrl = '/sw.js'

const policy = (
  globalThis as unknown as {
    trustedTypes?: {
      createPolicy(name: string, rules: object): { createScriptURL(url: string): string }
    }
  }
).trustedTypes?.createPolicy('webtoki-demo-worker', {
  createScriptURL: (url: string) => {
    if (url !== digestWorkerUrl && url !== serviceWorkerUrl)
      throw new TypeError(`'${url}' is not a script of this page.`)
    return url
  },
})

const trusted = (url: string): string => policy?.createScriptURL(url) ?? url

/** The worker that hashes documents. */
export const digestWorkerScript: string = trusted(digestWorkerUrl)

/** The service worker. */
export const serviceWorkerScript: string = trusted(serviceWorkerUrl)
