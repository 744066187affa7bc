/** A minimal CCID 1.1 host for tests of the virtual reader. */
import {
  HandClock,
  type ReaderProfile,
  type VirtualCard,
  VirtualBus,
  VirtualCcidReader,
  type VirtualUsbDevice,
} from '../src/index.ts'

/** Encodes a bulk-OUT message (CCID 1.1, 6.1). The encoder is independent of the simulator's. */
export const message = (
  type: number,
  sequence: number,
  three: readonly number[],
  ...data: number[]
): Uint8Array<ArrayBuffer> =>
  Uint8Array.of(type, data.length & 0xff, data.length >> 8, 0, 0, 0, sequence, ...three, ...data)
/** bPowerSelect: 0 for readers that select the voltage themselves, otherwise 1 (5 V), 2 (3 V) or 3 (1.8 V). */
export const powerOn = (sequence: number, powerSelect = 0) => message(0x62, sequence, [powerSelect, 0, 0])
export const xfr = (sequence: number, data: readonly number[], level = 0) =>
  message(0x6f, sequence, [0, level, 0], ...data)
export const echo = [0, 0x10, 0, 0, 2, 0xaa, 0xbb, 0]

/** A host with one virtual reader, whose clock changes only when it is advanced. */
export class Host {
  readonly reader: VirtualCcidReader
  readonly clock = new HandClock()
  readonly bus = new VirtualBus()
  device!: VirtualUsbDevice

  constructor(profile: ReaderProfile, card?: VirtualCard) {
    this.reader = new VirtualCcidReader(profile, { clock: this.clock })
    if (card !== undefined) this.reader.insert(card)
    this.bus.plug(this.reader)
  }

  async open(): Promise<this> {
    const [device] = await this.bus.context({ protectedClasses: false }).getDevices()
    if (device === undefined) throw new Error('The bus has no device.')
    this.device = device
    await device.open()
    await device.claimInterface(0)
    return this
  }

  async exchange(bytes: Uint8Array<ArrayBuffer>): Promise<number[]> {
    await this.device.transferOut(2, bytes)
    return this.response()
  }

  response(): Promise<number[]> {
    return this.read(1, 65_600)
  }

  async read(endpoint: number, lengthBytes: number): Promise<number[]> {
    const { data } = await this.device.transferIn(endpoint, lengthBytes)
    return data === undefined ? [] : [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]
  }
}
