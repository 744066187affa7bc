/** Types of reader profiles: descriptors (CCID 1.1, 5.1) and deviations of the firmware. */
import type { PadHabits } from './pad-habits.ts'

/** Deviations of reader firmware from the standard, as users of these readers found them. */
export interface FirmwareHabits {
  /** The reader sends longer responses in chained parts of this length in bytes, regardless of its exchange level. */
  readonly responsePartBytes?: number
  /** A card responds to power-on only after an IccPowerOff. */
  readonly needsPowerOff?: true
  /** The reader starts in EMV mode, in which power-on fails with this bError. The Escape, in hex, ends the mode. */
  readonly emvMode?: { readonly error: number; readonly escape: string }
  /** The reader sends parameters with dwLength 0. */
  readonly hidesParameterLength?: true
  /** bInterfaceProtocol. Default 0. */
  readonly interfaceProtocol?: number
}

/** The identity of a USB device. */
export interface DeviceProfile {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice. */
  readonly deviceVersion: number
  readonly manufacturer: string
  readonly product: string
}

/** A CCID interface. */
export interface InterfaceProfile {
  /** The string descriptor of the interface (iInterface). */
  readonly interfaceName?: string
  /** 0x0B, or 0xFF for the vendor class. */
  readonly interfaceClass: number
  /** The 54 bytes of the class descriptor (CCID 1.1, 5.1), in hex. */
  readonly ccidDescriptor: string
  /** True if the interface has an interrupt endpoint. */
  readonly interrupt: boolean
  /** Position of the class descriptor: before (default) or after the endpoint descriptors. */
  readonly descriptorPlace?: 'before-endpoints' | 'after-endpoints'
  /** bMaxPacketSize of the bulk endpoints, in bytes. Default 64. */
  readonly packetBytes?: number
  /** The response to GET_CLOCK_FREQUENCIES, in kHz. Without it, the reader stalls the request. */
  readonly clockFrequenciesKHz?: readonly number[]
  /** The response to GET_DATA_RATES, in bits per second. Without it, the reader stalls the request. */
  readonly dataRatesBps?: readonly number[]
  /** True if an empty packet follows a response that ends with a full packet. Default true. */
  readonly emptyPackets?: boolean
  /** First bytes, in hex, of vendor commands that the reader accepts with an empty response. */
  readonly escapes?: readonly string[]
  /** Deviations of the firmware from the standard. */
  readonly habits?: FirmwareHabits
  /** Deviations of the PIN pad from the standard. */
  readonly pad?: PadHabits
}

/** A reader with one CCID interface. Spread a profile and change fields to get a similar reader. */
export interface ReaderProfile extends DeviceProfile, InterfaceProfile {}

/** A device with several CCID interfaces, numbered from 0. */
export interface CompositeProfile extends DeviceProfile {
  readonly interfaces: readonly InterfaceProfile[]
}
