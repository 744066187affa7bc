/** The ports between a source of devices and what differs: the browser's API on one side, the transport on the other. */
import type { CardSlot, ReaderInUseError, ReaderSupport, WebtokiError } from '@webtoki/apdu'
import type { DeviceDescription, ReaderIdentity } from './identity.ts'

/** The part of WebUSB, WebHID or Web Serial that a source needs. */
export interface DeviceApi<D extends object, Filter> {
  /** As a person would look it up: "WebUSB". */
  readonly name: string
  readonly support: ReaderSupport
  /** The devices that the page may use. */
  list(): Promise<readonly D[]>
  /** Shows the chooser. Rejects as the browser does: with NotFoundError if the person chose none. */
  choose(filters: readonly Filter[]): Promise<D>
  /** Calls back for each device that is plugged in or out; returns what ends that. Never, if the API is not there. */
  watch(connected: (device: D) => void, disconnected: (device: D) => void): () => void
  describe(device: D): DeviceDescription
}

/** One interface of a device; a device that has none is its own interface 0. */
export interface DeviceInterface {
  readonly interfaceNumber: number
}

/** What a transport knows of devices. The source asks; the transport lists, watches and remembers nothing. */
export interface DeviceTransport<D extends object, Face extends DeviceInterface, Filter> {
  /** What the chooser shows. */
  readonly filters: readonly Filter[]
  /**
   * The interfaces that are readers of this transport; none: it is another device. Opens the device if it must, and closes it
   * again.
   */
  interfacesOf(device: D): Promise<readonly Face[]>
  /** Makes the reader on one interface. Opens nothing yet. Throws ReaderNotSupportedError. */
  readerAt(place: ReaderPlace<D, Face>): DeviceReader
}

/** Where a reader is, and what its source does for it. */
export interface ReaderPlace<D extends object, Face> {
  readonly device: D
  readonly deviceInterface: Face
  readonly identity: ReaderIdentity
  /** The device has further readers. */
  readonly isOneOfSeveral: boolean
  /** Opens when the reader is this tab's turn, and gives the turn back if that fails. Rejects with ReaderInUseError. */
  inTurn<T>(open: () => Promise<T>): Promise<T>
  /** Whether the page still has the device; if it has not, the reader leaves. No event tells of a permission taken back. */
  readonly isThere: () => Promise<boolean>
}

/** A reader with its slots, as a transport makes it. */
export interface DeviceReader {
  readonly reader: {
    /** Opens what is not open. Rejects with a typed error. */
    ready(): Promise<void>
    /** Closes it until the next `ready`; false: it is at work. */
    rest(): Promise<boolean>
    /** Closes it for good; whoever uses it is told this error. */
    end(error: WebtokiError): Promise<void>
  }
  readonly slots: readonly DeviceSlot[]
  /** What a person should know of the reader, though it is used: it is among the problems while the reader is there. */
  readonly warning?: WebtokiError | undefined
}

/** A slot, as its source needs it. */
export interface DeviceSlot extends CardSlot {
  /** Whether a card is held here, or about to be. */
  readonly isUsed: boolean
  /** Somebody else holds the reader. */
  readonly isInUse: boolean
  /** Learns the first presence and follows it from now on, by a look every so often if the reader does not tell. Never rejects. */
  watch(pollMs: number): Promise<void>
  /** Asks whether a card is there. Never rejects. */
  check(): Promise<void>
  markInUse(by: ReaderInUseError['by']): void
  /** Somebody else wants the reader: an owner who does not need the card may close its connection. Never rejects. */
  release(): Promise<void>
  /** Ends the connection, if one is open. */
  shut(): Promise<void>
  /** The reader left: presence completes. */
  leave(): void
}
