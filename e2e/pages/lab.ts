/** The lab page: gives a test the packages in a real browser, without the demo. */
import { ccidSlots } from '@webtoki/ccid'
import { Cryptoki } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import * as ui from '@webtoki/ui'
import { firstValueFrom } from 'rxjs'
import { Webtoki } from 'webtoki'

/** The global `lab`. */
export interface Lab {
  readonly ccidSlots: typeof ccidSlots
  readonly Cryptoki: typeof Cryptoki
  readonly pivDriver: typeof pivDriver
  readonly firstValueFrom: typeof firstValueFrom
  readonly ui: typeof ui
  readonly Webtoki: typeof Webtoki
  /** Loads the virtual readers and cards, for pages without a USB bus. */
  simulator(): Promise<typeof import('@webtoki/simulator')>
  readonly documents: () => Promise<typeof import('@webtoki/documents')>
  /** Logs in with that PIN in a dedicated worker. Resolves to the login token. */
  loginInWorker(nonce: string, pin: string): Promise<string>
}

const lab: Lab = {
  ccidSlots,
  Cryptoki,
  pivDriver,
  firstValueFrom,
  ui,
  Webtoki,
  simulator: () => import('@webtoki/simulator'),
  documents: () => import('@webtoki/documents'),
  loginInWorker: (nonce, pin) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./login-worker.ts', import.meta.url), { type: 'module' })
      worker.onerror = (event) => reject(new Error(event.message))
      worker.onmessage = ({ data }: MessageEvent<{ token: string } | { error: string }>) => {
        worker.terminate()
        if ('token' in data) resolve(data.token)
        else reject(new Error(data.error))
      }
      worker.postMessage({ nonce, pin })
    }),
}

Object.assign(globalThis, { lab })
document.documentElement.dataset['ready'] = ''
