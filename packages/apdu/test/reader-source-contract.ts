/** What every transport's source of readers keeps to: the port `ReaderSource`, whatever API its devices come from. */
import type { ReaderSource } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, onTestFinished } from 'vitest'

/** A source over two devices that are readers of the transport, each with one slot and a card. */
export interface ReaderSourceStand {
  readonly source: ReaderSource
  /** Takes the first device away, and plugs it in again. */
  unplug(): void
  plug(): void
  /** Lets time pass on the source's clock. */
  advance(milliseconds: number): Promise<void>
}

/** How the first device, which the person chooses in the chooser, answers when it is opened. */
export type Opening = 'works' | 'fails once' | 'fails' | 'never ends'

/** Everything that no clock delays has happened. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Runs the suite over one transport. */
export function readerSourceContract(
  name: string,
  open: (first: Opening) => Promise<ReaderSourceStand>,
): void {
  const opened = async (first: Opening): Promise<ReaderSourceStand> => {
    const stand = await open(first)
    onTestFinished(async () => {
      const closing = stand.source.close()
      await settled()
      await stand.advance(60_000)
      await closing
    })
    return stand
  }
  const slotsOf = ({ source }: ReaderSourceStand) => firstValueFrom(source.slots$)
  const problemsOf = ({ source }: ReaderSourceStand) => firstValueFrom(source.problems$)

  describe(`the reader source of ${name}`, () => {
    it('lists its readers under names and ids of their own, and replays the list', async () => {
      const stand = await opened('works')
      const slots = await slotsOf(stand)
      expect(slots).toHaveLength(2)
      expect(new Set(slots.map((slot) => slot.id)).size).toBe(2)
      expect(new Set(slots.map((slot) => slot.name)).size).toBe(2)
      expect(await slotsOf(stand)).toEqual(slots)
      expect(stand.source.support).toBe('available')
      expect(await problemsOf(stand)).toEqual([])
    })

    it('follows plugging, and calls a reader the same when it comes back', async () => {
      const stand = await opened('works')
      const before = (await slotsOf(stand)).map(({ id }) => id)
      stand.unplug()
      await settled()
      expect(await slotsOf(stand)).toHaveLength(1)
      stand.plug()
      await settled()
      expect((await slotsOf(stand)).map(({ id }) => id).sort()).toEqual(before.sort())
    })

    it('completes presence when a reader leaves, without calling it unreadable', async () => {
      const stand = await opened('works')
      const told: unknown[][] = []
      for (const { presence$ } of await slotsOf(stand)) {
        const seen: unknown[] = []
        told.push(seen)
        presence$.subscribe({
          next: (presence) => seen.push(presence),
          complete: () => seen.push('complete'),
        })
      }
      await settled()
      await stand.source.close()
      expect(told).toEqual([
        ['present', 'complete'],
        ['present', 'complete'],
      ])
    })

    it('tells a device that cannot be opened as a problem, and goes on with the others', async () => {
      const stand = await opened('fails')
      expect(await slotsOf(stand)).toHaveLength(1)
      const [problem] = await problemsOf(stand)
      expect(problem?.name).toBeTruthy()
      expect(problem?.error).toMatchObject({ isWebtokiError: true })
      await stand.source.lookAgain()
      expect(await problemsOf(stand)).toHaveLength(1)
    })

    it('tells no list again if a second look finds nothing new', async () => {
      const stand = await opened('fails')
      await slotsOf(stand)
      let told = 0
      stand.source.slots$.subscribe(() => told++)
      stand.source.problems$.subscribe(() => told++)
      expect(told).toBe(2)
      await stand.source.lookAgain()
      await stand.source.lookAgain()
      expect(told).toBe(2)
    })

    it('opens again what failed once, when somebody asks', async () => {
      const stand = await opened('fails once')
      expect(await slotsOf(stand)).toHaveLength(1)
      await stand.source.lookAgain()
      expect(await slotsOf(stand)).toHaveLength(2)
      expect(await problemsOf(stand)).toEqual([])
    })

    it('waits for no device whose opening never ends, and tells it when its time is up', async () => {
      const stand = await opened('never ends')
      const slots = slotsOf(stand)
      await settled()
      await stand.advance(3_000)
      expect(await slots).toHaveLength(1)
      await stand.advance(60_000)
      expect(await problemsOf(stand)).toMatchObject([{ error: { code: 'reader/timeout' } }])
    })

    it('gives the slots of the reader that a person chooses, also if it had failed before', async () => {
      const stand = await opened('fails once')
      await slotsOf(stand)
      const chosen = await stand.source.requestReader?.()
      if (chosen === undefined) return
      expect(chosen).toHaveLength(1)
      expect(await slotsOf(stand)).toContain(chosen[0])
    })

    it('closes once, completes its lists, and refuses what comes later with a reason of its own', async () => {
      const { source } = await opened('works')
      const [slot] = await firstValueFrom(source.slots$)
      let completed = 0
      source.slots$.subscribe({ complete: () => completed++ })
      source.problems$.subscribe({ complete: () => completed++ })
      await Promise.all([source.close(), source.close()])
      expect(completed).toBe(2)
      await source.lookAgain()
      await expect(slot?.connect()).rejects.toMatchObject({ code: 'reader/closed' })
      await expect(source.requestReader?.() ?? slot?.connect()).rejects.toMatchObject({
        code: 'reader/closed',
      })
    })
  })
}
