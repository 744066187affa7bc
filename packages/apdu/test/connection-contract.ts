/** What every transport's connection keeps to: the port `CardConnection` with one lock, whatever carries the APDUs. */
import { CardGoneError, type CardConnection, type Timers, type TransmitOptions } from '@webtoki/apdu'
import { HandClock } from '@webtoki/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'

/** A connection to an echo card: INS 10 gives back its data. */
export interface ConnectionStand {
  readonly connection: CardConnection
  /** The card speaks T=0, in which the first answer says how much data can be fetched. */
  readonly isT0?: boolean
  /** How many commands have reached the card. */
  readonly reached: () => number
  /** From now on the card answers when the returned function is called. */
  hold(): () => void
  /** Takes the card away, or the token that it is built into. */
  pull(): void
  /** What a pull is told as. Default: the card's removal. */
  readonly pulled?: 'removed' | 'reader-gone'
  /** Lets time pass on the connection's clock. */
  advance(milliseconds: number): Promise<void>
  close(): Promise<void>
}

const echo = (...data: number[]): Uint8Array => Uint8Array.of(0, 0x10, 0, 0, data.length, ...data, 0)
const echoed = ({ isT0 = false }: ConnectionStand, byte: number): Uint8Array =>
  isT0 ? Uint8Array.of(0x61, 1) : Uint8Array.of(byte, 0x90, 0)
/** Everything that needs no card has happened. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A clock for the driver that is turned by hand. */
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
  const opened = async (): Promise<ConnectionStand> => {
    const stand = await open()
    onTestFinished(() => stand.close())
    return stand
  }
  const send = (
    { connection }: ConnectionStand,
    byte: number,
    options: TransmitOptions = {},
    owner: object = {},
  ): Promise<Uint8Array> =>
    connection.transaction(owner, (channel) => channel.transmit(echo(byte), options), options)

  describe(`the connection of ${name}`, () => {
    it('runs transactions one after the other, in the order of their calls', async () => {
      const stand = await opened()
      const order: number[] = []
      await Promise.all(
        [1, 2, 3].map((number) =>
          stand.connection.transaction({}, async (channel) => {
            order.push(number)
            expect(await channel.transmit(echo(number))).toEqual(echoed(stand, number))
            order.push(-number)
          }),
        ),
      )
      expect(order).toEqual([1, -1, 2, -2, 3, -3])
    })

    it('refuses a transaction that is begun inside another one of the same card', async () => {
      const { connection } = await opened()
      const nested = { code: 'card/transaction' }
      await connection.transaction({}, async (channel) => {
        await expect(connection.transaction(channel, async () => {})).rejects.toMatchObject(nested)
      })
      await connection.transaction({}, () =>
        expect(connection.transaction({}, async () => {})).rejects.toMatchObject(nested),
      )
    })

    it('frees the lock if the work throws, rejects or returns nothing', async () => {
      const stand = await opened()
      const broken = [
        () => {
          throw new Error('at once')
        },
        () => Promise.reject(new Error('later')),
      ]
      for (const work of broken)
        await expect(stand.connection.transaction({}, work)).rejects.toThrow(/at once|later/)
      await stand.connection.transaction({}, (() => undefined) as unknown as () => Promise<void>)
      expect(await send(stand, 7)).toEqual(echoed(stand, 7))
    })

    it('sends nothing for a caller who left the queue', async () => {
      const stand = await opened()
      const release = stand.hold()
      const first = send(stand, 1)
      const leaving = new AbortController()
      const second = send(stand, 2, { signal: leaving.signal })
      leaving.abort('no longer')
      await expect(second).rejects.toMatchObject({ code: 'work/aborted', cause: 'no longer' })
      release()
      await first
      expect(await send(stand, 3)).toEqual(echoed(stand, 3))
      expect(stand.reached()).toBe(2)
    })

    it('lets a caller go at once, and the lock only when the card has answered', async () => {
      const stand = await opened()
      const release = stand.hold()
      const leaving = new AbortController()
      const first = send(stand, 1, { signal: leaving.signal })
      await settled()
      leaving.abort()
      await expect(first).rejects.toMatchObject({ code: 'work/aborted' })
      const second = send(stand, 2)
      await settled()
      expect(stand.reached()).toBe(1)
      release()
      expect(await second).toEqual(echoed(stand, 2))
    })

    it('bounds the wait for the lock, and tells that it waits', async () => {
      const stand = await opened()
      const release = stand.hold()
      const first = send(stand, 1)
      const reasons: string[] = []
      const second = stand.connection.transaction({}, async () => {}, {
        timeoutMs: 50,
        onWait: (why) => reasons.push(why),
      })
      const refused = expect(second).rejects.toMatchObject({ code: 'reader/timeout' })
      await stand.advance(49)
      await stand.advance(1)
      await refused
      expect(reasons).toEqual(['queue'])
      release()
      await first
    })

    it('is undisturbed for an owner only if nothing came between', async () => {
      const { connection } = await opened()
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

    it('is disturbed after an answer that nobody waited for', async () => {
      const stand = await opened()
      const owner = {}
      await send(stand, 1, {}, owner)
      const release = stand.hold()
      const leaving = new AbortController()
      const lost = send(stand, 2, { signal: leaving.signal }, owner)
      await settled()
      leaving.abort()
      await expect(lost).rejects.toMatchObject({ code: 'work/aborted' })
      release()
      await stand.connection.transaction(owner, async (channel) => expect(channel.undisturbed).toBe(false))
    })

    it('sends one command at a time, also for one transaction that asks for two', async () => {
      const stand = await opened()
      const release = stand.hold()
      const answers = stand.connection.transaction({}, (channel) =>
        Promise.all([channel.transmit(echo(1)), channel.transmit(echo(2))]),
      )
      await settled()
      expect(stand.reached()).toBe(1)
      release()
      expect(await answers).toEqual([echoed(stand, 1), echoed(stand, 2)])
    })

    it('refuses what is no command, and a channel whose transaction is over, before anything is sent', async () => {
      const { connection, reached } = await opened()
      const channel = await connection.transaction({}, async (mine) => {
        for (const length of [0, 3, mine.limits.commandBytes + 1])
          await expect(mine.transmit(new Uint8Array(length))).rejects.toMatchObject({
            code: 'wire/malformed',
          })
        return mine
      })
      await expect(channel.transmit(echo(1))).rejects.toMatchObject({ code: 'card/transaction' })
      await expect(channel.reset('warm')).rejects.toMatchObject({ code: 'card/transaction' })
      expect(reached()).toBe(0)
    })

    it('hands out copies of the ATR', async () => {
      const { connection } = await opened()
      await connection.transaction({}, async (channel) => {
        const before = channel.atr.join()
        channel.atr.fill(0)
        expect(channel.atr.join()).toBe(before)
        ;(await channel.reset('warm')).fill(0)
        expect(channel.atr.join()).toBe(before)
      })
    })

    it('ends once with the card, for who waits, who waits in the queue and who comes later', async () => {
      const stand = await opened()
      stand.hold()
      const { pulled = 'removed' } = stand
      const gone = { code: 'card/gone', why: pulled }
      // The exchange that runs when a token leaves fails by itself.
      const waiting = [
        expect(send(stand, 1)).rejects.toMatchObject(pulled === 'removed' ? gone : { code: 'reader/gone' }),
        expect(send(stand, 2)).rejects.toMatchObject(gone),
      ]
      await settled()
      stand.pull()
      await Promise.all(waiting)
      expect(await stand.connection.gone).toBeInstanceOf(CardGoneError)
      expect(await stand.connection.gone).toMatchObject(gone)
      await expect(send(stand, 3)).rejects.toMatchObject(gone)
      await stand.connection.close()
      expect(await stand.connection.gone).toMatchObject(gone)
    })

    it('closes once, ends what runs, and never rejects', async () => {
      const stand = await opened()
      const release = stand.hold()
      const gone = { code: 'card/gone', why: 'closed' }
      const waiting = [send(stand, 1), send(stand, 2)].map((each) => expect(each).rejects.toMatchObject(gone))
      await settled()
      const closing = [stand.connection.close(), stand.connection.close()]
      await Promise.all(waiting)
      release()
      await Promise.all(closing)
      expect(await stand.connection.gone).toMatchObject(gone)
      await expect(send(stand, 3)).rejects.toMatchObject(gone)
    })
  })
}
