/** Tests `<webtoki-pin>` with real keys and clicks: input for one request must never reach another. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { WebtokiPin } from '@webtoki/ui'
import type { PinRequest } from 'webtoki'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import type { Lab } from '../pages/lab.ts'
import { LabBrowser } from './lab-browser.ts'
import { chromiumPath } from './demo.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath])
if (missing !== undefined) console.warn(`The tests of the PIN dialog are skipped: ${missing}.`)

/** The time during which a new request ignores a submit, in milliseconds. */
const GUARD_MS = 500

/** Options of a request, in addition to the card's name. */
interface RequestOptions extends Partial<PinRequest> {
  /** The selector of the element; the first `webtoki-pin` by default. */
  readonly element?: string
}

/** The requests of a test, in the page. */
declare const requests: Record<string, { outcome: string; readonly abort: AbortController }>

describe.skipIf(missing !== undefined)('the PIN dialog', () => {
  let browser: LabBrowser
  let page: Page
  beforeAll(async () => {
    browser = await LabBrowser.start()
  })
  beforeEach(async () => {
    page = await browser.open(async (opened) => {
      opened.setDefaultTimeout(5000)
      // Timers, performance.now() and event times advance only when a test advances the clock.
      await opened.clock.install({ time: 0 })
    })
    await page.clock.pauseAt(60_000)
    await page.evaluate(() => {
      lab.ui.defineElements()
      Object.assign(globalThis, { requests: {} })
      const start = document.createElement('button')
      start.textContent = 'Start'
      document.body.append(start, document.createElement('textarea'), document.createElement('webtoki-pin'))
    })
  })
  afterEach(() => page.close())
  afterAll(() => browser?.stop())

  /** Requests the PIN of the card of that name. Its outcome is `pending`, `no`, the PIN, or the code of an error. */
  const request = (name: string, options: RequestOptions = {}): Promise<void> =>
    page.evaluate(
      ([card, { element = 'webtoki-pin', ...rest }]) => {
        const abort = new AbortController()
        const entry = { outcome: 'pending', abort }
        requests[card] = entry
        const { ask: source } = document.querySelector(element) as WebtokiPin
        source({
          purpose: 'login',
          label: card,
          attempt: 1,
          previousWasWrong: false,
          minBytes: 6,
          maxBytes: 8,
          alphabet: 'digits',
          lastTry: false,
          ...rest,
          signal: abort.signal,
        }).then(
          (reply) => {
            const pin = reply && new TextDecoder().decode(reply.pin)
            entry.outcome = reply === undefined ? 'no' : `${pin}${reply.acceptLastTry ? ', accepted' : ''}`
          },
          (error: { code?: string; name: string }) => {
            entry.outcome = error.code ?? error.name
          },
        )
      },
      [name, options] as const,
    )
  /** Returns the outcomes after all pending microtasks and events. */
  const outcomes = (): Promise<Record<string, string>> =>
    page.evaluate(async () => {
      await new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = resolve
        port2.postMessage(undefined)
      })
      return Object.fromEntries(Object.entries(requests).map(([name, { outcome }]) => [name, outcome]))
    })
  const abort = (name: string): Promise<void> => page.evaluate((card) => requests[card]?.abort.abort(), name)
  const dialog = () => page.getByRole('dialog')
  /** Waits until the dialog shows the request of that card. Names are between bidi isolates. */
  const shows = (name: string): Promise<void> =>
    dialog()
      .getByText(new RegExp(`${name}\\W? needs your PIN`))
      .waitFor()
  const field = () => page.getByLabel('PIN', { exact: true })
  const confirm = () => page.getByRole('button', { name: 'Confirm' })
  const settle = (): Promise<void> => page.clock.runFor(GUARD_MS)
  /** Returns the tag of the focused element, in the page or in the dialog. */
  const focus = (): Promise<string | undefined> =>
    page.evaluate(() => {
      const active = document.activeElement
      return (active?.shadowRoot?.activeElement ?? active)?.tagName.toLowerCase()
    })

  describe.each([
    ['Ada', 'Bob'],
    ['Bob', 'Ada'],
  ] as const)('with requests of two cards, %s first', (first, second) => {
    it('shows them in order, and digits typed for the first never reach the second', async () => {
      await request(first)
      await page.keyboard.type('11')
      await request(second)
      await shows(first)
      await page.keyboard.type('2233')
      await settle()
      await page.keyboard.press('Enter')
      expect(await outcomes()).toEqual({ [first]: '112233', [second]: 'pending' })
      await shows(second)
      expect(await field().inputValue()).toBe('')
      await page.keyboard.type('445566')
      await settle()
      await page.keyboard.press('Enter')
      expect(await outcomes()).toEqual({ [first]: '112233', [second]: '445566' })
      expect(await dialog().count()).toBe(0)
    })

    it('shows the second after the first is cancelled with the button or Escape', async () => {
      await request(first)
      await request(second)
      await page.getByRole('button', { name: 'Cancel' }).click()
      expect(await outcomes()).toEqual({ [first]: 'no', [second]: 'pending' })
      await shows(second)
      await page.keyboard.press('Escape')
      await expect.poll(outcomes).toEqual({ [first]: 'no', [second]: 'no' })
    })

    it('sends each PIN to its own card if two Webtoki objects share the element', async () => {
      await page.evaluate(
        async (names) => {
          const { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } = await lab.simulator()
          const { ask: pin } = document.querySelector('webtoki-pin') as WebtokiPin
          const cards = names.map((name) => {
            const own = name === 'Ada' ? '111111' : '222222'
            const card = createPivCard({ pin: own, guid: new Uint8Array(16).fill(own.charCodeAt(0)) })
            const reader = new VirtualCcidReader({ ...readerProfiles.dualiAbcm6, product: `of ${name}` })
            reader.insert(card)
            requests[name] = { outcome: 'pending', abort: new AbortController() }
            const webtoki = new lab.Webtoki({ pin, usb: virtualUsb([reader]) })
            webtoki.login('n'.repeat(44)).then(
              () => Object.assign(requests[name] ?? {}, { outcome: 'logged in' }),
              (error: { rvName: string }) => Object.assign(requests[name] ?? {}, { outcome: error.rvName }),
            )
            return card
          })
          Object.assign(globalThis, { cards })
        },
        [first, second] as const,
      )
      for (let count = 1; count <= 2; count++) {
        await field().waitFor()
        // Both cards have the same name, so the reader's name identifies the card.
        await page.keyboard.type((await dialog().innerText()).includes('of Ada') ? '111111' : '222222')
        await settle()
        await page.keyboard.press('Enter')
        const loggedIn = async () =>
          Object.values(await outcomes()).filter((outcome) => outcome === 'logged in').length
        await expect.poll(loggedIn).toBe(count)
      }
      const left = await page.evaluate(() => {
        const { cards } = globalThis as unknown as { cards: { pinTriesLeft: number }[] }
        return cards.map(({ pinTriesLeft }) => pinTriesLeft)
      })
      expect(left).toEqual([3, 3])
    })
  })

  it('ignores a submit in the first half second of a request, and keeps the typed digits', async () => {
    await request('Ada')
    await page.keyboard.type('123456')
    expect(await confirm().isDisabled()).toBe(true)
    await page.clock.runFor(GUARD_MS - 1)
    await page.keyboard.press('Enter')
    await page.evaluate(() => {
      document.querySelector('webtoki-pin')?.shadowRoot?.querySelector('form')?.requestSubmit()
    })
    expect(await outcomes()).toEqual({ Ada: 'pending' })
    await page.clock.runFor(1)
    expect(await confirm().isEnabled()).toBe(true)
    expect(await field().inputValue()).toBe('123456')
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456' })
  })

  it('ignores the second click of a double click for the next request', async () => {
    await request('Ada')
    await request('Bob', { lastTry: true })
    await page.keyboard.type('123456')
    await settle()
    await confirm().dblclick()
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await abort('Bob')
    await request('Cleo')
    await request('Dan')
    await page.getByRole('button', { name: 'Cancel' }).dblclick()
    expect(await outcomes()).toMatchObject({ Cleo: 'no', Dan: 'pending' })
  })

  it('treats a held Enter or Escape as one key press', async () => {
    await request('Ada')
    await request('Bob')
    await page.keyboard.type('123456')
    await settle()
    await page.keyboard.down('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await field().fill('654321')
    await settle()
    // `down` without `up` is a key repeat.
    await page.keyboard.down('Enter')
    await page.keyboard.down('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await page.keyboard.up('Enter')
    await request('Cleo')
    await page.keyboard.down('Escape')
    await expect.poll(outcomes).toMatchObject({ Bob: 'no', Cleo: 'pending' })
    await page.keyboard.down('Escape')
    await page.keyboard.down('Escape')
    await shows('Cleo')
    expect(await outcomes()).toMatchObject({ Cleo: 'pending' })
  })

  it('discards the rest of a PIN if its card is removed while the person types', async () => {
    await request('Ada')
    await request('Bob')
    await page.keyboard.type('12')
    await abort('Ada')
    await shows('Bob')
    for (const key of ['3', '4', '5', '6', '7', '8', 'Enter']) {
      await page.clock.runFor(GUARD_MS - 1)
      await page.keyboard.press(key)
    }
    expect(await field().inputValue()).toBe('')
    expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'pending' })
    // After a pause of half a second the field accepts keys for the new request.
    await settle()
    await page.keyboard.type('654321')
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: 'no', Bob: '654321' })
  })

  it('takes no key of a text that the person is typing in the page', async () => {
    await page.locator('textarea').focus()
    await page.keyboard.type('My number is 12')
    await request('Ada')
    await page.keyboard.type('345678')
    await page.keyboard.press('Enter')
    expect(await field().inputValue()).toBe('')
    await settle()
    expect(await focus()).toBe('input')
    expect(await outcomes()).toEqual({ Ada: 'pending' })
  })

  it('focuses its field at once after a click, Enter or Tab in the page', async () => {
    await page.locator('textarea').focus()
    await page.keyboard.type('Dear reader')
    await page.keyboard.press('Tab')
    await page.getByRole('button', { name: 'Start' }).focus()
    await page.keyboard.press('Enter')
    await request('Ada')
    expect(await focus()).toBe('input')
  })

  it('removes a waiting request that is aborted, without a change to the one that is shown', async () => {
    await request('Ada')
    await request('Bob')
    await request('Cleo')
    await page.keyboard.type('123')
    const shown = await page.locator('dialog').elementHandle()
    await abort('Bob')
    expect(await outcomes()).toEqual({ Ada: 'pending', Bob: 'no', Cleo: 'pending' })
    expect(await shown?.evaluate((element) => element.matches(':modal'))).toBe(true)
    expect(await field().inputValue()).toBe('123')
    expect(await focus()).toBe('input')
    await page.keyboard.press('Escape')
    await shows('Cleo')
  })

  /** Inserts the text like a paste, and presses Enter. */
  const submit = async (text: string): Promise<void> => {
    await field().focus()
    await page.keyboard.insertText(text)
    await page.keyboard.press('Enter')
  }

  it.each([
    ['that is longer than the card accepts', '1234567890', {}, 'Enter 6 to 8 digits.'],
    ['that is shorter', '12345', {}, 'Enter 6 to 8 digits.'],
    ['with letters in it', '12345a', {}, 'Enter 6 to 8 digits and no other characters.'],
    ['with a blank in it', ' 123456', {}, 'Enter 6 to 8 digits and no other characters.'],
    ['for a card with other limits', '12345678', { maxBytes: 4, minBytes: 4 }, 'Enter 4 digits.'],
    [
      'for a card that accepts text',
      '12345',
      { alphabet: 'text', maxBytes: 127 },
      'Enter 6 to 127 characters.',
    ],
  ] as const)(
    'explains why a PIN %s is not valid, and does not send it',
    async (_what, typed, limits, sentence) => {
      await request('Ada', limits)
      await settle()
      await submit(typed)
      await page.getByRole('alert').getByText(sentence).waitFor()
      expect(await outcomes()).toEqual({ Ada: 'pending' })
      expect([await focus(), await field().inputValue()]).toEqual(['input', typed])
      // The sentence is part of the field's accessible description.
      await page.getByRole('textbox', { name: 'PIN', description: new RegExp(sentence) }).waitFor()
    },
  )

  it.each([
    ['１２３４５６', {}, '123456'],
    ['٩٨٧٦٥٤', {}, '987654'],
    ['pass wörd', { alphabet: 'text', maxBytes: 127 }, 'pass wörd'],
  ] as const)('converts the input %s for the card', async (typed, limits, pin) => {
    await request('Ada', limits)
    await settle()
    await submit(typed)
    expect(await outcomes()).toEqual({ Ada: pin })
  })

  it('requests a numeric keyboard for digits only, and is ignored by password managers', async () => {
    const attributes = () =>
      field().evaluate((input) => {
        const { type, inputMode, autocomplete, maxLength } = input as HTMLInputElement
        return { type, inputMode, autocomplete, maxLength }
      })
    const always = { type: 'password', autocomplete: 'one-time-code', maxLength: -1 }
    await request('Ada')
    expect(await attributes()).toEqual({ ...always, inputMode: 'numeric' })
    await page.keyboard.press('Escape')
    await request('Bob', { alphabet: 'text' })
    // The close event after Escape is asynchronous.
    await shows('Bob')
    expect(await attributes()).toEqual({ ...always, inputMode: '' })
  })

  it.each([
    ['login', 'Enter your PIN', 'PIN', /Ada\W? needs your PIN/],
    ['signature', 'Enter your PIN', 'PIN', /confirms this one signature/],
    ['decryption', 'Enter your PIN', 'PIN', /confirms this one decryption/],
    ['unblock', 'Enter your PUK', 'PUK', /unblocks the PIN of \W?Ada/],
    ['new', 'Choose a new PIN', 'New PIN', /sets a new PIN for \W?Ada/],
    ['admin', 'Enter the administrator’s PIN', 'Administrator’s PIN', /Ada\W? needs the administrator’s PIN/],
  ] as const)('explains the purpose %s of a PIN', async (purpose, title, name, why) => {
    await request('Ada', { purpose })
    await page.getByRole('dialog', { name: title, description: why }).waitFor()
    await page.getByLabel(name, { exact: true }).and(page.locator('input')).waitFor()
    expect(await dialog().getByText(why).count()).toBe(1)
  })

  it('shows the name of the signed document as isolated text, without interpreting HTML', async () => {
    await request('Ada', { for: '\u2069\u202E<b>fdp.tcartnoc</b>' })
    expect(await dialog().locator('#for').innerText()).toBe('For: \u2068<b>fdp.tcartnoc</b>\u2069')
    await page.keyboard.press('Escape')
    await request('Bob')
    await shows('Bob')
    expect(await page.locator('#for').count()).toBe(0)
  })

  it('shows that the previous PIN was wrong, and how many attempts are left', async () => {
    await request('Ada', { attempt: 2, previousWasWrong: true, triesLeft: 2 })
    const described = (description: RegExp) => page.getByRole('dialog', { description }).count()
    expect(await described(/That PIN was wrong\. 2 attempts left/)).toBe(1)
    await page.keyboard.press('Escape')
    await request('Bob', { attempt: 2, previousWasWrong: true, triesLeft: 1, lastTry: true })
    await shows('Bob')
    expect(await described(/That PIN was wrong\. Only 1 attempt is left/)).toBe(1)
  })

  it.each([
    ['disabled', (button: HTMLButtonElement) => void (button.disabled = true)],
    ['hidden', (button: HTMLButtonElement) => void (button.hidden = true)],
    ['removed', (button: HTMLButtonElement) => button.remove()],
  ])(
    'returns the focus near the button that opened it if that is %s before or meanwhile',
    async (_how, change) => {
      for (const when of ['before', 'meanwhile']) {
        await page.evaluate((name) => {
          const section = document.createElement('section')
          section.id = name
          section.append(document.createElement('button'))
          document.body.append(section)
          section.querySelector('button')?.focus()
        }, when)
        const changeButton = () =>
          page.locator(`#${when} button`).evaluate(change as (button: Element) => void)
        if (when === 'before') await changeButton()
        await request(when)
        if (when === 'meanwhile') await changeButton()
        await page.keyboard.press('Escape')
        await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe(when)
      }
      // The section is focusable only while it has this focus.
      await page.locator('textarea').focus()
      expect(await page.locator('section[tabindex]').count()).toBe(0)
    },
  )

  it('is not shown for a request whose signal is already aborted', async () => {
    await page.evaluate(() => {
      const { ask: source } = document.querySelector('webtoki-pin') as WebtokiPin
      const entry = { outcome: 'pending', abort: new AbortController() }
      requests['Ada'] = entry
      const signal = AbortSignal.abort()
      void source({
        purpose: 'login',
        label: 'Ada',
        attempt: 1,
        previousWasWrong: false,
        minBytes: 6,
        maxBytes: 8,
        alphabet: 'digits',
        lastTry: false,
        signal,
      }).then((reply) => {
        entry.outcome = reply === undefined ? 'no' : 'yes'
      })
    })
    expect(await outcomes()).toEqual({ Ada: 'no' })
    expect(await dialog().count()).toBe(0)
  })

  it('of a second element waits until that of the first is closed', async () => {
    await page.evaluate(() => {
      const other = document.createElement('webtoki-pin')
      other.id = 'other'
      document.body.prepend(other)
    })
    await request('Ada', { element: 'webtoki-pin:not(#other)' })
    await page.keyboard.type('12')
    await request('Bob', { element: '#other' })
    await page.keyboard.type('3456')
    await settle()
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await shows('Bob')
  })

  it('requires a new confirmation for the last attempt of each card', async () => {
    await request('Ada', { lastTry: true, triesLeft: 1 })
    await request('Bob', { lastTry: true, triesLeft: 1 })
    await settle()
    await page.getByLabel('I am sure of my PIN').check()
    await page.keyboard.press('Shift+Tab')
    await field().fill('123456')
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456, accepted', Bob: 'pending' })
    expect(await page.getByLabel('I am sure of my PIN').isDisabled()).toBe(true)
    await settle()
    expect(await page.getByLabel('I am sure of my PIN').isChecked()).toBe(false)
    await field().fill('654321')
    await page.keyboard.press('Enter')
    expect(await outcomes()).toMatchObject({ Bob: 'pending' })
  })

  it('shows card, reader and purpose of its request, and how many more are waiting', async () => {
    const text = async () => (await dialog().innerText()).replaceAll(/[\u2068\u2069]/g, '')
    await request('Ada', { reader: 'Left reader' })
    expect(await text()).toMatch(/Ada needs your PIN\.[\s\S]*Left reader/)
    expect(await text()).not.toContain('more')
    await request('Bob', { reader: 'Right reader', purpose: 'signature' })
    expect(await text()).toContain('1 more request')
    await page.keyboard.press('Escape')
    await expect.poll(text).toMatch(/confirms this one signature[\s\S]*Bob[\s\S]*Right reader/)
    expect(await text()).not.toMatch(/Ada|Left reader|more/)
  })

  it('describes its request to screen readers, and returns the focus when it closes', async () => {
    await page.getByRole('button', { name: 'Start' }).focus()
    await request('Ada', { reader: 'Left reader', triesLeft: 2 })
    await request('Bob', { reader: 'Right reader', triesLeft: 3 })
    for (const [card, reader, tries] of [
      ['Ada', 'Left reader', '2 attempts left'],
      ['Bob', 'Right reader', '3 attempts left'],
    ] as const) {
      const described = page.getByRole('dialog', { name: 'Enter your PIN', description: new RegExp(card) })
      await described.and(page.getByRole('dialog', { description: new RegExp(reader) })).waitFor()
      await described.and(page.getByRole('dialog', { description: new RegExp(tries) })).waitFor()
      expect(await focus()).toBe('input')
      await page.keyboard.press('Escape')
    }
    await expect.poll(focus).toBe('button')
  })

  it.each(['light', 'dark'] as const)(
    'has no axe violations with the colour scheme %s',
    async (colorScheme) => {
      await page.emulateMedia({ colorScheme })
      await request('Ada', { reader: 'Left reader', triesLeft: 1, lastTry: true })
      await request('Bob')
      await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
      await page.clock.resume()
      const violations = await page.evaluate(async () => {
        const { axe } = globalThis as unknown as {
          axe: { run(at: Element): Promise<{ violations: { id: string }[] }> }
        }
        return (await axe.run(document.querySelector('webtoki-pin') as Element)).violations
      })
      expect(violations).toEqual([])
    },
  )

  describe('of an element', () => {
    it('that is not in the document refuses a request with the code ui/no-dialog', async () => {
      await page.evaluate(() => {
        const { ask: source } = document.createElement('webtoki-pin') as WebtokiPin
        const { signal } = new AbortController()
        requests['Ada'] = { outcome: 'pending', abort: new AbortController() }
        source({
          purpose: 'login',
          label: 'Ada',
          attempt: 1,
          previousWasWrong: false,
          minBytes: 6,
          maxBytes: 8,
          alphabet: 'digits',
          lastTry: false,
          signal,
        }).catch((error: { code: string; why: string }) => {
          requests['Ada'] = { outcome: `${error.code} ${error.why}`, abort: new AbortController() }
        })
      })
      expect(await outcomes()).toEqual({ Ada: 'ui/no-dialog not-connected' })
    })

    it('that is not displayed refuses a request, and the page stays usable', async () => {
      await page.evaluate(() => {
        document.querySelector('webtoki-pin')?.toggleAttribute('hidden', true)
      })
      await request('Ada')
      expect(await outcomes()).toEqual({ Ada: 'ui/no-dialog' })
      await page.getByRole('button', { name: 'Start' }).click()
    })

    it('that is removed from the document ends its own requests only', async () => {
      await page.evaluate(() => {
        const other = document.createElement('webtoki-pin')
        other.id = 'other'
        document.body.append(other)
      })
      await request('Ada')
      await request('Bob', { element: '#other' })
      await request('Cleo')
      await page.evaluate(() => document.querySelector('webtoki-pin:not(#other)')?.remove())
      expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'pending', Cleo: 'no' })
      await shows('Bob')
    })

    it('that is moved in the document keeps its request and digits, and ignores a submit again', async () => {
      await request('Ada')
      await settle()
      await page.keyboard.type('123456')
      await page.evaluate(() => document.body.prepend(document.querySelector('webtoki-pin') as Element))
      expect(await page.locator('dialog').evaluate((element) => element.matches(':modal'))).toBe(true)
      expect(await focus()).toBe('input')
      await page.keyboard.press('Enter')
      expect(await outcomes()).toEqual({ Ada: 'pending' })
      await settle()
      await page.keyboard.press('Enter')
      expect(await outcomes()).toEqual({ Ada: '123456' })
    })

    it('that is moved with moveBefore stays as it is', async () => {
      await request('Ada')
      await settle()
      await page.keyboard.type('123456')
      await page.evaluate(() => {
        const body = document.body as HTMLElement & { moveBefore(node: Node, before: Node | null): void }
        body.moveBefore(document.querySelector('webtoki-pin') as Element, body.firstChild)
      })
      expect(await page.locator('dialog').evaluate((element) => element.matches(':modal'))).toBe(true)
      expect(await focus()).toBe('input')
      await page.keyboard.press('Enter')
      expect(await outcomes()).toEqual({ Ada: '123456' })
    })

    it('that is hidden during its request ends the request', async () => {
      await request('Ada')
      await field().waitFor()
      await page.evaluate(() => {
        document.querySelector('webtoki-pin')?.toggleAttribute('hidden', true)
      })
      await expect.poll(outcomes).toEqual({ Ada: 'no' })
      await page.getByRole('button', { name: 'Start' }).click()
    })

    it('whose dialog the page closes ends its request', async () => {
      await request('Ada')
      await page.locator('dialog').evaluate((element) => (element as HTMLDialogElement).close())
      await expect.poll(outcomes).toEqual({ Ada: 'no' })
    })

    it('whose page is left ends its requests and clears the typed digits', async () => {
      await request('Ada')
      await request('Bob')
      await page.keyboard.type('123456')
      const input = await field().elementHandle()
      await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })))
      expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'no' })
      expect(await input?.evaluate((element) => (element as HTMLInputElement).value)).toBe('')
    })
  })
})
