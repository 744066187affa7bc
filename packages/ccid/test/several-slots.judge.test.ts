/**
 * Compares the driver with Debian's pcscd and libccid on readers with several slots and devices with several
 * interfaces.
 */
import type { CardConnection, CardSlot } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  compositeProfiles,
  createEchoCard,
  readerProfiles,
  type UsbDeviceModel,
  VirtualCcidReader,
  VirtualCompositeReader,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { judgeMissing, pcscHosts } from './pcsc-host.ts'

if (judgeMissing !== undefined) console.warn(`Several slots are not compared with libccid: ${judgeMissing}.`)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** One slot, as either side presents it. */
interface TestSlot {
  /**
   * The interface's own name, which both sides show, and the slot's number in it. pcscd numbers interfaces in the
   * order of discovery.
   */
  readonly title: string
  until(presence: 'empty' | 'present'): Promise<void>
  connect(): Promise<void>
  transmit(apdu: string): Promise<string>
  disconnect(): Promise<void>
}

const inOrder = (testSlots: TestSlot[]): TestSlot[] =>
  testSlots.sort((one, two) => (one.title < two.title ? -1 : 1))

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

async function libccid(device: UsbDeviceModel, count: number): Promise<TestSlot[]> {
  const testSlots = (await pcscHosts(device, count, open)).map(({ host, name }): TestSlot => {
    const [, interfaceName, slot = ''] = /\[(.*)\] \(V0000001\) \w\w (\w\w)$/.exec(name) ?? []
    return {
      title: `${interfaceName} ${Number.parseInt(slot, 16)}`,
      until: async (presence) => expect(await host.ask(`wait ${presence}`)).toMatch(/^ok/),
      connect: async () => expect(await host.ask('connect')).toBe('ok'),
      transmit: async (apdu) => {
        const result = await host.ask(`transmit ${apdu}`)
        return result.startsWith('ok ') ? result.slice(3) : 'gone'
      },
      disconnect: async () => void (await host.ask('disconnect')),
    }
  })
  return inOrder(testSlots)
}

async function ours(device: UsbDeviceModel, count: number): Promise<TestSlot[]> {
  const usb = virtualUsb([device], { protectedClasses: false })
  const source = ccidSlots({ usb, pollMs: 20 })
  open.push(() => source.close())
  const [plugged] = await usb.getDevices()
  const slots = await firstValueFrom(source.slots$)
  expect(slots).toHaveLength(count)
  const testSlot = (slot: CardSlot): TestSlot => {
    const [interfaceNumber = '', number = ''] = slot.id.split('/')[1]?.split('.') ?? []
    const interfaceName = plugged?.configuration?.interfaces[Number(interfaceNumber)]?.alternate.interfaceName
    let connection: CardConnection | undefined
    return {
      title: `${interfaceName} ${number}`,
      until: async (presence) =>
        void (await firstValueFrom(slot.presence$.pipe(filter((each) => each === presence)))),
      connect: async () => {
        // If it has a choice, libccid uses the first protocol of the ATR.
        connection = await slot.connect()
      },
      transmit: (apdu) =>
        (connection as CardConnection)
          .transaction({}, async (channel) =>
            hex(await channel.transmit(Uint8Array.from(Buffer.from(apdu, 'hex')))),
          )
          .catch(() => 'gone'),
      disconnect: async () => {
        await connection?.close()
      },
    }
  }
  return inOrder(slots.map(testSlot))
}

/** Functions that insert and remove the card of a slot, by the slot's title. */
type Hands = ReadonlyMap<string, { insert(): void; remove(): void }>

const echoOf = (data: Uint8Array): string =>
  `00100000${data.length.toString(16).padStart(2, '0')}${hex(data)}00`

/** The results of one scenario on all slots, line by line. */
async function runScenario(testSlots: readonly TestSlot[], hands: Hands): Promise<string[]> {
  const lines = testSlots.map(({ title }) => title)
  for (const [at, inserted] of testSlots.entries()) {
    for (const [other, testSlot] of testSlots.entries())
      await testSlot.until(other < at ? 'present' : 'empty')
    hands.get(inserted.title)?.insert()
    await inserted.until('present')
  }
  for (const testSlot of testSlots) await testSlot.connect()
  // All slots at the same time, ten times, each with its own data.
  const responses = await Promise.all(
    testSlots.map(async (testSlot, at) => {
      const echoes: string[] = []
      for (let round = 0; round < 10; round++) {
        const data = Uint8Array.from({ length: 20 + round }, (_, byte) => (16 * at + byte + round) & 0xff)
        let response = await testSlot.transmit(echoOf(data))
        // T=0 at TPDU level: the caller fetches the response.
        if (response.startsWith('61')) response = await testSlot.transmit(`00c00000${response.slice(2)}`)
        echoes.push(`${at}: ${response}`)
      }
      return echoes
    }),
  )
  lines.push(...responses.flat())
  // The first card is removed; the others continue.
  hands.get(lines[0] ?? '')?.remove()
  await testSlots[0]?.until('empty')
  for (const [at, testSlot] of testSlots.entries())
    lines.push(`${at} after: ${(await testSlot.transmit('00a4000000')).slice(0, 4)}`)
  for (const testSlot of testSlots) await testSlot.disconnect()
  return lines
}

describe.skipIf(judgeMissing !== undefined)(
  'libccid and the driver get the same results from every slot',
  () => {
    const handsOf = (reader: VirtualCcidReader, slots: number): Hands =>
      new Map(
        Array.from({ length: slots }, (_, slot) => [
          `${reader.profile.interfaceName} ${slot}`,
          { insert: () => reader.insert(createEchoCard(), slot), remove: () => reader.remove(slot) },
        ]),
      )

    it.each([
      { name: 'sdi011', slots: 2 },
      { name: 'springCardE518', slots: 2 },
      { name: 'sysmoOctsim', slots: 8 },
    ] as const)(
      'of $name, one interface with $slots slots',
      async ({ name, slots }) => {
        const run = async (drive: typeof ours) => {
          const reader = new VirtualCcidReader(readerProfiles[name])
          return runScenario(await drive(reader, slots), handsOf(reader, slots))
        }
        const theirs = await run(libccid)
        expect(theirs).toHaveLength(12 * slots)
        expect(theirs.filter((line) => line.endsWith('gone'))).toEqual(['0 after: gone'])
        expect(await run(ours)).toEqual(theirs)
      },
      30_000,
    )

    it.each(['feitianR502', 'identiveCloud4510', 'identivUtrust4701'] as const)(
      'of %s, a device with several interfaces',
      async (name) => {
        const count = compositeProfiles[name].interfaces.length
        const run = async (drive: typeof ours) => {
          const device = new VirtualCompositeReader(compositeProfiles[name])
          const hands = new Map(device.readers.flatMap((reader) => [...handsOf(reader, 1)]))
          return runScenario(await drive(device, count), hands)
        }
        const theirs = await run(libccid)
        expect(theirs).toHaveLength(12 * count)
        expect(theirs.filter((line) => line.endsWith('gone'))).toEqual(['0 after: gone'])
        expect(await run(ours)).toEqual(theirs)
      },
      30_000,
    )
  },
)
