/** Runs the contract of connections on every kind of transport in this package. */
import type { ConnectOptions } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  eGate,
  gemaltoPdt,
  konaToken,
  readerProfiles,
  type VirtualCard,
  VirtualBus,
  VirtualCcidReader,
  VirtualIccdAToken,
  VirtualIccdToken,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll } from 'vitest'
import { connectionContract, handTimers, type ConnectionStand } from '../../apdu/test/connection-contract.ts'

/** A device with this card in it. */
interface Put {
  readonly device: Parameters<VirtualBus['plug']>[0]
  /** Removes the card. Absent if it is built into the device. */
  readonly remove?: () => void
}

// The modules are loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() =>
  Promise.all([
    import('../src/iccd-pipe.ts'),
    import('../src/tpdu/activate.ts'),
    import('../src/tpdu/character-line.ts'),
  ]),
)

async function open(put: (card: VirtualCard) => Put, options: ConnectOptions = {}): Promise<ConnectionStand> {
  const card = createEchoCard()
  let gate: Promise<void> = Promise.resolve()
  let reached = 0
  const { device, remove } = put({
    atr: card.atr,
    reset: () => card.reset(),
    powerOff: () => card.powerOff(),
    process: async (command) => {
      reached++
      await gate
      return card.process(command)
    },
  })
  const bus = new VirtualBus()
  bus.plug(device)
  const { hands, clock } = handTimers()
  const setTimeout = (callback: () => void, delayMs: number): unknown =>
    // Runs the polling pause of a token on the control pipe at once, because the contract does not move the clock for
    // it.
    delayMs <= 20 ? void setImmediate(callback) : clock.setTimeout(callback, delayMs)
  const source = ccidSlots({
    usb: bus.context({ protectedClasses: false }),
    clock: { ...clock, setTimeout },
  })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  const connection = await slot.connect(options)
  let release = (): void => {}
  return {
    connection,
    isT0: options.protocol === 'T=0',
    reached: () => reached,
    hold: () => {
      gate = new Promise((resolve) => (release = resolve))
      return release
    },
    pull: remove ?? (() => bus.unplug(device)),
    pulled: remove === undefined ? 'reader-gone' : 'removed',
    advance: (milliseconds) => hands.advance(milliseconds),
    close: async () => {
      release()
      await source.close()
    },
  }
}

const reader =
  (profile: keyof typeof readerProfiles) =>
  (card: VirtualCard): Put => {
    const device = new VirtualCcidReader(readerProfiles[profile])
    device.insert(card)
    return { device, remove: () => device.remove() }
  }

connectionContract('a reader that takes APDUs', () => open(reader('dualiAbcm6')))
connectionContract('a reader that takes TPDUs, in T=1', () => open(reader('scr331'), { protocol: 'T=1' }))
connectionContract('a reader that takes TPDUs, in T=0', () => open(reader('scr331'), { protocol: 'T=0' }))
connectionContract('a token of ICCD version A', () =>
  open((card) => ({ device: new VirtualIccdAToken(eGate, card) }), { protocol: 'T=0' }),
)
connectionContract('a token of ICCD version B', () =>
  open((card) => ({ device: new VirtualIccdToken(gemaltoPdt, card) })),
)
connectionContract('a token of ICCD version B that takes characters', () =>
  open((card) => ({ device: new VirtualIccdToken(konaToken, card) }), { protocol: 'T=0' }),
)
