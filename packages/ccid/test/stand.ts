/** A virtual reader under our driver, with one hand-moved clock for both. */
import type { CardSlot } from '@webtoki/apdu'
import {
  HandClock,
  type ReaderProfile,
  readerProfiles,
  type VirtualCard,
  VirtualCcidReader,
  VirtualBus,
  type VirtualUsb,
  type VirtualUsbOptions,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { type CcidSlotSource, type Clock, ccidSlots } from '@webtoki/ccid'

export interface Stand {
  readonly clock: HandClock
  readonly bus: VirtualBus
  readonly usb: VirtualUsb
  readonly reader: VirtualCcidReader
  readonly source: CcidSlotSource
  /** The first slot, once the source has told. */
  readonly slot: () => Promise<CardSlot>
}

export interface StandOptions extends VirtualUsbOptions {
  readonly profile?: ReaderProfile
  readonly card?: VirtualCard
  readonly pollMs?: number
}

/** The driver's clock in the simulator's hands. */
export function driverClock(hands: HandClock): Clock {
  return {
    now: () => hands.nowMs,
    setTimeout: (callback, delayMs) => hands.after(delayMs, callback),
    clearTimeout: (timer) => {
      if (timer !== undefined) (timer as () => void)()
    },
  }
}

export function stand(options: StandOptions = {}): Stand {
  const { profile = readerProfiles.dualiAbcm6, card, pollMs, ...browser } = options
  const clock = new HandClock()
  const reader = new VirtualCcidReader(profile, { clock })
  if (card !== undefined) reader.insert(card)
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false, ...browser })
  const source = ccidSlots({ usb, clock: driverClock(clock), ...(pollMs === undefined ? {} : { pollMs }) })
  return {
    clock,
    bus,
    usb,
    reader,
    source,
    slot: async () => {
      const [slot] = await firstValueFrom(source.slots$)
      if (slot === undefined) throw new Error('The source shows no slot.')
      return slot
    },
  }
}

/** Moves the clock while the work waits for it, a second at a time; resolves as the work does. */
export async function inTime<T>(clock: HandClock, work: Promise<T>, limitMs: number = 600_000): Promise<T> {
  let isOver = false
  const watched = work.finally(() => {
    isOver = true
  })
  watched.catch(() => {})
  for (let spentMs = 0; spentMs < limitMs && !isOver; spentMs += 250) {
    // Card cryptography runs on the platform's own tasks, which no hand-moved clock knows of.
    await new Promise((resolve) => setImmediate(resolve))
    if (!isOver) await clock.advance(250)
  }
  if (!isOver) throw new Error(`Nothing came of it within ${limitMs} ms.`)
  return watched
}
