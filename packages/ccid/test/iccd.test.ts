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
import { driverClock, inTime } from './set-up.ts'

// The module is loaded on demand, which takes real time that the manual clock does not cover.
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
  it('is a slot with a card', async () => {
    const { slot, source } = put(createEchoCard())
    const cardSlot = await slot()
    expect(cardSlot.name).toBe('Gemalto PDT')
    expect(await firstValueFrom(cardSlot.presence$)).toBe('present')
    await source.close()
  })

  it.each([3, 200, 600, 4000])('returns %d bytes, in several parts if necessary', async (bytes) => {
    const { slot, source, clock } = put(createEchoCard())
    const connection = await (await slot()).connect()
    const command = echo(bytes)
    const work = connection.transaction({}, (channel) => exchange(channel, command))
    expect([...(await inTime(clock, work)).data]).toEqual([...command.data])
    await source.close()
  })

  it.each([0, 3])('polls again after %d times 10 ms as requested', async (delay) => {
    const { slot, source, clock, token } = put(createEchoCard())
    const connection = await (await slot()).connect()
    token.pollAgain = { times: 4, delay }
    const notifications: string[] = []
    const options = { onWait: (why: string) => void notifications.push(why) }
    const work = connection.transaction({}, (channel) => channel.transmit(short, options))
    expect(decodeResponse(await inTime(clock, work)).sw).toBe(0x9000)
    expect(notifications).toContain('time-extension')
    await source.close()
  })

  it('that requests polling forever is given up, and the next attempt works', async () => {
    const { slot, source, clock, token } = put(createEchoCard())
    const cardSlot = await slot()
    const connection = await cardSlot.connect()
    token.pollAgain = { times: Number.POSITIVE_INFINITY, delay: 100 }
    const work = connection.transaction({}, (channel) =>
      channel.transmit(short, { timeoutMs: 2000, maxWaitMs: 10_000 }),
    )
    await expect(inTime(clock, work)).rejects.toBeInstanceOf(ReaderTimeoutError)
    token.pollAgain = { times: 0, delay: 0 }
    await inTime(clock, connection.close())
    const again = await inTime(clock, cardSlot.connect())
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

  it('unplugged during a command is reported as gone', async () => {
    const { slot, source, clock, token, bus } = put(createEchoCard())
    const connection = await (await slot()).connect()
    token.pollAgain = { times: 100, delay: 10 }
    const work = connection.transaction({}, (channel) => channel.transmit(short))
    const outcome = work.catch((error: { code?: string }) => error.code)
    await clock.advance(50)
    bus.unplug(token)
    expect(await inTime(clock, outcome)).toMatch(/^(reader|card)\/gone$/)
    await source.close()
  })
})
