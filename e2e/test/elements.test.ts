/** Tests the elements of @webtoki/ui in a page without the demo. */
import { readFileSync } from 'node:fs'
import type { WebtokiCertificates, WebtokiPin, WebtokiProgress, WebtokiReaders } from '@webtoki/ui'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { CardCertificate } from 'webtoki'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import type { Lab } from '../pages/lab.ts'
import { LabBrowser } from './lab-browser.ts'
import { chromiumPath } from './demo.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath])
if (missing !== undefined) console.warn(`The tests of the elements are skipped: ${missing}.`)

describe.skipIf(missing !== undefined)('the elements', () => {
  let browser: LabBrowser
  let page: Page
  beforeAll(async () => {
    browser = await LabBrowser.start()
  })
  beforeEach(async () => {
    page = await browser.open()
  })
  afterAll(() => browser?.stop())

  it('show a site’s own strings that are set after the elements were defined, as in the README', async () => {
    await page.evaluate(() => {
      lab.ui.defineElements()
      const readers = document.createElement('webtoki-readers') as WebtokiReaders
      const progress = document.createElement('webtoki-progress') as WebtokiProgress
      document.body.append(readers, progress)
      lab.ui.setStrings({
        connectReader: 'Leser verbinden',
        phases: { collecting: 'Das Dokument wird gelesen' },
      })
      readers.webtoki = new lab.Webtoki({ pin: async () => undefined })
      progress.progress(1, 2)
    })
    await expect.poll(() => page.getByRole('button', { name: 'Leser verbinden' }).count()).toBe(1)
    expect(await page.getByRole('progressbar', { name: 'Das Dokument wird gelesen' }).count()).toBe(1)
  })

  it.each([
    ['unchecked', false, undefined],
    ['checked', true, true],
  ] as const)(
    'accept the last attempt only with the checkbox, here %s, even if a script skips validation',
    async (_name, checked, acceptLastTry) => {
      const reply = page.evaluate(async () => {
        lab.ui.defineElements()
        const dialog = document.createElement('webtoki-pin') as WebtokiPin
        document.body.append(dialog)
        const { signal } = new AbortController()
        const entered = await dialog.ask({
          purpose: 'login',
          label: 'Ada',
          triesLeft: 1,
          attempt: 1,
          previousWasWrong: false,
          minBytes: 6,
          maxBytes: 8,
          alphabet: 'digits',
          lastTry: true,
          signal,
        })
        return { acceptLastTry: entered?.acceptLastTry, bytes: entered?.pin.length }
      })
      await page.locator('#pin').fill('123456')
      await page.locator('#confirm:enabled').waitFor()
      if (checked) await page.getByLabel('I am sure of my PIN').check()
      await page.locator('webtoki-pin form').evaluate((form) => form.dispatchEvent(new Event('submit')))
      expect(await reply).toEqual({ acceptLastTry, bytes: 6 })
    },
  )

  it('work in the README’s example with a wrong PIN, a cancelled dialog and the right PIN', async () => {
    const readme = readFileSync(new URL('../../packages/ui/README.md', import.meta.url), 'utf8')
    const block = (kind: string): string =>
      new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, 'm').exec(readme)?.[1] ?? ''
    await page.evaluate(
      async ([html, code]) => {
        const { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } = await lab.simulator()
        const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
        reader.insert(createPivCard())
        Object.defineProperty(navigator, 'usb', { value: virtualUsb([reader]) })
        lab.ui.defineElements()
        document.body.innerHTML = html
        // The example uses elements as globals, which elements with an id are.
        const AsyncFunction = (async () => {}).constructor as new (
          ...text: string[]
        ) => (...given: unknown[]) => Promise<void>
        await new AsyncFunction('Webtoki', 'nonce', code)(lab.Webtoki, 'n'.repeat(44))
      },
      [block('html'), block('ts')] as const,
    )
    const click = async (pin: string | undefined, sentence: string): Promise<void> => {
      await page.getByRole('button', { name: 'Log in' }).click()
      await page.getByLabel('PIN', { exact: true }).fill(pin ?? '')
      await page.getByRole('button', { name: pin === undefined ? 'Cancel' : 'Confirm' }).click()
      await expect.poll(() => page.getByText(sentence, { exact: true }).count()).toBe(1)
    }
    await page.getByRole('radio', { name: 'PIV Authentication' }).waitFor()
    await click('654321', 'That PIN was wrong. 2 attempts left.')
    await click(undefined, 'Cancelled. Nothing was signed.')
    await click('123456', 'Done')
  })

  it('keep the focus visible near the button that connects a reader when that button is removed', async () => {
    await page.evaluate(async () => {
      const { virtualUsb } = await lab.simulator()
      lab.ui.defineElements()
      const section = document.createElement('section')
      section.id = 'around'
      const readers = document.createElement('webtoki-readers') as WebtokiReaders
      section.append(readers)
      document.body.append(section)
      readers.webtoki = new lab.Webtoki({ pin: async () => undefined, usb: virtualUsb([]) })
    })
    await page.getByRole('button', { name: 'Connect a reader' }).focus()
    await page.locator('webtoki-readers').evaluate((element) => {
      element.setAttribute('no-connect', '')
      const readers = element as WebtokiReaders
      const { webtoki } = readers
      readers.webtoki = webtoki
    })
    const focused = page.locator('webtoki-readers:focus')
    expect(await focused.evaluate(({ shadowRoot }) => shadowRoot?.activeElement?.checkVisibility())).toBe(
      true,
    )
  })

  it('show success, failure and neither by the shape of a dot with forced colours', async () => {
    await page.emulateMedia({ forcedColors: 'active' })
    const shape = (mark: 'neither' | 'good' | 'bad') =>
      page.evaluate((requested) => {
        lab.ui.defineElements()
        const progress = document.createElement('webtoki-progress')
        document.body.append(progress)
        if (requested === 'neither') progress.phase('started')
        else progress.say('Done', requested === 'good')
        const dot = progress.shadowRoot?.querySelector('.dot') as Element
        const { backgroundColor, borderTopColor, borderTopWidth, rotate, borderRadius } =
          getComputedStyle(dot)
        const fill = backgroundColor === borderTopColor ? 'filled' : 'hollow'
        return [fill, borderTopWidth, borderRadius, rotate]
      }, mark)
    expect(await shape('neither')).toEqual(['hollow', '2px', '50%', 'none'])
    expect(await shape('good')).toEqual(['filled', '2px', '50%', 'none'])
    expect(await shape('bad')).toEqual(['filled', '2px', '0px', '45deg'])
  })

  /** Shows certificates in readers of these names, valid from `from` to `to`, in days from now. Returns the chosen one's index. */
  const show = (
    certificates: readonly {
      reader: string
      subject?: string
      from?: number
      to?: number
      fault?: CardCertificate['fault']
    }[],
  ) =>
    page.evaluate((given) => {
      lab.ui.defineElements()
      const known = document.querySelector('webtoki-certificates') as WebtokiCertificates | null
      const list = known ?? (document.createElement('webtoki-certificates') as WebtokiCertificates)
      const slots = new Map(given.map(({ reader }) => [reader, { name: reader }]))
      const day = (days: number): Date => new Date(Date.now() + days * 86_400_000)
      list.certificates = given.map(({ reader, subject = 'Ada', from = -1, to = 1, fault }, at) => ({
        slot: slots.get(reader) as unknown as CardCertificate['slot'],
        id: Uint8Array.of(at),
        der: new TextEncoder().encode(`${subject} ${reader} ${from} ${to}`),
        subject,
        label: 'PIV Authentication',
        notBefore: day(from),
        notAfter: day(to),
        purposes: ['login'],
        asksEachTime: false,
        fault,
      }))
      if (known === null) document.body.append(list)
      return list.value?.id[0]
    }, certificates)

  it('name the reader only if certificates of the same person are in two readers', async () => {
    await show([{ reader: 'Left' }, { reader: 'Right' }])
    await page.getByRole('radio', { name: /Right/ }).waitFor()
    await page.reload()
    await show([{ reader: 'Left' }, { reader: 'Left' }])
    expect(await page.getByRole('radio', { name: /PIV Authentication/ }).count()).toBe(2)
    expect(await page.getByText('Left').count()).toBe(0)
  })

  it('preselect the first valid certificate, and mark those that are expired or not yet valid', async () => {
    const chosen = await show([
      { reader: 'Left', from: 1, to: 2 },
      { reader: 'Left', from: -2, to: -1 },
      { reader: 'Left' },
    ])
    expect(chosen).toBe(2)
    await page.getByText('Not valid before').waitFor()
    await page.getByText('Expired on').waitFor()
  })

  it('show what is wrong with a certificate’s key, and preselect one without a fault', async () => {
    const chosen = await show([
      { reader: 'Left', fault: 'weak-key' },
      { reader: 'Left', fault: 'key-not-supported' },
      { reader: 'Left' },
    ])
    expect(chosen).toBe(2)
    await page.getByText('too short to be accepted').waitFor()
    await page.getByText('This kind of key cannot be used here').waitFor()
  })

  it.each([
    ['no-api', 'Chromium'],
    ['insecure-context', 'over https'],
    ['policy', 'not allowed'],
  ] as const)('explain why no reader can be used: %s', async (support, words) => {
    await page.evaluate((why) => {
      lab.ui.defineElements()
      const readers = document.createElement('webtoki-readers') as WebtokiReaders
      document.body.append(readers)
      const webtoki = new lab.Webtoki({ pin: async () => undefined })
      readers.webtoki = Object.defineProperty(webtoki, 'support', { value: why })
    }, support)
    await page.getByRole('alert').getByText(words).waitFor()
    expect(await page.getByRole('button', { name: 'Connect a reader' }).count()).toBe(0)
  })

  it('show thirty certificates within the height of the window', async () => {
    await show(Array.from({ length: 30 }, (_, at) => ({ reader: 'Left', subject: `Person ${at}` })))
    const box = await page.locator('webtoki-certificates').boundingBox()
    expect(box?.height).toBeLessThan(page.viewportSize()?.height ?? 0)
    await page.getByRole('radio', { name: 'Person 29' }).check()
    expect(await page.getByRole('radio', { name: 'Person 29' }).isChecked()).toBe(true)
  })

  it('get the focus if they scroll, so that scrolling with the keyboard does not change the choice', async () => {
    const scroller = () =>
      page.locator('webtoki-certificates').getByRole('group', { name: 'Choose a certificate' })
    await show([{ reader: 'Left' }])
    expect(await page.locator('webtoki-certificates [tabindex]').count()).toBe(0)
    await show(Array.from({ length: 30 }, (_, at) => ({ reader: 'Left', subject: `Person ${at}` })))
    await page.keyboard.press('Tab')
    await page.keyboard.press('End')
    const scrolled = () =>
      scroller()
        .first()
        .evaluate(({ scrollTop }) => scrollTop)
    await expect.poll(scrolled).toBeGreaterThan(0)
    expect(await page.getByRole('radio', { name: 'Person 0' }).isChecked()).toBe(true)
  })

  it('show names without bidi control characters, and isolate them', async () => {
    await show([
      { reader: 'L\u2069\u202Eeft', subject: 'A\u202Eda' },
      { reader: 'Right', subject: 'B\u2067ob' },
    ])
    const text = await page.locator('webtoki-certificates').evaluate((list) => list.shadowRoot?.textContent)
    expect(text).toMatch(/\u2068Ada\u2069.*\u2068Left\u2069.*\u2068Bob\u2069/)
  })

  it('keep the focus if the focused certificate or all certificates disappear', async () => {
    const focused = () =>
      page.evaluate(() => {
        const active = document.activeElement
        return (
          active?.shadowRoot?.activeElement?.closest('label')?.querySelector('strong')?.textContent ??
          active?.localName
        )
      })
    await show([ada, bob])
    await page.getByRole('radio', { name: 'Bob' }).focus()
    await show([ada])
    expect(await focused()).toMatch(/Ada/)
    await show([])
    expect(await focused()).toBe('webtoki-certificates')
  })

  const [ada, bob, cleo] = ['Ada', 'Bob', 'Cleo'].map((subject) => ({ reader: 'Left', subject })) as [
    { reader: string; subject: string },
    { reader: string; subject: string },
    { reader: string; subject: string },
  ]

  it('keep the focused and the clicked row if the same certificates are set again', async () => {
    await show([ada, bob])
    const row = page.getByRole('radio', { name: 'Bob' })
    await row.focus()
    const box = await row.boundingBox()
    await page.mouse.move((box?.x ?? 0) + 3, (box?.y ?? 0) + 3)
    await page.mouse.down()
    await show([ada, bob])
    expect(await row.evaluate((radio) => radio.matches(':focus'))).toBe(true)
    await page.mouse.up()
    expect(await row.isChecked()).toBe(true)
    expect(await show([cleo, ada, bob])).toBe(2)
    expect(await row.evaluate((radio) => radio.matches(':focus'))).toBe(true)
  })

  it('ignore a click within half a second after another row has moved under the pointer', async () => {
    await page.clock.install({ time: 0 })
    await page.clock.pauseAt(60_000)
    await show([ada, bob])
    const box = await page.getByRole('radio', { name: 'Ada' }).boundingBox()
    const click = () => page.mouse.click((box?.x ?? 0) + 3, (box?.y ?? 0) + 3)
    await show([cleo, ada, bob])
    await page.clock.runFor(499)
    await click()
    expect(await page.getByRole('radio', { name: 'Ada' }).isChecked()).toBe(true)
    await page.clock.runFor(1)
    await click()
    expect(await page.getByRole('radio', { name: 'Cleo' }).isChecked()).toBe(true)
  })
})
