/** The contract of connections over virtual CCID readers: one that takes APDUs, and one that takes TPDUs, in T=1. */
import type { ConnectOptions } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { connectionContract, handTimers, type ConnectionStand } from '../../apdu/test/connection-contract.ts'

async function open(profile: ReaderProfile, options: ConnectOptions = {}): Promise<ConnectionStand> {
  const card = createEchoCard()
  let gate: Promise<void> = Promise.resolve()
  let reached = 0
  const reader = new VirtualCcidReader(profile)
  reader.insert({
    atr: card.atr,
    reset: () => card.reset(),
    powerOff: () => card.powerOff(),
    process: async (command) => {
      reached++
      await gate
      return card.process(command)
    },
  })
  const { hands, clock } = handTimers()
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }), clock })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  const connection = await slot.connect(options)
  let release = (): void => {}
  return {
    connection,
    reached: () => reached,
    hold: () => {
      gate = new Promise((resolve) => (release = resolve))
      return release
    },
    pull: () => reader.remove(),
    advance: (milliseconds) => hands.advance(milliseconds),
    close: async () => {
      release()
      await source.close()
    },
  }
}

connectionContract('a reader that takes APDUs', () => open(readerProfiles.dualiAbcm6))
connectionContract('a reader that takes TPDUs', () => open(readerProfiles.scr331, { protocol: 'T=1' }))
