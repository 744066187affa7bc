/** `<webtoki-pin>` under real keys and clicks: what a person does for one request never reaches another. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { WebtokiPin } from '@webtoki/ui'
import type { PinRequest } from 'webtoki'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import type { Lab } from '../pages/lab.ts'
import { LabBrowser } from './lab-browser.ts'
import { chromiumPath } from './stand.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath])
if (missing !== undefined) console.warn(`The PIN dialog is not tried: ${missing}.`)

/** How long a new request takes no submit, in milliseconds. */
const GUARD_MS = 500

/** What a test tells of one request, beside the card's name. */
interface Asked extends Partial<PinRequest> {
  /** The element that is asked; default: the first. */
  readonly element?: string
}

/** What the page keeps for a test. */
declare const asked: Record<string, { outcome: string; readonly abort: AbortController }>

describe.skipIf(missing !== undefined)('the PIN dialog', () => {
  let browser: LabBrowser
  let page: Page
  beforeAll(async () => {
    browser = await LabBrowser.start()
  })
  beforeEach(async () => {
    page = await browser.open(async (opened) => {
      opened.setDefaultTimeout(5000)
      // Its timers, performance.now() and the times of events stand still unless a test moves them.
      await opened.clock.install({ time: 0 })
    })
    await page.clock.pauseAt(60_000)
    await page.evaluate(() => {
      lab.ui.defineElements()
      Object.assign(globalThis, { asked: {} })
      const start = document.createElement('button')
      start.textContent = 'Start'
      document.body.append(start, document.createElement('textarea'), document.createElement('webtoki-pin'))
    })
  })
  afterEach(() => page.close())
  afterAll(() => browser?.stop())

  /** Asks for the PIN of the card of that name; its outcome is `pending`, `no`, the PIN, or the code of an error. */
  const ask = (name: string, options: Asked = {}): Promise<void> =>
    page.evaluate(
      ([card, { element = 'webtoki-pin', ...request }]) => {
        const abort = new AbortController()
        const entry = { outcome: 'pending', abort }
        asked[card] = entry
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
          ...request,
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
  /** Once no more microtask runs and no event waits. */
  const outcomes = (): Promise<Record<string, string>> =>
    page.evaluate(async () => {
      await new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = resolve
        port2.postMessage(undefined)
      })
      return Object.fromEntries(Object.entries(asked).map(([name, { outcome }]) => [name, outcome]))
    })
  const abort = (name: string): Promise<void> => page.evaluate((card) => asked[card]?.abort.abort(), name)
  const dialog = () => page.getByRole('dialog')
  /** Names stand between isolating marks. */
  const shows = (name: string): Promise<void> =>
    dialog()
      .getByText(new RegExp(`${name}\\W? needs your PIN`))
      .waitFor()
  const field = () => page.getByLabel('PIN', { exact: true })
  const confirm = () => page.getByRole('button', { name: 'Confirm' })
  const settle = (): Promise<void> => page.clock.runFor(GUARD_MS)
  /** What stands under the keys: an element of the page, or one of the dialog. */
  const focus = (): Promise<string | undefined> =>
    page.evaluate(() => {
      const at = document.activeElement
      return (at?.shadowRoot?.activeElement ?? at)?.tagName.toLowerCase()
    })

  describe.each([
    ['Ada', 'Bob'],
    ['Bob', 'Ada'],
  ] as const)('with requests of two cards, %s first', (first, second) => {
    it('shows them in their order, and the digits typed for the first never reach the second', async () => {
      await ask(first)
      await page.keyboard.type('11')
      await ask(second)
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

    it('shows the second after the first is cancelled, by its button and by Escape', async () => {
      await ask(first)
      await ask(second)
      await page.getByRole('button', { name: 'Cancel' }).click()
      expect(await outcomes()).toEqual({ [first]: 'no', [second]: 'pending' })
      await shows(second)
      await page.keyboard.press('Escape')
      await expect.poll(outcomes).toEqual({ [first]: 'no', [second]: 'no' })
    })

    it('gives each PIN to its own card, though two Webtoki objects share the element', async () => {
      await page.evaluate(
        async (names) => {
          const { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } = await lab.simulator()
          const { ask: pin } = document.querySelector('webtoki-pin') as WebtokiPin
          const cards = names.map((name) => {
            const own = name === 'Ada' ? '111111' : '222222'
            const card = createPivCard({ pin: own, guid: new Uint8Array(16).fill(own.charCodeAt(0)) })
            const reader = new VirtualCcidReader({ ...readerProfiles.dualiAbcm6, product: `of ${name}` })
            reader.insert(card)
            asked[name] = { outcome: 'pending', abort: new AbortController() }
            const webtoki = new lab.Webtoki({ pin, usb: virtualUsb([reader]) })
            webtoki.login('n'.repeat(44)).then(
              () => Object.assign(asked[name] ?? {}, { outcome: 'logged in' }),
              (error: { rvName: string }) => Object.assign(asked[name] ?? {}, { outcome: error.rvName }),
            )
            return card
          })
          Object.assign(globalThis, { cards })
        },
        [first, second] as const,
      )
      for (let answered = 1; answered <= 2; answered++) {
        await field().waitFor()
        // Both cards are the same person's: the reader says which one asks.
        await page.keyboard.type((await dialog().innerText()).includes('of Ada') ? '111111' : '222222')
        await settle()
        await page.keyboard.press('Enter')
        const loggedIn = async () =>
          Object.values(await outcomes()).filter((outcome) => outcome === 'logged in').length
        await expect.poll(loggedIn).toBe(answered)
      }
      const left = await page.evaluate(() => {
        const { cards } = globalThis as unknown as { cards: { pinTriesLeft: number }[] }
        return cards.map(({ pinTriesLeft }) => pinTriesLeft)
      })
      expect(left).toEqual([3, 3])
    })
  })

  it('ignores a submit within half a second of a new request, and keeps what was typed for it', async () => {
    await ask('Ada')
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

  it('takes the second click of a double click for no answer to the next request', async () => {
    await ask('Ada')
    await ask('Bob', { lastTry: true })
    await page.keyboard.type('123456')
    await settle()
    await confirm().dblclick()
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await abort('Bob')
    await ask('Cleo')
    await ask('Dan')
    await page.getByRole('button', { name: 'Cancel' }).dblclick()
    expect(await outcomes()).toMatchObject({ Cleo: 'no', Dan: 'pending' })
  })

  it('takes a held Enter for one press, and a held Escape too', async () => {
    await ask('Ada')
    await ask('Bob')
    await page.keyboard.type('123456')
    await settle()
    await page.keyboard.down('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await field().fill('654321')
    await settle()
    // Down again without up: the key repeats.
    await page.keyboard.down('Enter')
    await page.keyboard.down('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await page.keyboard.up('Enter')
    await ask('Cleo')
    await page.keyboard.down('Escape')
    await expect.poll(outcomes).toMatchObject({ Bob: 'no', Cleo: 'pending' })
    await page.keyboard.down('Escape')
    await page.keyboard.down('Escape')
    await shows('Cleo')
    expect(await outcomes()).toMatchObject({ Cleo: 'pending' })
  })

  it('lets the rest of a PIN fall where its card was taken away in mid-typing', async () => {
    await ask('Ada')
    await ask('Bob')
    await page.keyboard.type('12')
    await abort('Ada')
    await shows('Bob')
    for (const key of ['3', '4', '5', '6', '7', '8', 'Enter']) {
      await page.clock.runFor(GUARD_MS - 1)
      await page.keyboard.press(key)
    }
    expect(await field().inputValue()).toBe('')
    expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'pending' })
    // The person has seen it and stopped: now the field has the keys.
    await settle()
    await page.keyboard.type('654321')
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: 'no', Bob: '654321' })
  })

  it('takes no key of a text that is being typed in the page', async () => {
    await page.locator('textarea').focus()
    await page.keyboard.type('My number is 12')
    await ask('Ada')
    await page.keyboard.type('345678')
    await page.keyboard.press('Enter')
    expect(await field().inputValue()).toBe('')
    await settle()
    expect(await focus()).toBe('input')
    expect(await outcomes()).toEqual({ Ada: 'pending' })
  })

  it('has its field under the keys at once after a click, an Enter or a Tab in the page', async () => {
    await page.locator('textarea').focus()
    await page.keyboard.type('Dear reader')
    await page.keyboard.press('Tab')
    await page.getByRole('button', { name: 'Start' }).focus()
    await page.keyboard.press('Enter')
    await ask('Ada')
    expect(await focus()).toBe('input')
  })

  it('drops a request that is aborted while it waits, and does not touch the one that is shown', async () => {
    await ask('Ada')
    await ask('Bob')
    await ask('Cleo')
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

  /** Types it as a paste would come, and presses Enter. */
  const submit = async (text: string): Promise<void> => {
    await field().focus()
    await page.keyboard.insertText(text)
    await page.keyboard.press('Enter')
  }

  it.each([
    ['that is longer than the card takes', '1234567890', {}, 'This has to be 6 to 8 digits.'],
    ['that is shorter', '12345', {}, 'This has to be 6 to 8 digits.'],
    ['with letters in it', '12345a', {}, 'This has to be 6 to 8 digits, and nothing but digits.'],
    ['with a blank in it', ' 123456', {}, 'This has to be 6 to 8 digits, and nothing but digits.'],
    ['of a card with other limits', '12345678', { maxBytes: 4, minBytes: 4 }, 'This has to be 4 digits.'],
    [
      'of a card that takes text',
      '12345',
      { alphabet: 'text', maxBytes: 127 },
      'This has to be 6 to 127 characters.',
    ],
  ] as const)(
    'tells why a PIN cannot be right %s, and hands none over',
    async (_what, typed, limits, told) => {
      await ask('Ada', limits)
      await settle()
      await submit(typed)
      await page.getByRole('alert').getByText(told).waitFor()
      expect(await outcomes()).toEqual({ Ada: 'pending' })
      expect([await focus(), await field().inputValue()]).toEqual(['input', typed])
      // The complaint is part of what a screen reader says of the field.
      await page.getByRole('textbox', { name: 'PIN', description: new RegExp(told) }).waitFor()
    },
  )

  it.each([
    ['１２３４５６', {}, '123456'],
    ['٩٨٧٦٥٤', {}, '987654'],
    ['pass wörd', { alphabet: 'text', maxBytes: 127 }, 'pass wörd'],
  ] as const)('takes %s for what it means to the card', async (typed, limits, pin) => {
    await ask('Ada', limits)
    await settle()
    await submit(typed)
    expect(await outcomes()).toEqual({ Ada: pin })
  })

  it('asks for digits with a keyboard of digits, for text with one of letters, and password managers not at all', async () => {
    const attributes = () =>
      field().evaluate((input) => {
        const { type, inputMode, autocomplete, maxLength } = input as HTMLInputElement
        return { type, inputMode, autocomplete, maxLength }
      })
    const always = { type: 'password', autocomplete: 'one-time-code', maxLength: -1 }
    await ask('Ada')
    expect(await attributes()).toEqual({ ...always, inputMode: 'numeric' })
    await page.keyboard.press('Escape')
    await ask('Bob', { alphabet: 'text' })
    // The browser tells a moment later that Escape closed the dialog before.
    await shows('Bob')
    expect(await attributes()).toEqual({ ...always, inputMode: '' })
  })

  it.each([
    ['login', 'Enter your PIN', 'PIN', /Ada\W? needs your PIN/],
    ['signature', 'Enter your PIN', 'PIN', /confirms this one signature/],
    ['decryption', 'Enter your PIN', 'PIN', /confirms this one decryption/],
    ['unblock', 'Enter your PUK', 'PUK', /unblocks the PIN of \W?Ada/],
    ['new', 'Choose a new PIN', 'New PIN', /Ada\W? gets a new PIN/],
    [
      'admin',
      'Enter the administrator’s PIN',
      'Administrator’s PIN',
      /Ada\W? needs the PIN of its administrator/,
    ],
  ] as const)('says what a PIN is for: %s', async (purpose, title, name, why) => {
    await ask('Ada', { purpose })
    await page.getByRole('dialog', { name: title, description: why }).waitFor()
    await page.getByLabel(name, { exact: true }).and(page.locator('input')).waitFor()
    expect(await dialog().getByText(why).count()).toBe(1)
  })

  it('says what is signed, as text and in its place, whatever the name pretends', async () => {
    await ask('Ada', { for: '\u2069\u202E<b>fdp.tcartnoc</b>' })
    expect(await dialog().locator('#for').innerText()).toBe('For: \u2068<b>fdp.tcartnoc</b>\u2069')
    await page.keyboard.press('Escape')
    await ask('Bob')
    await shows('Bob')
    expect(await page.locator('#for').count()).toBe(0)
  })

  it('says that the PIN before was wrong, and how many tries are left', async () => {
    await ask('Ada', { attempt: 2, previousWasWrong: true, triesLeft: 2 })
    const says = (description: RegExp) => page.getByRole('dialog', { description }).count()
    expect(await says(/That PIN was wrong\. 2 tries left/)).toBe(1)
    await page.keyboard.press('Escape')
    await ask('Bob', { attempt: 2, previousWasWrong: true, triesLeft: 1, lastTry: true })
    await shows('Bob')
    expect(await says(/That PIN was wrong\. Only one try is left/)).toBe(1)
  })

  it.each([
    ['disabled', (button: HTMLButtonElement) => void (button.disabled = true)],
    ['hidden', (button: HTMLButtonElement) => void (button.hidden = true)],
    ['taken away', (button: HTMLButtonElement) => button.remove()],
  ])(
    'leaves the keyboard near the button that asked, if that was %s before or meanwhile',
    async (_how, go) => {
      for (const when of ['before', 'meanwhile']) {
        await page.evaluate((name) => {
          const section = document.createElement('section')
          section.id = name
          section.append(document.createElement('button'))
          document.body.append(section)
          section.querySelector('button')?.focus()
        }, when)
        const lose = () => page.locator(`#${when} button`).evaluate(go as (button: Element) => void)
        if (when === 'before') await lose()
        await ask(when)
        if (when === 'meanwhile') await lose()
        await page.keyboard.press('Escape')
        await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe(when)
      }
      // It was lent the focus, and is no stop of the keyboard from then on.
      await page.locator('textarea').focus()
      expect(await page.locator('section[tabindex]').count()).toBe(0)
    },
  )

  it('is never shown for a request that was aborted before it was made', async () => {
    await page.evaluate(() => {
      const { ask: source } = document.querySelector('webtoki-pin') as WebtokiPin
      const entry = { outcome: 'pending', abort: new AbortController() }
      asked['Ada'] = entry
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

  it('of a second element waits for that of the first: one page has one line', async () => {
    await page.evaluate(() => {
      const other = document.createElement('webtoki-pin')
      other.id = 'other'
      document.body.prepend(other)
    })
    await ask('Ada', { element: 'webtoki-pin:not(#other)' })
    await page.keyboard.type('12')
    await ask('Bob', { element: '#other' })
    await page.keyboard.type('3456')
    await settle()
    await page.keyboard.press('Enter')
    expect(await outcomes()).toEqual({ Ada: '123456', Bob: 'pending' })
    await shows('Bob')
  })

  it('asks for a yes to the last attempt of each card anew', async () => {
    await ask('Ada', { lastTry: true, triesLeft: 1 })
    await ask('Bob', { lastTry: true, triesLeft: 1 })
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

  it('names card, reader and purpose of the request that it shows, and how many more wait', async () => {
    const told = async () => (await dialog().innerText()).replaceAll(/[\u2068\u2069]/g, '')
    await ask('Ada', { reader: 'Left reader' })
    expect(await told()).toMatch(/Ada needs your PIN\.[\s\S]*Left reader/)
    expect(await told()).not.toContain('more')
    await ask('Bob', { reader: 'Right reader', purpose: 'signature' })
    expect(await told()).toContain('1 more request')
    await page.keyboard.press('Escape')
    await expect.poll(told).toMatch(/confirms this one signature[\s\S]*Bob[\s\S]*Right reader/)
    expect(await told()).not.toMatch(/Ada|Left reader|more/)
  })

  it('tells who listens what is asked for, and gives the focus back where it was', async () => {
    await page.getByRole('button', { name: 'Start' }).focus()
    await ask('Ada', { reader: 'Left reader', triesLeft: 2 })
    await ask('Bob', { reader: 'Right reader', triesLeft: 3 })
    for (const [card, reader, tries] of [
      ['Ada', 'Left reader', '2 tries left'],
      ['Bob', 'Right reader', '3 tries left'],
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
    'has nothing that axe would call a barrier, %s',
    async (colorScheme) => {
      await page.emulateMedia({ colorScheme })
      await ask('Ada', { reader: 'Left reader', triesLeft: 1, lastTry: true })
      await ask('Bob')
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
    it('that is not in the document refuses at once, with a code', async () => {
      await page.evaluate(() => {
        const { ask: source } = document.createElement('webtoki-pin') as WebtokiPin
        const { signal } = new AbortController()
        asked['Ada'] = { outcome: 'pending', abort: new AbortController() }
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
          asked['Ada'] = { outcome: `${error.code} ${error.why}`, abort: new AbortController() }
        })
      })
      expect(await outcomes()).toEqual({ Ada: 'ui/no-dialog not-connected' })
    })

    it('that is not displayed refuses, and leaves the page usable', async () => {
      await page.evaluate(() => {
        document.querySelector('webtoki-pin')?.toggleAttribute('hidden', true)
      })
      await ask('Ada')
      expect(await outcomes()).toEqual({ Ada: 'ui/no-dialog' })
      await page.getByRole('button', { name: 'Start' }).click()
    })

    it('that is taken out of the document ends its requests, and no other element’s', async () => {
      await page.evaluate(() => {
        const other = document.createElement('webtoki-pin')
        other.id = 'other'
        document.body.append(other)
      })
      await ask('Ada')
      await ask('Bob', { element: '#other' })
      await ask('Cleo')
      await page.evaluate(() => document.querySelector('webtoki-pin:not(#other)')?.remove())
      expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'pending', Cleo: 'no' })
      await shows('Bob')
    })

    it('that is moved in the document keeps its request, what was typed for it, and the guard', async () => {
      await ask('Ada')
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

    it('that is moved without being taken out (moveBefore) stays as it is', async () => {
      await ask('Ada')
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

    it('that is hidden while it asks ends its request', async () => {
      await ask('Ada')
      await field().waitFor()
      await page.evaluate(() => {
        document.querySelector('webtoki-pin')?.toggleAttribute('hidden', true)
      })
      await expect.poll(outcomes).toEqual({ Ada: 'no' })
      await page.getByRole('button', { name: 'Start' }).click()
    })

    it('whose dialog the page closes ends its request', async () => {
      await ask('Ada')
      await page.locator('dialog').evaluate((element) => (element as HTMLDialogElement).close())
      await expect.poll(outcomes).toEqual({ Ada: 'no' })
    })

    it('whose page is left ends its requests and keeps no digit', async () => {
      await ask('Ada')
      await ask('Bob')
      await page.keyboard.type('123456')
      const input = await field().elementHandle()
      await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })))
      expect(await outcomes()).toEqual({ Ada: 'no', Bob: 'no' })
      expect(await input?.evaluate((element) => (element as HTMLInputElement).value)).toBe('')
    })
  })
})
