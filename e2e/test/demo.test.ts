/** Tests the demo as a person uses it, with its virtual reader. */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { demoCa } from '@webtoki/simulator'
import type { FileChooser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { chromiumPath, Demo, type DemoPage } from './demo.ts'

const missing = whatIsMissing([chromiumPath, 'openssl'])
if (missing !== undefined) console.warn(`The tests of the demo are skipped: ${missing}.`)

let demo: Demo
beforeAll(async () => {
  demo = await Demo.start()
})
afterAll(() => demo?.stop())

const letter = new TextEncoder().encode('Dear reader,\nthis is to be signed.\n')

/** Runs a test on a new page, which must have no errors and no violations of its policy. */
async function story(
  run: (page: DemoPage) => Promise<void>,
  reader: 'virtual' | 'none' = 'virtual',
): Promise<void> {
  const page = await demo.page(reader)
  try {
    await run(page)
    expect(page.complaints).toEqual([])
  } finally {
    await page.close()
  }
}

/** Verifies a downloaded signature with OpenSSL; throws if it is not valid. */
function openssl(signature: string, document: Uint8Array, ...options: string[]): string {
  const [ca, content] = [join(demo.folder, 'ca.pem'), join(demo.folder, 'content')]
  writeFileSync(ca, demoCa.pem)
  writeFileSync(content, document)
  const args = ['cms', '-verify', '-binary', '-inform', 'DER', '-in', signature, '-content', content]
  return execFileSync(
    'openssl',
    [...args, '-CAfile', ca, '-purpose', 'any', '-out', '/dev/null', ...options],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
}

describe.skipIf(missing !== undefined)('logging in', () => {
  it('shows the person’s name after they have entered the PIN', () =>
    story(async (page) => {
      await page.card('not verified, 3 attempts left (63C3)')
      await page.logIn()
      await page.login('You are logged in')
      expect(await page.page.locator('#who-name').innerText()).toBe('Ada Lovelace (demo)')
      await page.card('PIN verified (9000)')
    }))

  it('ends at the card too when the person logs out, as an empty VERIFY shows', () =>
    story(async (page) => {
      await page.logIn()
      await page.login('You are logged in')
      await page.page.getByRole('button', { name: 'Log out' }).click()
      await page.card('not verified, 3 attempts left (63C3)')
      await page.page.locator('#who').waitFor({ state: 'hidden' })
    }))

  it('logs out the card even if the site cannot be reached, and says that the site is still logged in', () =>
    story(async (page) => {
      await page.logIn()
      await page.login('You are logged in')
      await page.page.route('**/api/logout', (route) => route.abort())
      await page.page.getByRole('button', { name: 'Log out' }).click()
      await page.login(
        'Your card is logged out, but you are still logged in at the site. The site is not responding.',
      )
      await page.card('not verified, 3 attempts left (63C3)')
      await page.page.unroute('**/api/logout')
      await page.page.getByRole('button', { name: 'Log out' }).click()
      await page.login('You are logged out, and your card is logged out too')
      expect(await page.page.locator('#who').isVisible()).toBe(false)
    }))

  it('survives a reload of the page, which shows who is logged in and lets them log out', () =>
    story(async (page) => {
      await page.logIn()
      await page.login('You are logged in')
      await page.page.reload()
      await page.page.locator('#who').getByText('Ada Lovelace (demo)').waitFor()
      await page.page.getByRole('button', { name: 'Log out' }).click()
      await page.login('You are logged out')
      const [response] = await Promise.all([page.page.waitForResponse('**/api/person'), page.page.reload()])
      expect(await response.json()).toEqual({ identity: null })
      expect(await page.page.locator('#who').isVisible()).toBe(false)
    }))

  it('with a wrong PIN uses exactly one attempt and shows how many are left; the right PIN works', () =>
    story(async (page) => {
      await page.logIn('654321')
      await page.login('That PIN was wrong. 2 attempts left.')
      await page.card('not verified, 2 attempts left (63C2)')
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.pin.waitFor()
      await page.page.locator('#tries').getByText('That PIN was wrong. 2 attempts left.').waitFor()
      await page.enterPin('123456')
      await page.login('You are logged in')
    }))

  it('with a PIN that is too short uses no attempt, and neither does cancelling', () =>
    story(async (page) => {
      await page.logIn('123')
      await page.page.getByRole('alert').getByText('Enter 6 to 8 digits.').waitFor()
      await page.page.keyboard.press('Escape')
      await page.login('Cancelled. Nothing was signed.')
      await page.card('3 attempts left')
    }))

  it('requires a confirmation for the last attempt, and reports a blocked PIN', () =>
    story(async (page) => {
      for (const left of ['2 attempts left', '1 attempt left']) {
        await page.logIn('654321')
        await page.card(left)
      }
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.page.getByText('Only 1 attempt is left.').waitFor()
      await page.enterPin('654321')
      expect(await page.pin.isVisible()).toBe(true)
      await page.card('1 attempt left')
      await page.page.getByLabel('I am sure of my PIN').check()
      await page.page.getByRole('button', { name: 'Confirm' }).click()
      await page.login('The PIN is blocked.')
      await page.card('PIN blocked (6983)')
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.login('The PIN is blocked.')
      expect(await page.pin.isVisible()).toBe(false)
    }))

  it('asks for touch if the card requires it, and continues when the card is touched', () =>
    story(async (page) => {
      await page.page.getByLabel('Card requires touch').check()
      await page.logIn()
      await page.login('Touch your security key')
      await page.page.getByRole('button', { name: 'Touch the card' }).click()
      await page.login('You are logged in')
    }))

  it('does not offer the certificates of a removed reader while those of the next one are read', () =>
    story(async (page) => {
      await page.page.getByLabel('Slow card').check()
      await page.page.getByLabel('Reader with a PIN pad').check()
      await page.page.locator('webtoki-readers').getByText('SmartTerminal ST-2xxx').waitFor()
      expect(await page.page.locator('#log-in').isDisabled()).toBe(true)
      await page.ready()
    }))

  it('takes the PIN on the reader’s PIN pad, and the page shows no PIN field', () =>
    story(async (page) => {
      await page.page.getByLabel('Reader with a PIN pad').check()
      await page.page.locator('webtoki-readers').getByText('SmartTerminal ST-2xxx').waitFor()
      await page.ready()
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.login('Enter your PIN on the reader')
      expect(await page.pin.isVisible()).toBe(false)
      await page.page.getByRole('button', { name: 'Cancel on the PIN pad' }).click()
      await page.login('You cancelled on the reader. Nothing was signed.')
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.page.getByRole('button', { name: 'Enter the PIN on the PIN pad' }).click()
      await page.login('You are logged in')
      await page.card('PIN verified (9000)')
    }))

  it('reports a site that cannot be reached, without a request for the PIN', () =>
    story(async (page) => {
      await page.page.route('**/api/nonce', (route) => route.abort())
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.login('The site is not responding.')
      expect(await page.pin.isVisible()).toBe(false)
      await page.page.unroute('**/api/nonce')
      await page.page.route('**/api/login', (route) => route.abort())
      await page.logIn()
      await page.login('The site is not responding.')
      await page.page.unroute('**/api/login')
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.login('You are logged in')
    }))

  it('reports a site that never responds to a request after the time-out', () =>
    story(async (page) => {
      // Shortens the page's time-outs to a thirtieth.
      await page.page.evaluate(() => {
        const timeout = AbortSignal.timeout.bind(AbortSignal)
        AbortSignal.timeout = (delayMs) => timeout(delayMs / 30)
      })
      let requests = 0
      await page.page.route('**/api/nonce', () => {
        requests++
      })
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.login('The site is not responding.')
      expect(requests).toBe(1)
      expect(await page.pin.isVisible()).toBe(false)
      await page.page.unroute('**/api/nonce')
      await page.logIn()
      await page.login('You are logged in')
    }))
})

describe.skipIf(missing !== undefined)('signing a document', () => {
  /** Drops a file or folder on the centre of an element. */
  async function dropOn({ page }: DemoPage, place: string, path: string): Promise<void> {
    const box = await page.locator(place).boundingBox()
    if (box === null) throw new Error(`There is no ${place} to drop a file on.`)
    const devtools = await page.context().newCDPSession(page)
    const data = { items: [], files: [path], dragOperationsMask: 1 }
    for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
      await devtools.send('Input.dispatchDragEvent', {
        type,
        x: box.x + box.width / 2,
        y: box.y + box.height / 2,
        data,
      })
  }

  it('refuses a folder that is dropped on the page', () =>
    story(async (page) => {
      await dropOn(page, '#drop', demo.folder)
      await page.signing('This is a folder.')
    }))

  it('ignores a file that is dropped outside the drop area, which would otherwise replace the page', () =>
    story(async (page) => {
      const path = join(demo.folder, 'letter.txt')
      writeFileSync(path, letter)
      await page.page.evaluate(() => {
        const dropped = new Promise((resolve) => {
          document.addEventListener('drop', (event) => setTimeout(() => resolve(event.defaultPrevented)))
        })
        Object.assign(globalThis, { dropped })
      })
      await dropOn(page, '#login-title', path)
      const { dropped } = await page.page.evaluate(async () => ({
        dropped: await (globalThis as unknown as { dropped: Promise<boolean> }).dropped,
      }))
      expect(dropped).toBe(true)
      expect(page.page.context().pages()).toHaveLength(1)
      await dropOn(page, '#drop', path)
      await page.page.getByText('letter.txt (').waitFor()
    }))

  it('reports a file that was deleted before it was read', () =>
    story(async (page) => {
      const path = join(demo.folder, 'vanishing.txt')
      writeFileSync(path, letter)
      await page.page.setInputFiles('#file', path)
      rmSync(path)
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.signing('could not be read')
      expect(await page.pin.isVisible()).toBe(false)
    }))

  it('reports a file that changed after it was chosen, and accepts it when it is chosen again', () =>
    story(async (page) => {
      const path = join(demo.folder, 'changing.txt')
      writeFileSync(path, letter)
      await page.page.setInputFiles('#file', path)
      await page.page.getByText(`changing.txt (${letter.length} bytes)`).waitFor()
      writeFileSync(path, letter.slice(1))
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.signing('could not be read')
      const [chooser] = await Promise.all([
        page.page.waitForEvent('filechooser'),
        page.page.locator('#file').click(),
      ])
      await chooser.setFiles(path)
      await page.page.getByText(`changing.txt (${letter.length - 1} bytes)`).waitFor()
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      openssl(await page.download(demo.folder), letter.slice(1))
    }))

  it('creates a .p7s that OpenSSL verifies, and rejects for another document', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      expect(await page.page.locator('#verification').innerText()).toMatch(
        /Signature\s+valid[\s\S]*Issuer\s+trusted/,
      )
      const path = await page.download(demo.folder)
      expect(path.endsWith('letter.txt.p7s')).toBe(true)
      openssl(path, letter)
      openssl(path, letter, '-cades')
      expect(() => openssl(path, letter.slice(1))).toThrow('Command failed')
    }))

  it('does not show "Done" before the signature is verified', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      await page.page.evaluate(() => {
        const progress = document.getElementById('sign-progress')?.shadowRoot as ShadowRoot
        const shown: string[] = []
        Object.assign(globalThis, { shown })
        new MutationObserver(() => shown.push(progress.textContent ?? '')).observe(progress, {
          childList: true,
          characterData: true,
          subtree: true,
        })
      })
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      const shown = await page.page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown)
      expect(shown).not.toContain('Done')
      expect(shown.slice(-2)).toEqual(['Checking the signature', 'Signed'])
    }))

  it('signs an empty file', () =>
    story(async (page) => {
      await page.choose('empty.txt', new Uint8Array(0))
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      openssl(await page.download(demo.folder), new Uint8Array(0))
    }))

  it('reports a card that is removed meanwhile, and signs after it is inserted again', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      // The card waits for touch during the signature.
      await page.page.getByLabel('Card requires touch').check()
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Touch your security key')
      await page.page.getByRole('button', { name: 'Remove the card' }).click()
      await page.signing('The card or the reader was removed.')
      expect((await page.activity()).at(-1)).toMatch(/Sign cryptoki\/device-removed$/)
      await page.page.getByLabel('Card requires touch').uncheck()
      await page.page.getByRole('button', { name: 'Insert the card' }).click()
      await page.ready()
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      openssl(await page.download(demo.folder), letter)
    }))

  it('reports a reader that is unplugged meanwhile, and signs after it is plugged in again', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      // The card waits for touch during the signature.
      await page.page.getByLabel('Card requires touch').check()
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Touch your security key')
      await page.page.getByRole('button', { name: 'Unplug the reader' }).click()
      await page.signing('The reader was unplugged.')
      await page.page.locator('webtoki-readers').getByText('No reader is connected.').waitFor()
      await page.page.getByLabel('Card requires touch').uncheck()
      await page.page.getByRole('button', { name: 'Plug in the reader' }).click()
      await page.ready()
      await page.logIn()
      await page.login('You are logged in')
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      openssl(await page.download(demo.folder), letter)
    }))

  it('shows that a slow card is working, and signs', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      await page.page.getByLabel('Slow card').check()
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('The card is working')
      await page.page.getByLabel('Slow card').uncheck()
      await page.signing('Signed')
    }))

  it('starts one operation after a double click on Sign', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      await page.page.getByRole('button', { name: 'Sign', exact: true }).dblclick()
      await page.enterPin('123456')
      await page.signing('Signed')
      const started = (await page.activity()).filter((line) => line.endsWith('Sign started'))
      expect(started).toHaveLength(1)
    }))

  it('is refused with CKR_OPERATION_ACTIVE during a login, and the login completes', () =>
    story(async (page) => {
      await page.choose('letter.txt', letter)
      await page.page.getByLabel('Card requires touch').check()
      await page.logIn()
      await page.login('Touch your security key')
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.signing('The card is still busy with something you started.')
      await page.page.getByRole('button', { name: 'Touch the card' }).click()
      await page.login('You are logged in')
      const lines = await page.activity()
      expect(lines.some((line) => line.endsWith('Sign cryptoki/operation-active'))).toBe(true)
      expect(lines.some((line) => line.endsWith('Log in done'))).toBe(true)
    }))
})

describe.skipIf(missing !== undefined)('the page of the demo', () => {
  it('reports that no reader was chosen, and lets the person choose again', () =>
    story(async (page) => {
      // A headless browser has no chooser. This is the browser's error if a person cancels it.
      await page.page.evaluate(() => {
        navigator.usb.requestDevice = () =>
          Promise.reject(new DOMException('No device selected.', 'NotFoundError'))
      })
      await page.page.getByRole('button', { name: 'Connect a reader' }).click()
      await page.page.getByText('No reader was chosen.').waitFor()
      await page.page.getByRole('button', { name: 'Use the virtual reader' }).click()
      await page.ready()
    }, 'none'))

  it('shows the PIN status of a card that is inserted again, and none without power', () =>
    story(async (page) => {
      const status = () => page.page.locator('#card-state').textContent()
      await page.logIn()
      await page.card('PIN verified (9000)')
      await page.page.getByRole('button', { name: 'Unplug the reader' }).click()
      await expect.poll(status).toBe('')
      await page.page.getByRole('button', { name: 'Plug in the reader' }).click()
      await page.card('not verified, 3 attempts left (63C3)')
      await page.page.getByRole('button', { name: 'Remove the card' }).click()
      await page.card('No card in the reader.')
      await page.page.getByRole('button', { name: 'Insert the card' }).click()
      await page.card('not verified, 3 attempts left (63C3)')
      await page.page.getByLabel('Reader with a PIN pad').check()
      await page.page.locator('webtoki-readers').getByText('SmartTerminal ST-2xxx').waitFor()
      await page.card('not verified, 3 attempts left (63C3)')
    }))

  it('says why a card could not be read, and shows no list of certificates for it', () =>
    story(async (page) => {
      await page.page.getByRole('button', { name: 'Remove the card' }).click()
      await page.page.locator('#log-in:disabled').waitFor()
      await page.page.evaluate(() => {
        const { webtoki } = document.getElementById('readers') as unknown as { webtoki: object }
        Object.assign(webtoki, {
          certificates: () =>
            Promise.reject(Object.assign(new Error(), { code: 'cryptoki/token-not-recognized' })),
        })
      })
      await page.page.getByRole('button', { name: 'Insert the card' }).click()
      await page.page.locator('#reader-note').getByText('This card cannot be used here').waitFor()
      expect(await page.page.locator('webtoki-certificates:visible').count()).toBe(0)
      await page.page.evaluate(() => {
        const { webtoki } = document.getElementById('readers') as unknown as { webtoki: object }
        Reflect.deleteProperty(webtoki, 'certificates')
      })
      await page.page.getByRole('button', { name: 'Remove the card' }).click()
      await expect.poll(() => page.page.locator('#reader-note').isVisible()).toBe(false)
      await page.page.getByRole('button', { name: 'Insert the card' }).click()
      await page.ready()
    }))

  it('hides the lists of certificates while no card is inserted', () =>
    story(async (page) => {
      const lists = page.page.locator('webtoki-certificates')
      const shown = () =>
        lists.evaluateAll((all) => all.filter((each) => each.checkVisibility()).map((each) => each.id))
      expect(await shown()).toEqual(['login-certificates', 'sign-certificates'])
      for (const [away, back] of [
        ['Remove the card', 'Insert the card'],
        ['Unplug the reader', 'Plug in the reader'],
      ] as const) {
        await page.page.getByRole('button', { name: away }).click()
        await page.page.locator('#log-in:disabled').waitFor()
        expect(await shown()).toEqual([])
        await page.page.getByRole('button', { name: back }).click()
        await page.ready()
        expect(await shown()).toHaveLength(2)
      }
    }))

  it('starts one virtual reader after a double click on its button', () =>
    story(async (page) => {
      const count = () =>
        page.page.evaluate(() => (document.getElementById('readers') as unknown as { starts: number }).starts)
      await page.page.evaluate(() => {
        const readers = document.getElementById('readers') as HTMLElement & { starts: number }
        const prototype = Object.getPrototypeOf(readers) as object
        readers.starts = 0
        Object.defineProperty(readers, 'webtoki', {
          get: () => Reflect.get(prototype, 'webtoki', readers) as unknown,
          set: (value) => {
            readers.starts++
            Reflect.set(prototype, 'webtoki', value, readers)
          },
        })
      })
      await page.page.getByRole('button', { name: 'Use the virtual reader' }).dblclick()
      await page.ready()
      expect(await count()).toBe(1)
    }, 'none'))

  it('can be used with the keyboard only, from the reader to the login and the downloaded signature', () =>
    story(async (page) => {
      const { keyboard } = page.page
      // Registered before the file chooser opens. Otherwise Chromium does not report the chooser, and it stays open.
      const chosen = new Promise<FileChooser>((resolve) => void page.page.once('filechooser', resolve))
      await page.page.locator('#use-virtual').focus()
      await keyboard.press('Enter')
      await page.ready()
      const tabTo = async (id: string): Promise<void> => {
        for (let presses = 0; presses < 30; presses++) {
          if (await page.page.evaluate((each) => document.activeElement?.id === each, id)) return
          await keyboard.press('Tab')
        }
        throw new Error(`Tab does not reach #${id}.`)
      }
      const typePin = async (): Promise<void> => {
        await page.pin.waitFor()
        await keyboard.type('123456')
        await page.submitPin()
      }
      await tabTo('log-in')
      await keyboard.press('Enter')
      await typePin()
      await page.login('You are logged in')
      await tabTo('file')
      await keyboard.press('Enter')
      const chooser = await chosen
      await chooser.setFiles({ name: 'letter.txt', mimeType: 'text/plain', buffer: Buffer.from(letter) })
      await page.page.locator('#sign:enabled').waitFor()
      await tabTo('sign')
      await keyboard.press('Enter')
      await typePin()
      await page.signing('Signed')
      await tabTo('download')
      const [file] = await Promise.all([page.page.waitForEvent('download'), keyboard.press('Enter')])
      const path = join(demo.folder, file.suggestedFilename())
      await file.saveAs(path)
      openssl(path, letter)
    }, 'none'))

  it('is never wider than a narrow phone, even with long names', () =>
    story(async (page) => {
      await page.page.setViewportSize({ width: 320, height: 640 })
      await page.choose(`${'long-'.repeat(40)}name.pdf`, letter)
      await page.page.evaluate(() => {
        for (const id of ['login-certificates', 'sign-certificates']) {
          const list = document.getElementById(id) as unknown as { certificates: { subject: string }[] }
          list.certificates = list.certificates.map((each) => ({ ...each, subject: 'Wolfe'.repeat(30) }))
        }
      })
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      const tooWide = await page.page.evaluate(() => {
        const roots = [
          document,
          ...[...document.querySelectorAll('*')].flatMap((each) => each.shadowRoot ?? []),
        ]
        return roots
          .flatMap((root) => [...root.querySelectorAll('*')])
          .filter((each) => each.getBoundingClientRect().right > innerWidth || each.scrollWidth > innerWidth)
          .map(({ localName, id }) => `${localName}#${id}`)
      })
      expect(tooWide).toEqual([])
    }))

  it('isolates names in right-to-left text or with bidi control characters from the text around them', () =>
    story(async (page) => {
      /** True if the last part of an element's text is displayed to the right of all text before it. */
      const isLast = (id: string, part: string) =>
        page.page.locator(`#${id}`).evaluate((element, end) => {
          const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
          const characters: { x: number; at: number }[] = []
          for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
            for (let at = 0; at < (node.textContent ?? '').length; at++) {
              const range = document.createRange()
              range.setStart(node, at)
              range.setEnd(node, at + 1)
              characters.push({ x: range.getBoundingClientRect().x, at: characters.length })
            }
          }
          const first = characters.length - end.length
          const before = characters.filter(({ at }) => at < first).map(({ x }) => x)
          return characters.filter(({ at }) => at >= first).every(({ x }) => x >= Math.max(...before))
        }, part)
      for (const name of ['מסמך', '\u202Efdp.a', '\u2069\u202Efdp.b']) {
        await page.choose(name, letter)
        expect(await isLast('file-name', `(${letter.length} bytes)`)).toBe(true)
      }
      await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
      await page.enterPin('123456')
      await page.signing('Signed')
      expect(await isLast('download', '.p7s')).toBe(true)
      await page.page.evaluate(() => {
        const dialog = document.getElementById('pin') as unknown as { ask(request: object): Promise<unknown> }
        const { signal } = new AbortController()
        const limits = { minBytes: 6, maxBytes: 8, alphabet: 'digits' }
        const names = { label: '\u2069\u202Eada', for: '\u2069\u202Eshop' }
        void dialog.ask({ purpose: 'login', ...names, ...limits, lastTry: false, signal })
      })
      await page.pin.waitFor()
      expect(await isLast('why', 'needs your PIN.')).toBe(true)
    }))

  it('shows the label of the last attempt next to its checkbox, even on a narrow phone', () =>
    story(async (page) => {
      await page.page.setViewportSize({ width: 320, height: 640 })
      for (const left of ['2 attempts left', '1 attempt left']) {
        await page.logIn('654321')
        await page.card(left)
      }
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      const box = await page.page.getByLabel('I am sure of my PIN').boundingBox()
      const label = await page.page.locator('label', { hasText: 'I am sure of my PIN' }).boundingBox()
      const field = await page.pin.boundingBox()
      expect(box?.x).toBeCloseTo(field?.x ?? 0, -1)
      expect(label?.height).toBeLessThan(60)
    }))

  it.each([320, 640, 1280])('shows all text at twice its size in a window of %s pixels', (width) =>
    story(async (page) => {
      await page.page.setViewportSize({ width, height: 720 })
      await page.page.evaluate(() => {
        document.documentElement.style.fontSize = '200%'
      })
      await page.choose(`${'a-long-name-of-a-document-'.repeat(4)}.txt`, letter)
      /** Returns the elements that extend beyond the sides of the page or are cut off. */
      const outside = () =>
        page.page.evaluate(() => {
          const all = [...document.querySelectorAll('body *')].flatMap((element) => [
            element,
            ...(element.shadowRoot?.querySelectorAll('*') ?? []),
          ])
          return all
            .filter((element) => element.checkVisibility() && element.getClientRects().length > 0)
            .filter((element) => {
              const { left, right } = element.getBoundingClientRect()
              const isCut = getComputedStyle(element).overflowX !== 'visible'
              return (
                left < 0 || right > innerWidth + 0.5 || (isCut && element.scrollWidth > element.clientWidth)
              )
            })
            .map(({ tagName, id, className }) => `${tagName}#${id}.${className}`)
        })
      expect(await outside()).toEqual([])
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.pin.waitFor()
      expect(await outside()).toEqual([])
    }),
  )

  it('links to the licences of what is bundled in page, workers and service worker', () =>
    story(async (page) => {
      await page.page.getByRole('link', { name: 'Third-party licences' }).click()
      const text = await page.page.locator('body').innerText()
      const named = [...text.matchAll(/^## (\S+) - (\S+) \((.+)\)$/gm)].map(([, name]) => name)
      expect(named).toEqual(
        expect.arrayContaining(['rxjs', '@noble/curves', 'hash-wasm', 'workbox-precaching']),
      )
      expect(text.match(/Permission is hereby granted/g)?.length).toBeGreaterThan(3)
    }))

  it('lets the keyboard scroll the activity', () =>
    story(async (page) => {
      await page.page.setViewportSize({ width: 1280, height: 720 })
      for (let times = 0; times < 3; times++) {
        await page.logIn()
        await page.login('You are logged in')
        await page.page.getByRole('button', { name: 'Log out' }).click()
        await page.login('You are logged out')
      }
      const panel = page.page.getByRole('group', { name: 'Activity' })
      await panel.focus()
      await page.page.keyboard.press('End')
      await expect.poll(() => panel.evaluate(({ scrollTop }) => scrollTop)).toBeGreaterThan(0)
    }))

  it('shows a border around the PIN dialog with forced colours', () =>
    story(async (page) => {
      await page.page.emulateMedia({ forcedColors: 'active' })
      await page.page.getByRole('button', { name: 'Log in with your card' }).click()
      await page.pin.waitFor()
      const edge = await page.page.locator('webtoki-pin dialog').evaluate((dialog) => {
        const { borderTopStyle, borderTopWidth, borderTopColor, backgroundColor } = getComputedStyle(dialog)
        return borderTopStyle === 'solid' && borderTopWidth !== '0px' && borderTopColor !== backgroundColor
      })
      expect(edge).toBe(true)
    }))

  it('keeps the focus on a useful element after each choice, error, login and logout', () =>
    story(async (page) => {
      const { keyboard } = page.page
      const waitForFocus = (id: string): Promise<void> =>
        expect.poll(() => page.page.evaluate(() => document.activeElement?.id)).toBe(id)
      const press = async (id: string): Promise<void> => {
        await page.page.locator(`#${id}`).focus()
        await keyboard.press('Enter')
      }
      const typePin = async (digits: string): Promise<void> => {
        await page.pin.waitFor()
        await keyboard.type(digits)
        await page.submitPin()
      }
      await press('use-virtual')
      await waitForFocus('reader-title')
      await page.ready()
      await press('log-in')
      await page.pin.waitFor()
      await keyboard.press('Escape')
      await page.login('Cancelled.')
      await waitForFocus('log-in')
      await keyboard.press('Enter')
      await typePin('654321')
      await page.login('That PIN was wrong.')
      await waitForFocus('log-in')
      await keyboard.press('Enter')
      await page.pin.waitFor()
      await page.page.locator('#reader-toggle').evaluate((button) => (button as HTMLButtonElement).click())
      await page.login('The reader was unplugged.')
      await waitForFocus('login-title')
      await page.page.locator('#reader-toggle').click()
      await page.ready()
      await press('log-in')
      await typePin('123456')
      await page.login('You are logged in')
      await waitForFocus('log-in')
      await press('log-out')
      await page.login('You are logged out')
      await waitForFocus('log-in')
      await page.choose('letter.txt', letter)
      await press('sign')
      await typePin('123456')
      await page.signing('Signed')
      await waitForFocus('sign')
    }, 'none'))

  it('does not run an injected inline script, and does not accept HTML from a string', async () => {
    const page = await demo.page('none')
    try {
      await page.page.route('**/*', async (route) => {
        if (route.request().resourceType() !== 'document') return route.fallback()
        const response = await route.fetch()
        const body = (await response.text()).replace(
          '</main>',
          '</main><script>document.title = "taken"</script>',
        )
        return route.fulfill({ response, body })
      })
      const response = await page.page.reload()
      await page.page.waitForSelector('html[data-ready]')
      const policy = (await response?.headerValue('content-security-policy')) ?? ''
      expect(policy.split('; ')).toEqual(
        expect.arrayContaining([
          "default-src 'none'",
          "script-src 'self' 'wasm-unsafe-eval'",
          "require-trusted-types-for 'script'",
          'trusted-types webtoki-demo-worker',
        ]),
      )
      expect(await page.page.content()).toContain('document.title = "taken"')
      expect(await page.page.title()).toBe('Webtoki demo')
      const refused = await page.page.evaluate(() => {
        try {
          document.body.innerHTML = '<p>taken</p>'
        } catch (error) {
          return (error as Error).name
        }
        return 'not refused'
      })
      expect(refused).toBe('TypeError')
      expect(page.complaints.join('\n')).toMatch(/inline script/)
      expect(page.complaints.join('\n')).toMatch(/TrustedHTML/)
    } finally {
      await page.close()
    }
  })

  it.each(['light', 'dark'] as const)('has no axe violations with the colour scheme %s', (colorScheme) =>
    story(async (page) => {
      await page.page.emulateMedia({ colorScheme })
      await page.choose('letter.txt', letter)
      await page.logIn()
      await page.login('You are logged in')
      const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
      await page.page.evaluate(axe)
      const violations = await page.page.evaluate(async () => {
        const { axe: loaded } = window as unknown as {
          axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
        }
        const { violations: found } = await loaded.run()
        return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
      })
      expect(violations).toEqual([])
    }),
  )
})
