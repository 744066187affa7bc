/** Tokens on the control pipe: ICCD version B. */
import { decodeResponse, exchange, ReaderTimeoutError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  createPivCard,
  gemaltoPdt,
  HandClock,
  type VirtualCard,
  VirtualBus,
  VirtualIccdToken,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { driverClock, inTime } from './stand.ts'

// Loaded with the first such device: real time, of which the hand-moved clock knows nothing.
beforeAll(() => import('../src/iccd-pipe.ts'))

function put(card: VirtualCard) {
  const clock = new HandClock()
  const token = new VirtualIccdToken(gemaltoPdt, card)
  const bus = new VirtualBus()
  bus.plug(token)
  const source = ccidSlots({ usb: bus.context({ protectedClasses: false }), clock: driverClock(clock) })
  const slot = async () => {
    const [first] = await firstValueFrom(source.slots$)
    if (first === undefined) throw new Error('There is no slot.')
    return first
  }
  return { clock, token, bus, source, slot }
}

const echo = (bytes: number) => ({
  name: 'ECHO',
  cla: 0,
  ins: 0x10,
  p1: 0,
  p2: 0,
  data: Uint8Array.from({ length: bytes }, (_, at) => (at * 7) & 0xff),
  responseBytes: 65_536,
})
const short = Uint8Array.of(0, 0x10, 0, 0, 1, 9, 0)

describe('a token on the control pipe', () => {
  it('is a slot with a card in it', async () => {
    const { slot, source } = put(createEchoCard())
    const place = await slot()
    expect(place.name).toBe('Gemalto PDT')
    expect(await firstValueFrom(place.presence$)).toBe('present')
    await source.close()
  })

  it.each([3, 200, 600, 4000])('gives back %d bytes, in parts where they are many', async (bytes) => {
    const { slot, source, clock } = put(createEchoCard())
    const connection = await (await slot()).connect()
    const command = echo(bytes)
    const work = connection.transaction({}, (channel) => exchange(channel, command))
    expect([...(await inTime(clock, work)).data]).toEqual([...command.data])
    await source.close()
  })

  it.each([0, 3])('asks again where it is told to, after %d times 10 ms', async (delay) => {
    const { slot, source, clock, token } = put(createEchoCard())
    const connection = await (await slot()).connect()
    token.pollAgain = { times: 4, delay }
    const told: string[] = []
    const options = { onWait: (why: string) => void told.push(why) }
    const work = connection.transaction({}, (channel) => channel.transmit(short, options))
    expect(decodeResponse(await inTime(clock, work)).sw).toBe(0x9000)
    expect(told).toContain('time-extension')
    await source.close()
  })

  it('one that says "ask again" for ever is given up, and the next attempt works', async () => {
    const { slot, source, clock, token } = put(createEchoCard())
    const place = await slot()
    const connection = await place.connect()
    token.pollAgain = { times: Number.POSITIVE_INFINITY, delay: 100 }
    const work = connection.transaction({}, (channel) =>
      channel.transmit(short, { timeoutMs: 2000, maxWaitMs: 10_000 }),
    )
    await expect(inTime(clock, work)).rejects.toBeInstanceOf(ReaderTimeoutError)
    token.pollAgain = { times: 0, delay: 0 }
    await inTime(clock, connection.close())
    const again = await inTime(clock, place.connect())
    const second = again.transaction({}, (channel) => channel.transmit(short))
    expect(decodeResponse(await inTime(clock, second)).sw).toBe(0x9000)
    await inTime(clock, source.close())
  })

  it('reads a certificate and verifies a PIN', async () => {
    const card = createPivCard()
    const { slot, source, clock } = put(card)
    const connection = await (await slot()).connect()
    const applet = new PivApplet(connection)
    const work = connection.transaction(applet, async (channel) => {
      await applet.select(channel)
      const object = await applet.readObject(channel, (pivSlot(0x9a) as PivSlot).certificateTag)
      await applet.pin.verify(channel, new TextEncoder().encode('123456'))
      return object?.length
    })
    expect(await inTime(clock, work)).toBeGreaterThan(800)
    expect(card.pinVerified).toBe(true)
    await source.close()
    expect(card.pinVerified).toBe(false)
  })

  it('unplugged in the middle of a command it is told as gone', async () => {
    const { slot, source, clock, token, bus } = put(createEchoCard())
    const connection = await (await slot()).connect()
    token.pollAgain = { times: 100, delay: 10 }
    const work = connection.transaction({}, (channel) => channel.transmit(short))
    const told = work.catch((error: { code?: string }) => error.code)
    await clock.advance(50)
    bus.unplug(token)
    expect(await inTime(clock, told)).toMatch(/^(reader|card)\/gone$/)
    await source.close()
  })
})
