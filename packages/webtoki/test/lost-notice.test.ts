/** Readers that lose NotifySlotChange: chromeos_smart_card_connector#38, tomkp/smartcard#111, pyscard#63. */
import { createPivCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Webtoki } from 'webtoki'

const INTERRUPT_IN = 3
const nonce = 'n'.repeat(44)

beforeEach(() => vi.stubGlobal('location', { origin: 'https://example.org' }))
afterEach(() => void vi.unstubAllGlobals())

/** A page and an empty reader whose interrupt endpoint sends nothing. */
async function deskWithoutNotices() {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('There is no device.')
  const transferIn = device.transferIn.bind(device)
  device.transferIn = (endpoint, bytes) =>
    endpoint === INTERRUPT_IN ? new Promise(() => {}) : transferIn(endpoint, bytes)
  const webtoki = new Webtoki({ pin: async () => ({ pin: new TextEncoder().encode('123456') }), usb })
  const [slot] = await firstValueFrom(webtoki.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  return { reader, slot, webtoki }
}

it('a login finds a card whose insertion was not reported', async () => {
  const { reader, slot, webtoki } = await deskWithoutNotices()
  expect(await firstValueFrom(slot.presence$)).toBe('empty')
  reader.insert(createPivCard())
  expect(await webtoki.login(nonce)).toContain('web-eid')
  await webtoki.close()
})

it('a login with empty readers fails with CKR_TOKEN_NOT_PRESENT and powers no slot on', async () => {
  const { reader, webtoki } = await deskWithoutNotices()
  await expect(webtoki.login(nonce)).rejects.toThrow(/there is no card in any reader/)
  expect(reader.counters.messages.get('IccPowerOn')).toBeUndefined()
  await webtoki.close()
})
