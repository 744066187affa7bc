/** Names and kinds of readers and slots, with the names of real readers. */
import type { CardSlot } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  compositeProfiles,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  VirtualCompositeReader,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { slotIdentity } from '../src/slot-identity.ts'

/**
 * The kinds of a device's slots. `interfaceNames`: the names of its interfaces; `slots`: the number of slots in each.
 */
function kindsOf(name: string, interfaceNames: readonly string[], slots = 1): CardSlot['kind'][] {
  return interfaceNames.flatMap((hint, interfaceNumber) =>
    Array.from(
      { length: slots },
      (_, slot) => slotIdentity({ id: 'x', name }, { interfaceNumber, slot, slots, hint }).kind,
    ),
  )
}

describe('the kind of a slot', () => {
  it.each([
    [
      'ACS_ACR1252IMP_Reader.txt',
      'ACS ACR1252IMP Reader',
      ['ACR1252IMP Reader PICC', 'ACR1252IMP Reader SAM'],
      'contactless sam',
    ],
    [
      'ACS_ACR1581.txt',
      'ACS ACR1581',
      ['ACR1581 1S Dual Reader PICC', 'ACR1581 1S Dual Reader ICC', 'ACR1581 1S Dual Reader SAM'],
      'contactless contact sam',
    ],
    ['Access_IS_ATR220_0x0184.txt', 'Access IS', ['NFC0', 'SMC0', 'SMC1'], 'contactless contact contact'],
    [
      'Alcor_Link_AK9567.txt',
      'Generic EMV Smartcard Reader',
      ['', 'Contactless Card Reader'],
      'contact contactless',
    ],
    [
      'Broadcom_58200.txt',
      'Broadcom Corp 58200',
      ['Contacted SmartCard', 'Contactless SmartCard'],
      'contact contactless',
    ],
    [
      'CREATOR_CRT-603_CZ1_CCR.txt',
      'CREATOR CRT-603(CZ1) CCR',
      ['CRT-603 (CZ1) CCR SAM1', 'CRT-603 (CZ1) CCR SAM2'],
      'sam sam',
    ],
    [
      'DC_DC4_5CCID_READER.txt',
      'DC.Ltd DC4 5CCID READER',
      ['DC4 Smart_Card_Reader', 'DC4 Contactless_Reader', 'DC4 SAMX_Reader'],
      'contact contactless sam',
    ],
    [
      'Feitian_R502.txt',
      'Feitian R502',
      ['R502 Contactless Reader', 'R502 Contact Reader', 'R502 SAM1 Reader', 'R502 SAM2 Reader'],
      'contactless contact sam sam',
    ],
    [
      'GemProxDU.txt',
      'Gemalto Prox Dual USB PC Link Reader',
      ['Prox-DU Contactless_10500231', 'Prox-DU Contact_10500231'],
      'contactless contact',
    ],
    [
      'HID_Global_OMNIKEY_5122_Smartcard_Reader.txt',
      'HID Global OMNIKEY 5122 Smartcard Reader',
      ['OMNIKEY 5122CL Smartcard Reader', 'OMNIKEY 5122 Smartcard Reader'],
      'contactless contact',
    ],
    [
      'Identive_CLOUD_4510_F.txt',
      'Identive CLOUD 4510 F Contactless + SAM Reader',
      ['CLOUD 4510 F SAM Reader', 'CLOUD 4510 F Contactless Reader'],
      'sam contactless',
    ],
    [
      'Kapelse_KAP-Move.txt',
      'Kapelse KAP-Move',
      ['CCID Interface slot0', 'CCID Interface CLESS slot2'],
      'contact contactless',
    ],
    ['MK_Technology_KeyPass_D1.txt', 'MK Technology KeyPass D1', ['SAM Reader', 'SC Reader'], 'sam contact'],
    [
      'NXP_Pegoda_3.txt',
      'NXP Semiconductors NXP Pegoda 3',
      ['NXP Pegoda 3 (CL)', 'NXP Pegoda 3 (CT)'],
      'contactless contact',
    ],
    ['Yubico_Yubikey_4_CCID.txt', 'Yubico YubiKey CCID', [''], 'token'],
    ['Nitrokey_Nitrokey_3.txt', 'Nitrokey 3', [''], 'token'],
    ['CardMan3021.txt', 'OMNIKEY AG Smart Card Reader USB', [''], 'contact'],
  ] as const)('is derived from the interface names: %s', (_, name, interfaceNames, kinds) => {
    expect(kindsOf(name, interfaceNames).join(' ')).toBe(kinds)
  })

  it.each([
    ['Circle_CIR415_CL_1S.txt', 'Circle CIR415 CL & 1S', 2, 'contactless sam'],
    ['ESMART_Reader_ER773x_Dual_1S.txt', 'ESMART Reader ER773x Dual & 1S', 3, 'contact contact sam'],
    [
      'GemCorePOSPro.txt',
      'Gemplus GemCore POS Pro Smart Card Reader',
      5,
      'contact contact contact contact contact',
    ],
  ] as const)('is derived from one name for several slots: %s', (_, name, slots, kinds) => {
    expect(kindsOf(name, [''], slots).join(' ')).toBe(kinds)
  })

  it('is taken from the quirk if the reader’s name is wrong', async () => {
    const profile = {
      ...readerProfiles.sdi011,
      productId: 0x5111,
      product: 'SCR331-DI USB Smart Card Reader',
    }
    const bus = new VirtualBus()
    bus.plug(new VirtualCcidReader(profile))
    const source = ccidSlots({ usb: bus.context() })
    const slots = await firstValueFrom(source.slots$)
    expect(slots.map(({ name, kind }) => `${name}: ${kind}`)).toEqual([
      'SCM Microsystems Inc. SCR331-DI USB Smart Card Reader slot 1: contact',
      'SCM Microsystems Inc. SCR331-DI USB Smart Card Reader slot 2: contactless',
    ])
    await source.close()
  })
})

describe('names and ids', () => {
  const one = (serialNumber: string | null) =>
    new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber })
  const listed = async (source: ReturnType<typeof ccidSlots>): Promise<string[]> =>
    (await firstValueFrom(source.slots$)).map(({ id, name }) => `${name} = ${id}`).sort()
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  const both = ['DUALi DE-ABCM6 2 = 1db2:0600:B/0.0', 'DUALi DE-ABCM6 = 1db2:0600:A/0.0']

  it('are the same in every tab, whatever the order in which the browser lists identical readers', async () => {
    for (const order of ['AB', 'BA']) {
      const bus = new VirtualBus()
      for (const serialNumber of order) bus.plug(one(serialNumber))
      const source = ccidSlots({ usb: bus.context() })
      expect(await listed(source)).toEqual(both)
      await source.close()
    }
  })

  it('return with their readers, whatever the order of replugging', async () => {
    const bus = new VirtualBus()
    const [first, second] = [one('A'), one('B')]
    bus.plug(first)
    bus.plug(second)
    const source = ccidSlots({ usb: bus.context() })
    await listed(source)
    bus.unplug(first)
    bus.unplug(second)
    await settled()
    bus.plug(second)
    await settled()
    expect(await listed(source)).toEqual([both[0]])
    bus.plug(first)
    await settled()
    expect(await listed(source)).toEqual(both)
    await source.close()
  })

  it('number identical readers without a serial number in their order', async () => {
    const bus = new VirtualBus()
    bus.plug(one(null))
    bus.plug(one(null))
    const source = ccidSlots({ usb: bus.context() })
    expect(await listed(source)).toEqual([
      'DUALi DE-ABCM6 2 = 1db2:0600#2/0.0',
      'DUALi DE-ABCM6 = 1db2:0600/0.0',
    ])
    await source.close()
  })

  it('put security modules after the slots for cards, whatever the order of the interfaces', async () => {
    const bus = new VirtualBus()
    bus.plug(new VirtualCompositeReader(compositeProfiles.identiveCloud4510))
    bus.plug(one('A'))
    const source = ccidSlots({ usb: bus.context({ protectedClasses: false }) })
    const slots = await firstValueFrom(source.slots$)
    expect(slots.map(({ id, kind }) => `${id} ${kind}`).sort()).toEqual([
      '04e6:5721:V0000001/0.0 sam',
      '04e6:5721:V0000001/1.0 contactless',
      '1db2:0600:A/0.0 contact',
    ])
    expect(slots.at(-1)?.kind).toBe('sam')
    expect(slots.find(({ kind }) => kind === 'sam')?.name).toBe(
      'Identive CLOUD 4510 F Contactless + SAM Reader (CLOUD 4510 F SAM Reader)',
    )
    await source.close()
  })
})
