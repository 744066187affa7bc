/** The contract of the port `CardConnection`, as a suite that each transport runs. */
import { CardGoneError, type CardConnection, type Timers, type TransmitOptions } from '@webtoki/apdu'
import { HandClock } from '@webtoki/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'

/** A connection to an echo card, which returns the data of INS 10. */
export interface ConnectionStand {
  readonly connection: CardConnection
  /** The card uses T=0, so its first response is 61xx. */
  readonly isT0?: boolean
  /** Returns the number of commands that have reached the card. */
  readonly reached: () => number
  /** Holds back the card's responses until the returned function is called. */
  hold(): () => void
  /** Removes the card, or the token that contains it. */
  pull(): void
  /** The reason that the connection reports after `pull`. Default: 'removed'. */
  readonly pulled?: 'removed' | 'reader-gone'
  /** Advances the connection's clock. */
  advance(milliseconds: number): Promise<void>
  close(): Promise<void>
}

const echo = (...data: number[]): Uint8Array => Uint8Array.of(0, 0x10, 0, 0, data.length, ...data, 0)
const echoed = ({ isT0 = false }: ConnectionStand, byte: number): Uint8Array =>
  isT0 ? Uint8Array.of(0x61, 1) : Uint8Array.of(byte, 0x90, 0)
/** Resolves after everything that does not wait for the card. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A manual clock for the driver. */
export function handTimers(): { readonly hands: HandClock; readonly clock: Timers & { now(): number } } {
  const hands = new HandClock()
  const clock = {
    now: () => hands.nowMs,
    setTimeout: (callback: () => void, delayMs: number) => hands.after(delayMs, callback),
    clearTimeout: (callOff: unknown) => (callOff as (() => void) | undefined)?.(),
  }
  return { hands, clock }
}

/** Runs the suite over one transport. */
export function connectionContract(name: string, open: () => Promise<ConnectionStand>): void {
  const setUp = async (): Promise<ConnectionStand> => {
    const fixture = await open()
    onTestFinished(() => fixture.close())
    return fixture
  }
  const send = (
    { connection }: ConnectionStand,
    byte: number,
    options: TransmitOptions = {},
    owner: object = {},
  ): Promise<Uint8Array> =>
    connection.transaction(owner, (channel) => channel.transmit(echo(byte), options), options)

  describe(`the connection of ${name}`, () => {
    it('runs transactions one at a time in the order of the calls', async () => {
      const fixture = await setUp()
      const order: number[] = []
      await Promise.all(
        [1, 2, 3].map((number) =>
          fixture.connection.transaction({}, async (channel) => {
            order.push(number)
            expect(await channel.transmit(echo(number))).toEqual(echoed(fixture, number))
            order.push(-number)
          }),
        ),
      )
      expect(order).toEqual([1, -1, 2, -2, 3, -3])
    })

    it('rejects a transaction that is started inside another one of the same card', async () => {
      const { connection } = await setUp()
      const nested = { code: 'card/transaction' }
      await connection.transaction({}, async (channel) => {
        await expect(connection.transaction(channel, async () => {})).rejects.toMatchObject(nested)
      })
      await connection.transaction({}, () =>
        expect(connection.transaction({}, async () => {})).rejects.toMatchObject(nested),
      )
    })

    it('releases the lock if the work throws, rejects or returns nothing', async () => {
      const fixture = await setUp()
      const broken = [
        () => {
          throw new Error('at once')
        },
        () => Promise.reject(new Error('later')),
      ]
      for (const work of broken)
        await expect(fixture.connection.transaction({}, work)).rejects.toThrow(/at once|later/)
      await fixture.connection.transaction({}, (() => undefined) as unknown as () => Promise<void>)
      expect(await send(fixture, 7)).toEqual(echoed(fixture, 7))
    })

    it('sends nothing for a transaction that was aborted in the queue', async () => {
      const fixture = await setUp()
      const release = fixture.hold()
      const first = send(fixture, 1)
      const leaving = new AbortController()
      const second = send(fixture, 2, { signal: leaving.signal })
      leaving.abort('no longer')
      await expect(second).rejects.toMatchObject({ code: 'work/aborted', cause: 'no longer' })
      release()
      await first
      expect(await send(fixture, 3)).toEqual(echoed(fixture, 3))
      expect(fixture.reached()).toBe(2)
    })

    it('rejects at once after an abort, but keeps the lock until the card has responded', async () => {
      const fixture = await setUp()
      const release = fixture.hold()
      const leaving = new AbortController()
      const first = send(fixture, 1, { signal: leaving.signal })
      await settled()
      leaving.abort()
      await expect(first).rejects.toMatchObject({ code: 'work/aborted' })
      const second = send(fixture, 2)
      await settled()
      expect(fixture.reached()).toBe(1)
      release()
      expect(await second).toEqual(echoed(fixture, 2))
    })

    it('limits the wait for the lock and reports that it waits', async () => {
      const fixture = await setUp()
      const release = fixture.hold()
      const first = send(fixture, 1)
      const reasons: string[] = []
      const second = fixture.connection.transaction({}, async () => {}, {
        timeoutMs: 50,
        onWait: (why) => reasons.push(why),
      })
      const refused = expect(second).rejects.toMatchObject({ code: 'reader/timeout' })
      await fixture.advance(49)
      await fixture.advance(1)
      await refused
      expect(reasons).toEqual(['queue'])
      release()
      await first
    })

    it('is undisturbed only if the last transaction was of the same owner and without a reset', async () => {
      const { connection } = await setUp()
      const [one, other] = [{}, {}]
      const seen: boolean[] = []
      const look = (owner: object): Promise<void> =>
        connection.transaction(owner, async (channel) => {
          seen.push(channel.undisturbed)
          await channel.transmit(echo(1))
        })
      for (const owner of [one, one, other, one, one]) await look(owner)
      expect(seen).toEqual([false, true, false, false, true])
      await connection.transaction(one, async (channel) => {
        await channel.reset('warm')
        expect(channel.undisturbed).toBe(false)
      })
      await look(one)
      expect(seen.at(-1)).toBe(false)
    })

    it('is disturbed after an exchange whose response was discarded', async () => {
      const fixture = await setUp()
      const owner = {}
      await send(fixture, 1, {}, owner)
      const release = fixture.hold()
      const leaving = new AbortController()
      const lost = send(fixture, 2, { signal: leaving.signal }, owner)
      await settled()
      leaving.abort()
      await expect(lost).rejects.toMatchObject({ code: 'work/aborted' })
      release()
      await fixture.connection.transaction(owner, async (channel) => expect(channel.undisturbed).toBe(false))
    })

    it('sends one command at a time, even if one transaction starts two', async () => {
      const fixture = await setUp()
      const release = fixture.hold()
      const responses = fixture.connection.transaction({}, (channel) =>
        Promise.all([channel.transmit(echo(1)), channel.transmit(echo(2))]),
      )
      await settled()
      expect(fixture.reached()).toBe(1)
      release()
      expect(await responses).toEqual([echoed(fixture, 1), echoed(fixture, 2)])
    })

    it('rejects commands of impossible length and channels of finished transactions before sending', async () => {
      const { connection, reached } = await setUp()
      const channel = await connection.transaction({}, async (open) => {
        for (const length of [0, 3, open.limits.commandBytes + 1])
          await expect(open.transmit(new Uint8Array(length))).rejects.toMatchObject({
            code: 'wire/malformed',
          })
        return open
      })
      await expect(channel.transmit(echo(1))).rejects.toMatchObject({ code: 'card/transaction' })
      await expect(channel.reset('warm')).rejects.toMatchObject({ code: 'card/transaction' })
      expect(reached()).toBe(0)
    })

    it('returns copies of the ATR', async () => {
      const { connection } = await setUp()
      await connection.transaction({}, async (channel) => {
        const before = channel.atr.join()
        channel.atr.fill(0)
        expect(channel.atr.join()).toBe(before)
        ;(await channel.reset('warm')).fill(0)
        expect(channel.atr.join()).toBe(before)
      })
    })

    it('ends once if the card is removed, for running, queued and later transactions', async () => {
      const fixture = await setUp()
      fixture.hold()
      const { pulled = 'removed' } = fixture
      const gone = { code: 'card/gone', why: pulled }
      // The exchange that runs when a token is removed fails by itself.
      const waiting = [
        expect(send(fixture, 1)).rejects.toMatchObject(pulled === 'removed' ? gone : { code: 'reader/gone' }),
        expect(send(fixture, 2)).rejects.toMatchObject(gone),
      ]
      await settled()
      fixture.pull()
      await Promise.all(waiting)
      expect(await fixture.connection.gone).toBeInstanceOf(CardGoneError)
      expect(await fixture.connection.gone).toMatchObject(gone)
      await expect(send(fixture, 3)).rejects.toMatchObject(gone)
      await fixture.connection.close()
      expect(await fixture.connection.gone).toMatchObject(gone)
    })

    it('closes once, ends running transactions and never rejects', async () => {
      const fixture = await setUp()
      const release = fixture.hold()
      const gone = { code: 'card/gone', why: 'closed' }
      const waiting = [send(fixture, 1), send(fixture, 2)].map((each) =>
        expect(each).rejects.toMatchObject(gone),
      )
      await settled()
      const closing = [fixture.connection.close(), fixture.connection.close()]
      await Promise.all(waiting)
      release()
      await Promise.all(closing)
      expect(await fixture.connection.gone).toMatchObject(gone)
      await expect(send(fixture, 3)).rejects.toMatchObject(gone)
    })
  })
}
