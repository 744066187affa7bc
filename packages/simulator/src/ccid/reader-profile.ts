/** Readers as data: their descriptors, and what their firmware does beyond them. */
import type { PadHabits } from './pad-habits.ts'

/** What the firmware of single readers does otherwise than the standard says: facts that users of such readers found. */
export interface FirmwareHabits {
  /** It sends longer answers in chained parts of so many bytes, whatever its level. */
  readonly answerPartBytes?: number
  /** A card wakes up only if it was powered off by a command before. */
  readonly needsPowerOff?: true
  /** It begins in EMV mode, in which power-on fails with this bError; the Escape (in hex) ends that. */
  readonly emvMode?: { readonly error: number; readonly escape: string }
  /** It sends parameters and leaves dwLength at 0. */
  readonly hidesParameterLength?: true
  /** bInterfaceProtocol. Default 0. */
  readonly interfaceProtocol?: number
}

/** A device, whatever is behind its plug. */
export interface DeviceProfile {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice. */
  readonly deviceVersion: number
  readonly manufacturer: string
  readonly product: string
}

/** One CCID interface. */
export interface InterfaceProfile {
  /** Its string descriptor (iInterface). */
  readonly interfaceName?: string
  /** 0x0B, or 0xFF where the maker took the vendor class. */
  readonly interfaceClass: number
  /** The 54 bytes of the class descriptor (CCID 1.1, 5.1), in hex. */
  readonly ccidDescriptor: string
  /** Whether it has an interrupt endpoint. */
  readonly interrupt: boolean
  /** Where the class descriptor stands. Default: between the interface and its endpoints. */
  readonly descriptorPlace?: 'before-endpoints' | 'behind-endpoints'
  /** bMaxPacketSize of the bulk endpoints, in bytes. Default 64. */
  readonly packetBytes?: number
  /** What it tells by GET_CLOCK_FREQUENCIES, in kHz. Absent: it stalls that request. */
  readonly clockFrequenciesKHz?: readonly number[]
  /** What it tells by GET_DATA_RATES, in bits a second. Absent: it stalls that request. */
  readonly dataRatesBps?: readonly number[]
  /** Whether an answer of whole packets is followed by an empty one. Default true. */
  readonly emptyPackets?: boolean
  /** Vendor commands that it takes and answers with nothing, by their first bytes in hex. */
  readonly escapes?: readonly string[]
  /** Where its firmware leaves the standard. */
  readonly habits?: FirmwareHabits
  /** What its firmware insists on where a PIN is typed. */
  readonly pad?: PadHabits
}

/** What tells one reader from another. Spread one and change a field to get its sibling. */
export interface ReaderProfile extends DeviceProfile, InterfaceProfile {}

/** A device of several CCID interfaces, numbered from 0. */
export interface CompositeProfile extends DeviceProfile {
  readonly interfaces: readonly InterfaceProfile[]
}
