/** A login works beside readers and sources that are slow, silent or broken, or fail once. */
import type { CardConnection, CardSlot, SlotSource } from '@webtoki/apdu'
import { TransferError } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createPivCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { BehaviorSubject, EMPTY, firstValueFrom, NEVER, throwError } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Webtoki } from 'webtoki'

const nonce = 'n'.repeat(44)
const pin = async () => ({ pin: new TextEncoder().encode('123456') })

function put(): { readonly usb: USB; readonly device: Promise<USBDevice> } {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(createPivCard())
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb: USB = bus.context()
  return { usb, device: usb.getDevices().then(([device]) => device as USBDevice) }
}

const sourceOf = (slots$: SlotSource['slots$']): SlotSource => ({ slots$, close: async () => {} })

beforeEach(() => {
  vi.stubGlobal('location', { origin: 'https://example.org' })
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('a login', () => {
  it('works with a reader whose first open() failed', async () => {
    const { usb, device } = put()
    const target = await device
    const open = target.open.bind(target)
    let times = 0
    target.open = async () => {
      if (times++ === 0) throw new DOMException('Unable to open device.', 'NetworkError')
      return open()
    }
    const webtoki = new Webtoki({ pin, usb })
    expect(await firstValueFrom(webtoki.slots$)).toEqual([])
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid')
    await webtoki.close()
  })

  it('works beside a source that fails, which is listed in problems$', async () => {
    const broken = sourceOf(throwError(() => new TransferError('The bridge is down.')))
    const webtoki = new Webtoki({ pin, usb: put().usb, sources: [broken] })
    expect(await firstValueFrom(webtoki.slots$)).toHaveLength(1)
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid')
    expect(await firstValueFrom(webtoki.problems$)).toMatchObject([{ error: { code: 'reader/transfer' } }])
    await webtoki.close()
  })

  it('works beside a source that completes without a list', async () => {
    const webtoki = new Webtoki({ pin, usb: put().usb, sources: [sourceOf(EMPTY)] })
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid')
    await webtoki.close()
  })

  it('works beside a source and a slot that never emit, after their time-outs', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const [slot] = await firstValueFrom(ccidSlots({ usb: put().usb }).slots$)
    if (slot === undefined) throw new Error('There is no slot.')
    const silent = { ...slot, id: 'silent', name: 'silent', kind: slot.kind, presence$: NEVER }
    const sources = [sourceOf(NEVER), sourceOf(new BehaviorSubject([silent]))]
    const webtoki = new Webtoki({ pin, usb: put().usb, sources })
    let isOver = false
    const login = webtoki.login(nonce).finally(() => (isOver = true))
    login.catch(() => {})
    while (!isOver) {
      await vi.advanceTimersByTimeAsync(100)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await expect(login).resolves.toContain('web-eid')
    await webtoki.close()
  })
})

describe('a search for certificates', () => {
  const never = (): Promise<never> => new Promise(() => {})
  const secondSlot = (connect: CardSlot['connect']): CardSlot => ({
    id: 'stuck',
    name: 'The stuck reader',
    kind: 'contact',
    presence$: new BehaviorSubject('present' as const),
    connect,
  })
  /** Advances the clock until the work settles. */
  async function advanced<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const over = (): void => void (isOver = true)
    work.then(over, over)
    while (!isOver) {
      await vi.advanceTimersByTimeAsync(10)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return work
  }
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  })

  it.each([
    ['whose connect never ends', never],
    [
      'whose reading never ends',
      async (): Promise<CardConnection> => ({
        gone: never(),
        hasPinPad: false,
        transaction: never,
        close: async () => {},
      }),
    ],
  ])('is not held up by a card %s, which is told by name', async (_what, connect) => {
    const sources = [sourceOf(new BehaviorSubject([secondSlot(connect)]))]
    const webtoki = new Webtoki({ pin, usb: put().usb, sources })
    // The first search loads modules in real time, while the clock is advanced.
    await advanced(webtoki.certificates('login'))
    const found = await advanced(webtoki.certificates('login'))
    expect(found.length).toBeGreaterThan(0)
    const timeout = { code: 'reader/timeout', message: expect.stringContaining('The stuck reader') }
    const problems = await firstValueFrom(webtoki.problems$)
    expect(problems).toMatchObject([{ name: 'The stuck reader', error: timeout }])
    await advanced(webtoki.close())
  })

  it('with only a card that never responds fails with the reason, and so does a login after it', async () => {
    const webtoki = new Webtoki({ pin, sources: [sourceOf(new BehaviorSubject([secondSlot(never)]))] })
    await expect(advanced(webtoki.certificates('login'))).rejects.toMatchObject({ code: 'reader/timeout' })
    await expect(advanced(webtoki.login(nonce))).rejects.toMatchObject({ code: 'reader/timeout' })
    expect(await firstValueFrom(webtoki.problems$)).toHaveLength(1)
    await advanced(webtoki.close())
  })
})
