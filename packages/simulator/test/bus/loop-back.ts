/**
 * A vendor-class device that returns data from endpoint 02h on endpoint 81h, in packets, without an empty packet at the
 * end.
 */
import {
  configurationDescriptor,
  deviceDescriptor,
  endpointDescriptor,
  interfaceDescriptor,
} from '../../src/usb/descriptors.ts'
import { PacketDevice } from '../../src/usb/packet-device.ts'

/** A loop-back device. It stalls a transfer that begins with 55h. */
export class LoopBack extends PacketDevice {
  constructor(serialNumber = 'L1') {
    super({
      deviceDescriptor: deviceDescriptor(
        { vendorId: 0xcafe, productId: 0x4001, deviceVersion: 0x0100 },
        { manufacturer: true, product: true, serialNumber: true },
      ),
      configurationDescriptors: [
        configurationDescriptor(1, 1, [
          interfaceDescriptor(0, 0, 2, [0xff, 0, 0]),
          endpointDescriptor(0x81, 'bulk', 64),
          endpointDescriptor(0x02, 'bulk', 64),
        ]),
      ],
      strings: [undefined, 'Webtoki', 'Loop-back', serialNumber],
    })
  }

  /** Sends an empty packet. */
  sendEmpty(): void {
    this.inQueue(0x81).sendPacket(new Uint8Array())
  }

  protected outReceived(_endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (bytes[0] === 0x55) return 'stall'
    this.inQueue(0x81).sendMessage(bytes, false)
    return 'ok'
  }

  protected classRequest(): 'stall' {
    return 'stall'
  }

  protected wasReset(): void {}
}
