/** The ports of a device source: the browser's API on one side, the transport on the other. */
import type { CardSlot, ReaderInUseError, ReaderSupport, WebtokiError } from '@webtoki/apdu'
import type { DeviceDescription, ReaderIdentity } from './identity.ts'

/** The part of WebUSB, WebHID or Web Serial that a source uses. */
export interface DeviceApi<D extends object, Filter> {
  /** The API's name as in its documentation, for example "WebUSB". */
  readonly name: string
  readonly support: ReaderSupport
  /** Lists the devices that the page has permission to use. */
  list(): Promise<readonly D[]>
  /** Shows the chooser. Rejects as the browser does: with NotFoundError if the person chose no device. */
  choose(filters: readonly Filter[]): Promise<D>
  /**
   * Calls back whenever a permitted device is plugged in or out. Returns the function that ends this. Does nothing if
   * the API is missing.
   */
  watch(connected: (device: D) => void, disconnected: (device: D) => void): () => void
  describe(device: D): DeviceDescription
}

/** One interface of a device. A device without interfaces is described as interface 0. */
export interface DeviceInterface {
  readonly interfaceNumber: number
}

/** What a transport knows about devices. Listing, watching and state are the job of the source. */
export interface DeviceTransport<D extends object, Interface extends DeviceInterface, Filter> {
  /** The filters of the chooser. */
  readonly filters: readonly Filter[]
  /**
   * Returns the interfaces that are readers of this transport; an empty list if the device is something else. Opens
   * the device if necessary, and closes it again.
   */
  interfacesOf(device: D): Promise<readonly Interface[]>
  /** Creates the reader on one interface without opening it. Throws ReaderNotSupportedError. */
  readerAt(place: ReaderPlace<D, Interface>): DeviceReader
}

/** Where a reader is, and what its source provides to it. */
export interface ReaderPlace<D extends object, Interface> {
  readonly device: D
  readonly deviceInterface: Interface
  readonly identity: ReaderIdentity
  /** True if the device has more than one reader. */
  readonly isOneOfSeveral: boolean
  /**
   * Runs `open` after this tab has the right to use the reader, and gives that right up if `open` fails. Rejects with
   * ReaderInUseError.
   */
  inTurn<T>(open: () => Promise<T>): Promise<T>
  /**
   * Resolves to whether the page may still use the device, and removes the reader if not. The browser sends no event
   * when a permission is revoked.
   */
  readonly isAvailable: () => Promise<boolean>
}

/** A reader with its slots, created by a transport. */
export interface DeviceReader {
  readonly reader: {
    /** Opens the reader if it is closed. Rejects with a typed error. */
    ready(): Promise<void>
    /** Closes the reader until the next `ready`. Resolves to false if the reader is busy and stays open. */
    closeIfIdle(): Promise<boolean>
    /** Closes the reader permanently. Pending requests reject with `error`. */
    close(error: WebtokiError): Promise<void>
  }
  readonly slots: readonly DeviceSlot[]
  /** A problem that does not prevent use. It is listed in `problems$` while the reader is connected. */
  readonly warning?: WebtokiError | undefined
}

/** A slot, as a source needs it. */
export interface DeviceSlot extends CardSlot {
  /** True if a connection is open or being opened. */
  readonly isUsed: boolean
  /** True if another tab, page or program has the reader. */
  readonly isInUse: boolean
  /**
   * Reads the first presence and follows it from then on; polls every `pollMs` milliseconds if the reader reports no
   * changes. Never rejects.
   */
  watch(pollMs: number): Promise<void>
  /** Reads whether a card is present. Never rejects. */
  check(): Promise<void>
  markInUse(by: ReaderInUseError['by']): void
  /**
   * Notifies the owner of the connection that another tab requests the reader, and waits for closing that is under
   * way. Never rejects.
   */
  requestRelease(): Promise<void>
  /** Closes the connection, if one is open. */
  close(): Promise<void>
  /** Ends the slot because its reader was removed: `presence$` completes. */
  detach(): void
}
