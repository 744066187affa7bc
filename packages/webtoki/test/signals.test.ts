/** Aborts, and cards that wait for a person. */
import type { CardSlot, SlotSource } from '@webtoki/apdu'
import { CKR, type PinRequest, type PinSource } from '@webtoki/cryptoki'
import {
  createPivCard,
  type PivCardOptions,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { NEVER, of } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Activity, type ActivityPhase, Webtoki } from 'webtoki'

const nonce = 'n'.repeat(44)
const typed = () => ({ pin: new TextEncoder().encode('123456') })
const why = new Error('changed my mind')
const canceled = expect.objectContaining({ rv: CKR.FUNCTION_CANCELED, cause: why })
/** YubiKey 5 (pcsc-tools' list). */
const yubiKey5 = Uint8Array.from(Buffer.from('3bfd1300008131fe158073c021c057597562694b657940', 'hex'))
const open: Webtoki[] = []
beforeEach(() => {
  vi.stubGlobal('location', { origin: 'https://example.org' })
})
afterEach(async () => {
  vi.unstubAllGlobals()
  for (const webtoki of open.splice(0)) await webtoki.close()
})

function desk(options: PivCardOptions = {}, pin: PinSource = async () => typed()) {
  const card = createPivCard(options)
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const bus = new VirtualBus()
  bus.plug(reader)
  const requests: PinRequest[] = []
  const source: PinSource = (request) => {
    requests.push(request)
    return pin(request)
  }
  const webtoki = new Webtoki({ pin: source, usb: bus.context({ protectedClasses: false }) })
  open.push(webtoki)
  const activities: Activity[] = []
  webtoki.activity$.subscribe((activity) => activities.push(activity))
  return { webtoki, card, reader, requests, activities }
}

type Use = (
  webtoki: Webtoki,
  options: { signal?: AbortSignal; onPhase?: (phase: ActivityPhase) => void },
) => Promise<unknown>
const uses: readonly (readonly [string, Use])[] = [
  ['login', (webtoki, options) => webtoki.login(nonce, options)],
  ['certificates', (webtoki, options) => webtoki.certificates('login', undefined, options)],
  ['sign', (webtoki, options) => webtoki.sign(options, (signer) => signer.sign(Uint8Array.of(1)))],
]

describe.each(uses)('%s', (what, use) => {
  it('starts nothing if its signal is already aborted', async () => {
    const { webtoki, card, requests, activities } = desk()
    const phases: string[] = []
    const options = { signal: AbortSignal.abort(why), onPhase: (phase: string) => void phases.push(phase) }
    await expect(use(webtoki, options)).rejects.toEqual(canceled)
    expect([card.log, requests, activities, phases]).toEqual([[], [], [], []])
  })

  it('aborted while it waits for a card that never responds rejects at once', async () => {
    let reached!: () => void
    const connecting = new Promise<void>((resolve) => void (reached = resolve))
    const slot: CardSlot = {
      id: 'silent',
      name: 'Silent',
      kind: 'contact',
      presence$: of('present'),
      connect: () => {
        reached()
        return new Promise(() => {})
      },
    }
    const source: SlotSource = { slots$: of([slot]), close: async () => {} }
    const webtoki = new Webtoki({ pin: async () => typed(), sources: [source] })
    const controller = new AbortController()
    const phases: string[] = []
    const working = use(webtoki, { signal: controller.signal, onPhase: (phase) => phases.push(phase) })
    await connecting
    controller.abort(why)
    await expect(working).rejects.toEqual(canceled)
    expect(phases).toEqual(['started', 'failed'])
  })

  it('aborted before the first reader list rejects at once', async () => {
    const source: SlotSource = { slots$: NEVER, close: async () => {} }
    const webtoki = new Webtoki({ pin: async () => typed(), sources: [source] })
    const controller = new AbortController()
    const working = use(webtoki, { signal: controller.signal })
    controller.abort(why)
    await expect(working).rejects.toEqual(canceled)
  })

  it('aborted between two commands sends no more, and the next call works', async () => {
    const { webtoki, card } = desk()
    const controller = new AbortController()
    const onPhase = (phase: string): void => {
      if (phase === 'awaiting-card') controller.abort(why)
    }
    await expect(use(webtoki, { signal: controller.signal, onPhase })).rejects.toEqual(canceled)
    expect(card.log.filter(({ ins }) => ins === 0x20)).toEqual([])
    await expect(use(webtoki, {})).resolves.toBeDefined()
  })

  it('reports its phases in order, the last one once', async () => {
    const { webtoki, activities } = desk()
    const phases: string[] = []
    await use(webtoki, { onPhase: (phase) => phases.push(phase) })
    expect(phases).toEqual(activities.map(({ phase }) => phase))
    expect(phases.slice(0, 2)).toEqual(['started', 'awaiting-card'])
    expect(phases.slice(2)).toEqual(
      what === 'certificates'
        ? ['done']
        : what === 'login'
          ? ['awaiting-pin', 'awaiting-card', 'done']
          : ['collecting', 'awaiting-pin', 'awaiting-card', 'done'],
    )
  })
})

describe.each(uses.filter(([what]) => what !== 'certificates'))('%s', (_what, use) => {
  it('aborted during the PIN request closes the dialog, and a PIN entered later is not sent', async () => {
    let shown!: () => void
    const dialog = new Promise<void>((resolve) => void (shown = resolve))
    let type!: (answer: { pin: Uint8Array }) => void
    const { webtoki, card, requests } = desk({}, () => {
      shown()
      return new Promise((resolve) => void (type = resolve))
    })
    const controller = new AbortController()
    const working = use(webtoki, { signal: controller.signal })
    await dialog
    controller.abort(why)
    await expect(working).rejects.toEqual(canceled)
    expect(requests[0]?.signal?.aborted).toBe(true)
    type(typed())
    await webtoki.certificates('login')
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toEqual([])
  })

  it('aborted while it waits for another login does not affect that login', async () => {
    let shown!: () => void
    const dialog = new Promise<void>((resolve) => void (shown = resolve))
    let type!: (answer: { pin: Uint8Array }) => void
    const { webtoki, requests } = desk({}, () => {
      shown()
      return new Promise((resolve) => void (type = resolve))
    })
    const first = use(webtoki, {})
    await dialog
    const controller = new AbortController()
    let queued!: () => void
    const waiting = new Promise<void>((resolve) => void (queued = resolve))
    let searched = 0
    const second = use(webtoki, {
      signal: controller.signal,
      onPhase: (phase) => {
        if (phase === 'awaiting-card' && ++searched === 1) queued()
      },
    })
    await waiting
    controller.abort(why)
    await expect(second).rejects.toEqual(canceled)
    type(typed())
    await expect(first).resolves.toBeDefined()
    expect(requests).toHaveLength(1)
  })
})

describe('a key that requires', () => {
  it('the PIN for each use, in 9A: two logins ask for two PINs, and both succeed', async () => {
    const { webtoki, requests } = desk({ policies: { '9A': { pin: 'always' } } })
    for (let round = 0; round < 2; round++) await expect(webtoki.login(nonce)).resolves.toContain('web-eid')
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login', 'signature'])
  })

  it('the PIN for each use is shown with its certificate, if the card reports it (YubiKey 5)', async () => {
    const { webtoki } = desk({
      atr: yubiKey5,
      vendorExtensions: true,
      policies: { '9A': { pin: 'always' }, '9C': { pin: 'once' } },
    })
    const shown = async (purpose: 'login' | 'signing') =>
      (await webtoki.certificates(purpose)).map(({ id, asksEachTime }) => [id[0], asksEachTime])
    expect([await shown('login'), await shown('signing')]).toEqual([[[1, true]], [[2, false]]])
  })

  it('a touch: awaiting-touch is reported before the card responds', async () => {
    let atTouch: ActivityPhase | undefined
    const made = desk({
      atr: yubiKey5,
      vendorExtensions: true,
      policies: { '9A': { touch: 'always' } },
      touch: async () => {
        atTouch = made.activities.at(-1)?.phase
        return true
      },
    })
    await made.webtoki.login(nonce)
    expect(atTouch).toBe('awaiting-touch')
  })

  it('no PIN is not used for a login', async () => {
    const { webtoki, requests } = desk({
      atr: yubiKey5,
      vendorExtensions: true,
      policies: { '9A': { pin: 'never' } },
    })
    expect((await webtoki.certificates('login')).map(({ id }) => id[0])).not.toContain(1)
    expect(requests).toEqual([])
  })
})

it.each([
  ['login', ['9A']],
  ['login', ['9A', '9C', '9D', '9E']],
  ['signing', ['9C']],
] as const)(
  'a certificate for %s that cannot be read is an error, and hides no other: %s',
  async (purpose, slots) => {
    const { webtoki, requests } = desk({ unreadableCertificates: slots })
    const refused = { cause: { code: 'card/status' } }
    await expect(webtoki.certificates(purpose)).rejects.toMatchObject(refused)
    const use = purpose === 'login' ? webtoki.login(nonce) : webtoki.sign({}, async () => {})
    await expect(use).rejects.toMatchObject(refused)
    const other = purpose === 'login' ? 'signing' : 'login'
    if (slots.length === 1) expect(await webtoki.certificates(other)).toHaveLength(1)
    expect(requests).toEqual([])
  },
)

// OpenSC pull request 2216: cards that answer 9000 to SELECT of any AID.
it('a card that answers 9000 to every SELECT but has no PIV is not recognized', async () => {
  const { webtoki, reader, card } = desk()
  reader.insert({
    atr: card.atr,
    reset: (kind) => card.reset(kind),
    powerOff: () => card.powerOff(),
    process: async (command) => (command[1] === 0xa4 ? Uint8Array.of(0x90, 0) : Uint8Array.of(0x6d, 0)),
  })
  await expect(webtoki.login(nonce)).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
})
