/** Sets up a virtual reader and the driver with one manual clock for both. */
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

export interface TestSetup {
  readonly clock: HandClock
  readonly bus: VirtualBus
  readonly usb: VirtualUsb
  readonly reader: VirtualCcidReader
  readonly source: CcidSlotSource
  /** Resolves to the first slot after the source has emitted its list. */
  readonly slot: () => Promise<CardSlot>
}

export interface SetUpOptions extends VirtualUsbOptions {
  readonly profile?: ReaderProfile
  readonly card?: VirtualCard
  readonly pollMs?: number
}

/** Adapts the simulator's manual clock to the driver. */
export function driverClock(hands: HandClock): Clock {
  return {
    now: () => hands.nowMs,
    setTimeout: (callback, delayMs) => hands.after(delayMs, callback),
    clearTimeout: (timer) => {
      if (timer !== undefined) (timer as () => void)()
    },
  }
}

export function setUp(options: SetUpOptions = {}): TestSetup {
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

/** Moves the clock in steps of 250 ms until the work settles, and settles as the work does. */
export async function inTime<T>(clock: HandClock, work: Promise<T>, limitMs: number = 600_000): Promise<T> {
  let isOver = false
  const watched = work.finally(() => {
    isOver = true
  })
  watched.catch(() => {})
  for (let spentMs = 0; spentMs < limitMs && !isOver; spentMs += 250) {
    // Card cryptography runs in tasks of the platform, which the manual clock does not cover.
    await new Promise((resolve) => setImmediate(resolve))
    if (!isOver) await clock.advance(250)
  }
  if (!isOver) throw new Error(`Nothing came of it within ${limitMs} ms.`)
  return watched
}
