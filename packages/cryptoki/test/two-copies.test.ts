/**
 * A page that bundles @webtoki/apdu twice: the reader's errors have other classes than those that cryptoki
 * imports.
 */
import { CKM, CKO, CKR, CKU, Cryptoki } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { expect, it, vi } from 'vitest'
import { bytesOf, object, rightPin, rv } from './piv-setup.ts'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

it('a card pulled during a signature returns CKR_DEVICE_REMOVED if the reader has a second copy', async () => {
  vi.resetModules()
  const { ccidSlots } = await import('@webtoki/ccid')
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  const card = createPivCard()
  reader.insert({
    atr: card.atr,
    reset: (kind) => card.reset(kind),
    powerOff: () => card.powerOff(),
    process: (command) => {
      if (command[1] === 0x87) reader.remove()
      return card.process(command)
    },
  })
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()], login: 'on-demand' })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin: rightPin })
  const signing = session.sign(
    { type: CKM.SHA256_RSA_PKCS },
    await object(session, CKO.PRIVATE_KEY, 1),
    bytesOf('x'),
  )
  await expect(signing).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
  await cryptoki.close()
})

it('a login continues in the page if a PIN pad of a second copy refuses the message, with one VERIFY', async () => {
  vi.resetModules()
  const { PinPadRefusedError } = await import('@webtoki/apdu')
  // The modules loaded below must not share that copy.
  vi.resetModules()
  const cardSlot = new MemorySlot()
  let entries = 0
  const refuse = () => Promise.reject(new PinPadRefusedError())
  cardSlot.card.pinPad = {
    verify: () => {
      entries++
      return refuse()
    },
    modify: refuse,
  }
  const cryptoki = new Cryptoki({ sources: [cardSlot], drivers: [new SoftwareDriver()] })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin: rightPin })
  await session.login(CKU.USER)
  expect([entries, cardSlot.card.logins]).toEqual([1, 1])
  await cryptoki.close()
})
