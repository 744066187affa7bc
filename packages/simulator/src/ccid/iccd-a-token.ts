/**
 * A virtual token without bulk endpoints: ICCD version A on the control pipe, at character level (Integrated Circuit(s)
 * Cards Devices 1.0, 6).
 */
import { fromHex, join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import { T0Card, type T0CardOptions } from '../iso7816/t0-card.ts'
import type { ControlSetup } from '../usb/device-model.ts'
import { configurationDescriptor, deviceDescriptor, interfaceDescriptor } from '../usb/descriptors.ts'
import { PacketDevice } from '../usb/packet-device.ts'
import type { IccdProfile } from './iccd-token.ts'

/** The profile of a Cyberflex e-gate token, from libccid's e-gate.txt: vendor class, ICCD version A, character level. */
export const eGate: IccdProfile = {
  vendorId: 0x0973,
  productId: 0x0003,
  deviceVersion: 0x0100,
  manufacturer: 'SchlumbergerSema',
  product: 'SchlumbergerSema Cyberflex Access',
  interfaceClass: 0xff,
  ccidDescriptor:
    '36211001000101000000fc0d0000fc0d0000008025000080250000000000000000000000000000004008000000010000ffff00000001',
}

const ICCD_A = 1
const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, iccStatus: 0xa0 } as const
/** The responses to GET_ICC_STATUS. */
const Status = { ready: 0x00, data: 0x10, statusWord: 0x20, busy: 0x40, mute: 0x80 } as const
const CLASS_OUT = 0x21
const CLASS_IN = 0xa1
const HEADER_BYTES = 5
const NULL_BYTE = 0x60

/** A virtual ICCD version A token. Its card cannot be removed, and the device itself implements T=0 with it. */
export class VirtualIccdAToken extends PacketDevice {
  readonly card: VirtualCard
  readonly #t0: T0Card
  #isPowered = false
  #status: number = Status.ready
  #header: Uint8Array = new Uint8Array(0)
  /** In status 'data': the card's data that the host has not fetched yet. */
  #data: Uint8Array = new Uint8Array(0)
  /** In status 'data': the number of data bytes that the card expects from the host. */
  #expectedDataBytes = 0
  #statusWord: Uint8Array = new Uint8Array(0)
  /** Number of NULL bytes that the token still has to report as "busy". */
  #busyPolls = 0
  #epoch = 0

  constructor(
    profile: IccdProfile,
    card: VirtualCard,
    t0: T0CardOptions = {},
    serialNumber: string = 'V0000001',
  ) {
    const usbInterface = interfaceDescriptor(0, 0, 0, [profile.interfaceClass, 0, ICCD_A])
    super({
      deviceDescriptor: deviceDescriptor(profile, { manufacturer: true, product: true, serialNumber: true }),
      configurationDescriptors: [
        configurationDescriptor(1, 1, [usbInterface, fromHex(profile.ccidDescriptor)]),
      ],
      strings: [undefined, profile.manufacturer, profile.product, serialNumber],
    })
    this.card = card
    this.#t0 = new T0Card(card, t0)
  }

  protected outReceived(): 'stall' {
    return 'stall'
  }

  protected wasReset(): void {
    this.#powerOff()
  }

  #powerOff(): void {
    this.#epoch++
    if (this.#isPowered) this.card.powerOff()
    this.#isPowered = false
    this.#status = Status.ready
    this.#busyPolls = 0
    this.#data = new Uint8Array(0)
    this.#expectedDataBytes = 0
    this.#t0.restart()
  }

  protected classRequest(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall' {
    const nothing = new Uint8Array(0)
    if (setup.bmRequestType === CLASS_OUT) {
      if (setup.bRequest === Request.powerOff) this.#powerOff()
      else if (setup.bRequest !== Request.xfrBlock || !this.#xfrBlock(data)) return 'stall'
      return nothing
    }
    if (setup.bmRequestType !== CLASS_IN) return 'stall'
    switch (setup.bRequest) {
      case Request.powerOn:
        this.#powerOff()
        this.card.reset('cold')
        this.#isPowered = true
        return this.card.atr
      case Request.iccStatus:
        if (this.#busyPolls === 0) return Uint8Array.of(this.#status)
        this.#busyPolls--
        return Uint8Array.of(Status.busy)
      case Request.dataBlock:
        return this.#dataBlock(setup.wLength)
      default:
        return 'stall'
    }
  }

  /** Returns false if the token does not expect this block now. */
  #xfrBlock(bytes: Uint8Array): boolean {
    if (!this.#isPowered || this.#busyPolls > 0) return false
    if (this.#status === Status.ready && bytes.length === HEADER_BYTES) {
      this.#header = bytes
      void this.#run(bytes)
      return true
    }
    if (this.#status !== Status.data || bytes.length !== this.#expectedDataBytes) return false
    this.#expectedDataBytes = 0
    void this.#run(bytes)
    return true
  }

  #dataBlock(lengthBytes: number): Uint8Array | 'stall' {
    if (this.#busyPolls > 0) return 'stall'
    if (this.#status === Status.data && this.#data.length > 0) {
      const part = this.#data.slice(0, lengthBytes)
      this.#data = this.#data.slice(part.length)
      if (this.#data.length === 0) this.#status = Status.statusWord
      return part
    }
    if (this.#status !== Status.statusWord || lengthBytes < 2) return 'stall'
    this.#status = Status.ready
    return this.#statusWord
  }

  /** Runs T=0 with the card until the host must act (ISO/IEC 7816-3:2006, 10.3.3, interface device side). */
  async #run(bytes: Uint8Array): Promise<void> {
    const epoch = this.#epoch
    const ins = this.#header[1] as number
    this.#status = Status.busy
    let unsent = bytes === this.#header ? new Uint8Array(0) : bytes
    if (bytes === this.#header) await this.#t0.receive(bytes)
    else {
      const first = unsent.slice(0, this.#t0.expectedDataBytes)
      unsent = unsent.slice(first.length)
      await this.#t0.receive(first)
    }
    const data: number[] = []
    for (;;) {
      if (this.#epoch !== epoch) return
      const byte = this.#t0.next()
      if (byte === 'mute') return this.#setStatus(Status.mute)
      if (byte === NULL_BYTE) {
        this.#busyPolls++
        // The card sends NULL without end, so the host sees "busy" at every poll.
        if (this.#busyPolls > 1000) {
          this.#busyPolls = Number.POSITIVE_INFINITY
          return
        }
      } else if (byte === ins || byte === (ins ^ 0xff)) {
        const { expectedDataBytes } = this.#t0
        if (expectedDataBytes > 0) {
          if (unsent.length === 0) {
            // The host sends all data at once, even if the card acknowledges single bytes.
            this.#expectedDataBytes = this.#header[4] as number
            return this.#setStatus(Status.data)
          }
          const part = unsent.slice(0, expectedDataBytes)
          unsent = unsent.slice(part.length)
          await this.#t0.receive(part)
          continue
        }
        const count = byte === ins ? (this.#header[4] || 256) - data.length : 1
        for (let got = 0; got < count; got++) {
          const next = this.#t0.next()
          if (next === 'mute') return this.#setStatus(Status.mute)
          data.push(next)
        }
      } else if (byte >> 4 === 6 || byte >> 4 === 9) {
        const sw2 = this.#t0.next()
        if (sw2 === 'mute') return this.#setStatus(Status.mute)
        this.#statusWord = join([byte, sw2])
        this.#data = Uint8Array.from(data)
        return this.#setStatus(data.length > 0 ? Status.data : Status.statusWord)
      } else return this.#setStatus(Status.mute)
    }
  }

  #setStatus(status: number): void {
    this.#status = status
  }
}
