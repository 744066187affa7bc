/** The errors for an unknown card, a busy card and an empty slot. */
import { ccidSlots } from '@webtoki/ccid'
import { CKR, Cryptoki, type TokenDriver } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createEchoCard,
  createOpenPgpCard,
  createPivCard,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  type VirtualCard,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'

async function slotWith(card: VirtualCard, drivers: readonly TokenDriver[]) {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  return { cryptoki, slot }
}

/** The card, with this status word for each SELECT. */
const withSelectStatus = (card: VirtualCard, sw: number): VirtualCard => ({
  atr: card.atr,
  reset: (kind) => card.reset(kind),
  powerOff: () => card.powerOff(),
  process: async (command) =>
    command[1] === 0xa4 ? Uint8Array.of(sw >> 8, sw & 0xff) : card.process(command),
})

describe('a card without a driver', () => {
  it.each([
    ['an OpenPGP card', () => createOpenPgpCard(), [pivDriver()], /an OpenPGP card.*only PIV/i],
    ['a PIV card', () => createPivCard(), [openPgpDriver()], /a PIV card.*only OpenPGP/i],
  ])('is named in the error by its family: %s', async (_, card, drivers, sentence) => {
    const { cryptoki, slot } = await slotWith(card(), drivers)
    const error: Error = (await slot.openSession().catch((reason: Error) => reason)) as Error
    expect(error).toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
    expect(error.message).toMatch(sentence)
    await cryptoki.close()
  })

  it.each([
    ['knows no application', () => createEchoCard()],
    ['selects any application', () => withSelectStatus(createEchoCard(), 0x9000)],
  ])('that %s is not named in the error', async (_, card) => {
    const { cryptoki, slot } = await slotWith(card(), [openPgpDriver()])
    const error = (await slot.openSession().catch((reason: Error) => reason)) as Error
    expect(error.message).not.toMatch(/this is/)
    await cryptoki.close()
  })
})

it.each([
  ['PIV', () => createPivCard(), pivDriver()],
  ['OpenPGP', () => createOpenPgpCard(), openPgpDriver()],
])('a busy card (SELECT returns 6400) is not reported as unknown: %s', async (_, card, driver) => {
  const { cryptoki, slot } = await slotWith(withSelectStatus(card(), 0x6400), [driver])
  const error = (await slot.openSession().catch((reason: Error) => reason)) as Error
  expect(error).toMatchObject({ rv: CKR.DEVICE_ERROR, cause: { code: 'card/status', sw: 0x6400 } })
  expect(error.message).toMatch(/busy/)
  await cryptoki.close()
})
