/**
 * A virtual token without bulk endpoints: ICCD version B on the control pipe (Integrated Circuit(s) Cards Devices 1.0,
 * 6).
 */
import { fromHex, join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import { ContactCard, type ContactOptions } from '../iso7816/contact-card.ts'
import type { ControlSetup } from '../usb/device-model.ts'
import { configurationDescriptor, deviceDescriptor, interfaceDescriptor } from '../usb/descriptors.ts'
import { PacketDevice } from '../usb/packet-device.ts'
import { Chain } from './messages.ts'

/** The identity and class descriptor of a token. */
export interface IccdProfile {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice. */
  readonly deviceVersion: number
  readonly manufacturer: string
  readonly product: string
  readonly interfaceClass: number
  /** The 54 bytes of the class descriptor, in hex. */
  readonly ccidDescriptor: string
}

/** The profile of a Gemalto PDT, from libccid's Gemalto_PDT.txt: Smart Card class, ICCD version B, short APDU level. */
export const gemaltoPdt: IccdProfile = {
  vendorId: 0x08e6,
  productId: 0x1227,
  deviceVersion: 0x0100,
  manufacturer: 'Gemalto',
  product: 'PDT',
  interfaceClass: 0x0b,
  ccidDescriptor:
    '36211001000102000000fc0d0000fc0d000000802500008025000000fe00000000000000000000004008020005010000ffff00000001',
}

/**
 * The profile of a KONA token, from libccid's KEBTechnology_KONA_USB_SmartCard.txt: Smart Card class, ICCD version B,
 * character level. Its interrupt endpoint is not modelled.
 */
export const konaToken: IccdProfile = {
  vendorId: 0x04cc,
  productId: 0x5072,
  deviceVersion: 0x0100,
  manufacturer: 'KEBTechnology',
  product: 'KONA USB SmartCard',
  interfaceClass: 0x0b,
  ccidDescriptor:
    '36211001000101000000fc0d0000fc0d000000802500008025000000fe00000000000000000000004008000005010000ffff00000001',
}

const ICCD_B = 2
const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, slotStatus: 0x81 } as const
/** bResponseType (6.2.2). */
const Response = { data: 0x00, status: 0x40, pollAgain: 0x80 } as const
const CLASS_OUT = 0x21
const CLASS_IN = 0xa1
const ERROR_LEVEL = 8
const ERROR_MUTE = 0xfe
const MESSAGE_HEADER_BYTES = 10

/** A virtual ICCD version B token. Its card cannot be removed. */
export class VirtualIccdToken extends PacketDevice {
  readonly card: VirtualCard
  /**
   * The number of "poll again" responses before each response, and the delay they request in units of 10 ms. With delay
   * 0, the host chooses.
   */
  pollAgain: { readonly times: number; readonly delay: number } = { times: 0, delay: 0 }
  readonly #capacityBytes: number
  /** The contact interface of the card for T=0, if the token works at character level. */
  readonly #contact: ContactCard | undefined
  #isPowered = false
  #command: Uint8Array[] = []
  #response: Uint8Array | undefined
  #rest: Uint8Array = new Uint8Array(0)
  #polls = 0
  #epoch = 0

  constructor(
    profile: IccdProfile,
    card: VirtualCard,
    serialNumber: string = 'V0000001',
    contact: ContactOptions = {},
  ) {
    const classDescriptor = fromHex(profile.ccidDescriptor)
    const usbInterface = interfaceDescriptor(0, 0, 0, [profile.interfaceClass, 0, ICCD_B])
    super({
      deviceDescriptor: deviceDescriptor(profile, { manufacturer: true, product: true, serialNumber: true }),
      configurationDescriptors: [configurationDescriptor(1, 1, [usbInterface, classDescriptor])],
      strings: [undefined, profile.manufacturer, profile.product, serialNumber],
    })
    this.card = card
    // Bits 16 to 18 of dwFeatures are zero: the descriptor states no exchange level.
    if (((classDescriptor[42] as number) & 7) === 0) this.#contact = new ContactCard(card, contact, () => {})
    this.#capacityBytes =
      (classDescriptor[44] as number) + 256 * (classDescriptor[45] as number) - MESSAGE_HEADER_BYTES
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
    this.#command = []
    this.#response = undefined
    this.#rest = new Uint8Array(0)
  }

  protected classRequest(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall' {
    const nothing = new Uint8Array(0)
    if (setup.bmRequestType === CLASS_OUT) {
      if (setup.bRequest === Request.powerOff) this.#powerOff()
      else if (setup.bRequest === Request.powerOn) {
        this.card.reset(this.#isPowered ? 'warm' : 'cold')
        this.#contact?.restart()
        this.#isPowered = true
        this.#setResponse(join([Response.data], this.card.atr))
      } else if (setup.bRequest === Request.xfrBlock) this.#xfrBlock(setup.wValue >>> 8, data)
      else return 'stall'
      return nothing
    }
    if (setup.bmRequestType !== CLASS_IN) return 'stall'
    if (setup.bRequest === Request.slotStatus)
      return Uint8Array.of(Response.status, this.#isPowered ? 0 : 1, 0)
    return setup.bRequest === Request.dataBlock ? this.#dataBlock() : 'stall'
  }

  #setResponse(response: Uint8Array): void {
    this.#response = response
    this.#polls = this.pollAgain.times
  }

  #dataBlock(): Uint8Array {
    if (this.#response === undefined || this.#polls > 0) {
      this.#polls--
      return Uint8Array.of(Response.pollAgain, this.pollAgain.delay & 0xff, this.pollAgain.delay >> 8)
    }
    return this.#response
  }

  #fail(error: number): void {
    this.#setResponse(Uint8Array.of(Response.status, 0x40 | (this.#isPowered ? 0 : 1), error))
  }

  #xfrBlock(level: number, data: Uint8Array): void {
    this.#response = undefined
    this.#polls = this.pollAgain.times
    if (!this.#isPowered) {
      this.#fail(ERROR_MUTE)
      return
    }
    if (this.#contact !== undefined) {
      void this.#characters(this.#contact, level, data)
      return
    }
    if (level === Chain.expectsMore) {
      this.#part(false)
      return
    }
    if (level > Chain.continues || data.length > this.#capacityBytes) {
      this.#fail(ERROR_LEVEL)
      return
    }
    if (level === Chain.whole || level === Chain.begins) this.#command = []
    this.#command.push(data)
    if (level === Chain.begins || level === Chain.continues) {
      this.#setResponse(Uint8Array.of(Chain.expectsMore))
      return
    }
    const command = join(...this.#command)
    this.#command = []
    const epoch = this.#epoch
    void this.card.process(command).then((response) => {
      if (this.#epoch !== epoch) return
      this.#rest = response
      this.#part(true)
    })
  }

  /**
   * Handles a block at character level. `expected`, from bLevelParameter, is the number of bytes that the host waits
   * for.
   */
  async #characters(contact: ContactCard, expected: number, data: Uint8Array): Promise<void> {
    if (expected === 0 || data.length > this.#capacityBytes) {
      this.#fail(ERROR_LEVEL)
      return
    }
    const epoch = this.#epoch
    const response = await contact.characters(data, expected, 0)
    if (this.#epoch !== epoch) return
    if (response === 'mute') this.#fail(ERROR_MUTE)
    else this.#setResponse(join([Response.data], response))
  }

  #part(isFirst: boolean): void {
    const part = this.#rest.slice(0, this.#capacityBytes)
    this.#rest = this.#rest.slice(part.length)
    const isLast = this.#rest.length === 0
    const chain = isFirst ? (isLast ? Chain.whole : Chain.begins) : isLast ? Chain.ends : Chain.continues
    this.#setResponse(join([chain], part))
  }
}
