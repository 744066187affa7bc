/** Runs the contract of reader sources on CCID over WebUSB. */
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, HandClock, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { readerSourceContract } from '../../apdu/test/reader-source-contract.ts'
import { driverClock } from './set-up.ts'

readerSourceContract('CCID over WebUSB', async (first) => {
  const clock = new HandClock()
  const bus = new VirtualBus()
  const readers = ['A', 'B'].map((serialNumber) => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { clock, serialNumber })
    reader.insert(createEchoCard())
    bus.plug(reader)
    return reader
  })
  const [reader] = readers as [VirtualCcidReader]
  const usb: USB = bus.context({ choose: ([device]) => device })
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('There is no device.')
  const open = device.open.bind(device)
  let failures = { works: 0, 'fails once': 1, fails: Number.POSITIVE_INFINITY, 'never ends': 0 }[first]
  device.open = async () => {
    if (first === 'never ends') await new Promise(() => {})
    if (failures-- > 0) throw new DOMException('Unable to open device.', 'NetworkError')
    return open()
  }
  return {
    source: ccidSlots({ usb, clock: driverClock(clock) }),
    unplug: () => bus.unplug(reader),
    plug: () => bus.plug(reader),
    advance: (milliseconds) => clock.advance(milliseconds),
  }
})
