/** Compares PC/SC part 10 features and properties with libccid, property by property. */
import { ccidSlots } from '@webtoki/ccid'
import { Feature, readerControls, type ReaderFeatures } from '@webtoki/ccid/controls'
import {
  createPivCard,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { judgeMissing, pcscHost } from './pcsc-host.ts'

if (judgeMissing !== undefined) console.warn(`Features are not judged by libccid: ${judgeMissing}.`)

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

/** CardMan3821.txt: a display, a PIN pad, and PIN limits that libccid knows. */
const cardMan3821: ReaderProfile = {
  ...readerProfiles.omnikey3021,
  productId: 0x3821,
  deviceVersion: 0x0600,
  ccidDescriptor:
    '36210001000703000000c0120000401f000004002a0000e74c06006afe0000000700000000000000b20702000f010000ffff10020301',
}
const models: Readonly<Record<string, ReaderProfile>> = {
  spr532: readerProfiles.spr532,
  dellSk3106: readerProfiles.dellSk3106,
  cyberJackPinpad: { ...readerProfiles.cyberJackPinpad, productId: 0x0504 },
  gemPcPinpad: readerProfiles.gemPcPinpad,
  cherrySt2000: readerProfiles.cherrySt2000,
  cherryKc1000: readerProfiles.cherryKc1000,
  ezioShield: readerProfiles.ezioShield,
  hpKus0133: readerProfiles.hpKus0133,
  cardMan3821,
  scr3310Ntt: readerProfiles.scr3310Ntt,
  omnikey3021: readerProfiles.omnikey3021,
  yubikey4: readerProfiles.yubikey4,
  gemPcTwin: readerProfiles.gemPcTwin,
}

const names: Readonly<Record<number, keyof ReaderFeatures['properties']>> = {
  1: 'lcdLayout',
  2: 'entryValidationCondition',
  3: 'timeOut2',
  4: 'lcdMaxCharacters',
  5: 'lcdMaxLines',
  6: 'minPinSize',
  7: 'maxPinSize',
  9: 'ppduSupport',
  10: 'maxApduDataSize',
  11: 'vendorId',
  12: 'productId',
}

function* tlvs(response: string): Generator<[tag: number, value: Buffer]> {
  const bytes = Buffer.from(response.replace('ok ', ''), 'hex')
  for (let at = 0; at + 2 <= bytes.length; at += 2 + (bytes[at + 1] ?? 0))
    yield [bytes[at] ?? 0, bytes.subarray(at + 2, at + 2 + (bytes[at + 1] ?? 0))]
}

async function libccid(reader: VirtualCcidReader) {
  const host = await pcscHost(reader, open)
  await host.ask('wait empty')
  expect(await host.ask('connect direct')).toBe('ok')
  const tags = new Map<number, string>(Object.entries(Feature).map(([name, tag]) => [tag, name]))
  const features = [...tlvs(await host.ask('features'))].map(([tag]) => tags.get(tag) ?? `unknown ${tag}`)
  const properties: Record<string, number> = {}
  for (const [tag, value] of tlvs(await host.ask('feature 12')))
    properties[names[tag] ?? `unknown ${tag}`] = value.readUIntLE(0, value.length)
  const pin = await host.ask('feature 0a')
  const pinProperties = Buffer.from(pin.replace('ok ', ''), 'hex')
  return {
    features,
    properties,
    ...(pin.startsWith('ok')
      ? {
          pin: {
            lcdLayout: pinProperties.readUInt16LE(0),
            entryValidationCondition: pinProperties[2],
            timeOut2: pinProperties[3],
          },
        }
      : {}),
  }
}

async function ours(reader: VirtualCcidReader): Promise<ReaderFeatures> {
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  open.push(() => source.close())
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('Our driver shows no slot.')
  return readerControls(slot).features
}

describe.skipIf(judgeMissing !== undefined)('libccid and the driver report the same features of', () => {
  it.each(Object.entries(models))('%s', async (_, profile) => {
    const theirs = await libccid(new VirtualCcidReader(profile))
    const own = await ours(new VirtualCcidReader(profile))
    const isTpdu = profile.ccidDescriptor.slice(84, 86) === '01'
    expect(own).toEqual({
      ...theirs,
      // libccid disables Escape by default (ifdDriverOptions, bit 0), so that no program can reach a reader's
      // firmware. In the browser only the page that the person chose has the reader.
      features: [...theirs.features, 'CCID_ESC_COMMAND'],
      properties: {
        ...theirs.properties,
        ppduSupport: 1,
        // At TPDU level libccid states 65536 for any protocol. A connection of this driver takes short APDUs there,
        // and states so.
        maxApduDataSize: isTpdu ? 0 : theirs.properties['maxApduDataSize'],
      },
    })
    expect(theirs.properties['ppduSupport']).toBe(0)
  })
})

describe.skipIf(judgeMissing !== undefined)('libccid and the driver negotiate the same speed on', () => {
  // Both use ids that libccid lists.
  const ids = { vendorId: readerProfiles.weneo.vendorId, productId: readerProfiles.weneo.productId }
  it.each([
    { what: 'a reader that lists the speed', profile: { ...readerProfiles.hsic, ...ids }, pps: 'ff119678' },
    { what: 'a reader that does not list it', profile: readerProfiles.weneo, pps: undefined },
    { what: 'a reader that announces no list', profile: readerProfiles.gemPcTwin, pps: 'ff119678' },
  ])('$what', async ({ profile, pps }) => {
    const make = (seen: string[]): VirtualCcidReader => {
      const reader = new VirtualCcidReader(profile)
      reader.insert(createPivCard({ protocols: 'T=1' }), 0, {
        line: (bytes, to) => {
          if (bytes[0] === 0xff && to === 'card') seen.push(Buffer.from(bytes).toString('hex'))
          return bytes
        },
      })
      return reader
    }
    const theirs: string[] = []
    const host = await pcscHost(make(theirs), open)
    expect(await host.ask('wait present')).toMatch(/^ok/)
    expect(await host.ask('connect T=1')).toBe('ok')
    expect(await host.ask('transmit 0020008000')).toMatch(/^ok/)
    const own: string[] = []
    const source = ccidSlots({ usb: virtualUsb([make(own)], { protectedClasses: false }) })
    open.push(() => source.close())
    const [slot] = await firstValueFrom(source.slots$)
    await slot?.connect({ protocol: 'T=1' })
    expect(theirs).toEqual(pps === undefined ? [] : [pps])
    expect(own).toEqual(theirs)
  })
})
