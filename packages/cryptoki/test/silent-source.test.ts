/** Sources and cards whose promises never settle: each has its own time limit. */
import type { CardConnection, CardSlot, SlotSource } from '@webtoki/apdu'
import { Cryptoki } from '@webtoki/cryptoki'
import { firstValueFrom, of } from 'rxjs'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

const never = (): Promise<never> => new Promise(() => {})
const silent: SlotSource = { slots$: of([]), lookAgain: never, close: never }

/** Resolves to whether the promise is fulfilled after that time. */
async function doneAfter(work: Promise<unknown>, timeMs: number): Promise<boolean> {
  let isDone = false
  void work.then(() => {
    isDone = true
  })
  await vi.advanceTimersByTimeAsync(timeMs)
  return isDone
}

it('a library closes although one source never closes, and closes the other source at once', async () => {
  const cardSlot = new MemorySlot()
  const close = vi.spyOn(cardSlot, 'close')
  const cryptoki = new Cryptoki({ sources: [silent, cardSlot], drivers: [] })
  const closing = cryptoki.close()
  expect(await doneAfter(closing, 1_000)).toBe(false)
  expect(close).toHaveBeenCalledOnce()
  expect(await doneAfter(closing, 30_000)).toBe(true)
})

it('lookAgain ends although one source never does, and is called on the other source', async () => {
  const lookAgain = vi.fn<() => Promise<void>>(async () => {})
  const other: SlotSource = { slots$: of([]), lookAgain, close: async () => {} }
  const cryptoki = new Cryptoki({ sources: [silent, other], drivers: [] })
  expect(await doneAfter(cryptoki.lookAgain(), 30_000)).toBe(true)
  expect(lookAgain).toHaveBeenCalledOnce()
})

it('a library closes its sources although the connection to one card never closes', async () => {
  const cardSlot = new MemorySlot()
  const stuck: CardSlot = new Proxy<CardSlot>(cardSlot, {
    get(target, name) {
      if (name === 'connect')
        return async () =>
          new Proxy<CardConnection>(await target.connect(), {
            get: (connection, member) => {
              if (member === 'close') return never
              const value: unknown = Reflect.get(connection, member, connection)
              return typeof value === 'function' ? (value.bind(connection) as unknown) : value
            },
          })
      return Reflect.get(target, name, target) as unknown
    },
  })
  const close = vi.fn<() => Promise<void>>(async () => {})
  const cryptoki = new Cryptoki({
    sources: [{ slots$: of([stuck]), close }],
    drivers: [new SoftwareDriver()],
  })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  await slot?.openSession()
  expect(await doneAfter(cryptoki.close(), 60_000)).toBe(true)
  expect(close).toHaveBeenCalledOnce()
})
