/** Which cards are tried with one extended APDU, and that a card which fails on it is not tried again. */
import { type CardConnection, exchange, fromHex } from '@webtoki/apdu'
import { createPivCard, type Fault, readerProfiles } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

/** The ATR of a CanoKey: T=1, with proprietary historical bytes. */
const canokey = fromHex('3bf711008131fe6543616e6f6b657999')
const silentT0 = fromHex('3b6800000073c84000009000')

const select = {
  name: 'SELECT',
  cla: 0,
  ins: 0xa4,
  p1: 4,
  p2: 0,
  data: fromHex('a000000308'),
  responseBytes: 256,
}
const certificate = {
  name: 'GET DATA',
  cla: 0,
  ins: 0xcb,
  p1: 0x3f,
  p2: 0xff,
  data: fromHex('5c035fc105'),
  responseBytes: 65_536,
}

const mayBeTried = (connection: CardConnection): Promise<boolean> =>
  connection.transaction({}, async ({ limits }) => limits.untried !== undefined)

describe('one extended APDU may be tried', () => {
  it.each([
    ['with an extended APDU reader if the ATR states nothing', 'dualiAbcm6', { atr: canokey }, true],
    ['but not with a short APDU reader', 'omnikey3021', { atr: canokey }, false],
    ['but not over T=0', 'dualiAbcm6', { atr: silentT0, protocols: 'T=0' }, false],
    ['but not with a card that states short APDUs', 'dualiAbcm6', { extendedLength: false }, false],
    ['but not with a card that states extended APDUs, which is trusted', 'dualiAbcm6', {}, false],
  ] as const)('%s', async (_, profile, card, expected) => {
    const { slot, source } = setUp({ profile: readerProfiles[profile], card: createPivCard(card) })
    expect(await mayBeTried(await (await slot()).connect())).toBe(expected)
    await source.close()
  })
})

describe('a card that goes mute on the tried extended APDU', () => {
  const setUpFault = (fault: Fault) => {
    const { clock, slot, source, reader } = setUp({ card: createPivCard({ atr: canokey }) })
    const read = async (connection: CardConnection): Promise<number> =>
      connection.transaction({}, async (channel) => {
        await exchange(channel, select)
        reader.faults.schedule(fault)
        return (await exchange(channel, certificate)).data.length
      })
    return { clock, slot, source, reader, read }
  }

  it('is reset, and the same command returns the whole certificate with short APDUs', async () => {
    const { slot, read, source } = setUpFault({ kind: 'mute-card', ends: 'until-reset' })
    const connection = await (await slot()).connect()
    expect(await read(connection)).toBe(913)
    expect(await mayBeTried(connection)).toBe(false)
    await connection.close()
    expect(await mayBeTried(await (await slot()).connect())).toBe(false)
    await source.close()
  })

  it('together with its reader is tried again only after it was reinserted', async () => {
    const { clock, slot, read, reader, source } = setUpFault({ kind: 'silent-reader', ends: 'once' })
    const cardSlot = await slot()
    const first = await cardSlot.connect()
    await expect(inTime(clock, read(first))).rejects.toMatchObject({ code: 'card/gone', why: 'reset' })
    const second = await inTime(clock, cardSlot.connect())
    expect(await mayBeTried(second)).toBe(false)
    reader.remove()
    await second.gone
    reader.insert(createPivCard({ atr: canokey }))
    expect(await mayBeTried(await inTime(clock, cardSlot.connect()))).toBe(true)
    await source.close()
  })
})
