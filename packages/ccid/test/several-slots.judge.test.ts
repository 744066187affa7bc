/** Debian's pcscd and libccid beside our driver, at readers of several slots and devices of several interfaces: the same list, the same cards, the same answers. */
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

/** One slot, as either side gives it. */
interface Place {
  /** The interface's own name, which both sides show, and the number of the slot in it. pcscd numbers interfaces as it meets them. */
  readonly title: string
  until(presence: 'empty' | 'present'): Promise<void>
  connect(): Promise<void>
  transmit(apdu: string): Promise<string>
  disconnect(): Promise<void>
}

const inOrder = (places: Place[]): Place[] => places.sort((one, two) => (one.title < two.title ? -1 : 1))

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

async function libccid(device: UsbDeviceModel, count: number): Promise<Place[]> {
  const places = (await pcscHosts(device, count, open)).map(({ host, name }): Place => {
    const [, faceName, slot = ''] = /\[(.*)\] \(V0000001\) \w\w (\w\w)$/.exec(name) ?? []
    return {
      title: `${faceName} ${Number.parseInt(slot, 16)}`,
      until: async (presence) => expect(await host.ask(`wait ${presence}`)).toMatch(/^ok/),
      connect: async () => expect(await host.ask('connect')).toBe('ok'),
      transmit: async (apdu) => {
        const said = await host.ask(`transmit ${apdu}`)
        return said.startsWith('ok ') ? said.slice(3) : 'gone'
      },
      disconnect: async () => void (await host.ask('disconnect')),
    }
  })
  return inOrder(places)
}

async function ours(device: UsbDeviceModel, count: number): Promise<Place[]> {
  const usb = virtualUsb([device], { protectedClasses: false })
  const source = ccidSlots({ usb, pollMs: 20 })
  open.push(() => source.close())
  const [plugged] = await usb.getDevices()
  const slots = await firstValueFrom(source.slots$)
  expect(slots).toHaveLength(count)
  const place = (slot: CardSlot): Place => {
    const [face = '', number = ''] = slot.id.split('/')[1]?.split('.') ?? []
    const faceName = plugged?.configuration?.interfaces[Number(face)]?.alternate.interfaceName
    let connection: CardConnection | undefined
    return {
      title: `${faceName} ${number}`,
      until: async (presence) =>
        void (await firstValueFrom(slot.presence$.pipe(filter((each) => each === presence)))),
      connect: async () => {
        // Where it may choose, libccid speaks the first protocol of the ATR.
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
  return inOrder(slots.map(place))
}

/** What puts a card into a place and takes it out, by the place's title. */
type Hands = ReadonlyMap<string, { insert(): void; remove(): void }>

const echoOf = (data: Uint8Array): string =>
  `00100000${data.length.toString(16).padStart(2, '0')}${hex(data)}00`

/** What the places make of one story, line by line. */
async function story(places: readonly Place[], hands: Hands): Promise<string[]> {
  const lines = places.map(({ title }) => title)
  for (const [at, here] of places.entries()) {
    for (const [other, place] of places.entries()) await place.until(other < at ? 'present' : 'empty')
    hands.get(here.title)?.insert()
    await here.until('present')
  }
  for (const place of places) await place.connect()
  // Every slot at the same time, ten times over, each with data of its own.
  const answers = await Promise.all(
    places.map(async (place, at) => {
      const said: string[] = []
      for (let round = 0; round < 10; round++) {
        const data = Uint8Array.from({ length: 20 + round }, (_, byte) => (16 * at + byte + round) & 0xff)
        let answer = await place.transmit(echoOf(data))
        // T=0 at TPDU level: the caller fetches what the card has.
        if (answer.startsWith('61')) answer = await place.transmit(`00c00000${answer.slice(2)}`)
        said.push(`${at}: ${answer}`)
      }
      return said
    }),
  )
  lines.push(...answers.flat())
  // The first card goes; the others work on.
  hands.get(lines[0] ?? '')?.remove()
  await places[0]?.until('empty')
  for (const [at, place] of places.entries())
    lines.push(`${at} after: ${(await place.transmit('00a4000000')).slice(0, 4)}`)
  for (const place of places) await place.disconnect()
  return lines
}

describe.skipIf(judgeMissing !== undefined)('libccid and we report the same of every slot', () => {
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
      const tell = async (drive: typeof ours) => {
        const reader = new VirtualCcidReader(readerProfiles[name])
        return story(await drive(reader, slots), handsOf(reader, slots))
      }
      const theirs = await tell(libccid)
      expect(theirs).toHaveLength(12 * slots)
      expect(theirs.filter((line) => line.endsWith('gone'))).toEqual(['0 after: gone'])
      expect(await tell(ours)).toEqual(theirs)
    },
    30_000,
  )

  it.each(['feitianR502', 'identiveCloud4510', 'identivUtrust4701'] as const)(
    'of %s, a device of several interfaces',
    async (name) => {
      const count = compositeProfiles[name].interfaces.length
      const tell = async (drive: typeof ours) => {
        const device = new VirtualCompositeReader(compositeProfiles[name])
        const hands = new Map(device.readers.flatMap((reader) => [...handsOf(reader, 1)]))
        return story(await drive(device, count), hands)
      }
      const theirs = await tell(libccid)
      expect(theirs).toHaveLength(12 * count)
      expect(theirs.filter((line) => line.endsWith('gone'))).toEqual(['0 after: gone'])
      expect(await tell(ours)).toEqual(theirs)
    },
    30_000,
  )
})
