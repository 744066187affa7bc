/** The contract of the port `ReaderSource`, as a suite that each transport runs. */
import type { ReaderSource } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, onTestFinished } from 'vitest'

/** A source with two readers, each with one slot and a card. */
export interface ReaderSourceStand {
  readonly source: ReaderSource
  /** Unplugs the first device. */
  unplug(): void
  /** Plugs the first device in again. */
  plug(): void
  /** Advances the source's clock. */
  advance(milliseconds: number): Promise<void>
}

/** What happens when the first device is opened, which is also the one that the person chooses. */
export type Opening = 'works' | 'fails once' | 'fails' | 'never ends'

/** Resolves after everything that does not wait for a timer. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Runs the suite over one transport. */
export function readerSourceContract(
  name: string,
  open: (first: Opening) => Promise<ReaderSourceStand>,
): void {
  const setUp = async (first: Opening): Promise<ReaderSourceStand> => {
    const fixture = await open(first)
    onTestFinished(async () => {
      const closing = fixture.source.close()
      await settled()
      await fixture.advance(60_000)
      await closing
    })
    return fixture
  }
  const slotsOf = ({ source }: ReaderSourceStand) => firstValueFrom(source.slots$)
  const problemsOf = ({ source }: ReaderSourceStand) => firstValueFrom(source.problems$)

  describe(`the reader source of ${name}`, () => {
    it('lists its readers with unique names and ids, and replays the list', async () => {
      const fixture = await setUp('works')
      const slots = await slotsOf(fixture)
      expect(slots).toHaveLength(2)
      expect(new Set(slots.map((slot) => slot.id)).size).toBe(2)
      expect(new Set(slots.map((slot) => slot.name)).size).toBe(2)
      expect(await slotsOf(fixture)).toEqual(slots)
      expect(fixture.source.support).toBe('available')
      expect(await problemsOf(fixture)).toEqual([])
    })

    it('follows plugging and unplugging, and a reader keeps its id when it returns', async () => {
      const fixture = await setUp('works')
      const before = (await slotsOf(fixture)).map(({ id }) => id)
      fixture.unplug()
      await settled()
      expect(await slotsOf(fixture)).toHaveLength(1)
      fixture.plug()
      await settled()
      expect((await slotsOf(fixture)).map(({ id }) => id).sort()).toEqual(before.sort())
    })

    it('completes presence when it is closed, without an unreadable state first', async () => {
      const fixture = await setUp('works')
      const values: unknown[][] = []
      for (const { presence$ } of await slotsOf(fixture)) {
        const seen: unknown[] = []
        values.push(seen)
        presence$.subscribe({
          next: (presence) => seen.push(presence),
          complete: () => seen.push('complete'),
        })
      }
      await settled()
      await fixture.source.close()
      expect(values).toEqual([
        ['present', 'complete'],
        ['present', 'complete'],
      ])
    })

    it('reports a device that cannot be opened as a problem and lists the others', async () => {
      const fixture = await setUp('fails')
      expect(await slotsOf(fixture)).toHaveLength(1)
      const [problem] = await problemsOf(fixture)
      expect(problem?.name).toBeTruthy()
      expect(problem?.error).toMatchObject({ isWebtokiError: true })
      await fixture.source.lookAgain()
      expect(await problemsOf(fixture)).toHaveLength(1)
    })

    it('emits no list again if lookAgain finds nothing new', async () => {
      const fixture = await setUp('fails')
      await slotsOf(fixture)
      let emitted = 0
      fixture.source.slots$.subscribe(() => emitted++)
      fixture.source.problems$.subscribe(() => emitted++)
      expect(emitted).toBe(2)
      await fixture.source.lookAgain()
      await fixture.source.lookAgain()
      expect(emitted).toBe(2)
    })

    it('opens a device again that failed once, when lookAgain is called', async () => {
      const fixture = await setUp('fails once')
      expect(await slotsOf(fixture)).toHaveLength(1)
      await fixture.source.lookAgain()
      expect(await slotsOf(fixture)).toHaveLength(2)
      expect(await problemsOf(fixture)).toEqual([])
    })

    it('lists the other readers while one never opens, and reports that one after its time-out', async () => {
      const fixture = await setUp('never ends')
      const slots = slotsOf(fixture)
      await settled()
      await fixture.advance(3_000)
      expect(await slots).toHaveLength(1)
      await fixture.advance(60_000)
      expect(await problemsOf(fixture)).toMatchObject([{ error: { code: 'reader/timeout' } }])
    })

    it('resolves to the slots of the chosen reader, even if it failed before', async () => {
      const fixture = await setUp('fails once')
      await slotsOf(fixture)
      const chosen = await fixture.source.requestReader?.()
      if (chosen === undefined) return
      expect(chosen).toHaveLength(1)
      expect(await slotsOf(fixture)).toContain(chosen[0])
    })

    it('closes once, completes its lists and rejects later calls with reader/closed', async () => {
      const { source } = await setUp('works')
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
