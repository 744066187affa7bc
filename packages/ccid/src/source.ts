/** The reader source for CCID and ICCD over WebUSB: finds the CCID interfaces of a device and opens their readers. */
// Preserved in the declarations, because they name WebUSB types, which TypeScript does not provide.
/// <reference types="w3c-web-usb" preserve="true" />
import { type CardSlot, ReaderNotSupportedError, type ReaderSource } from '@webtoki/apdu'
import {
  type Clock,
  DeviceSource,
  type DeviceTransport,
  hasInterface,
  interfaceName,
  type ReaderChannel,
  type ReaderLocks,
  type ReaderPlace,
  systemClock,
  usbDevices,
  withOpenDevice,
} from '@webtoki/device'
import type { Observable } from 'rxjs'
import type { CorrectedInterface } from './corrected.ts'
import { ICCD_A, ICCD_B, SMART_CARD_CLASS, VENDOR_CLASS } from './interface-classes.ts'
import type { CcidPipe } from './pipe.ts'
import { CcidReader } from './reader.ts'
import { CcidSlot } from './slot.ts'
import { slotIdentity } from './slot-identity.ts'
import { WebUsbPipe } from './webusb-pipe.ts'

/** Options of `ccidSlots`. Each defaults to the browser's own object. */
export interface CcidSlotsOptions {
  /** Default: `navigator.usb`. */
  readonly usb?: USB | undefined
  readonly clock?: Clock | undefined
  /** Locks that the tabs of a site share. Default: `navigator.locks` if `usb` is `navigator.usb`. */
  readonly locks?: ReaderLocks | undefined
  /**
   * Channel on which a tab requests a reader from another tab that does not need it. Default: a `BroadcastChannel` if
   * `usb` is `navigator.usb`.
   */
  readonly channel?: ReaderChannel | undefined
  /**
   * Emits when the person activates this tab, which then requests its readers from other tabs. Default: when the page
   * becomes visible or its window gets the focus, if `usb` is `navigator.usb`.
   */
  readonly activated$?: Observable<unknown> | undefined
  /** Polling interval for readers that do not report card changes, in milliseconds. Default 500. */
  readonly pollMs?: number | undefined
  /**
   * Whether PINs are entered on the keys of readers that announce a PIN pad, so that the page never sees them.
   * Default true. False: announcements are ignored, and the page asks for every PIN.
   */
  readonly pinPad?: boolean | undefined
}

/** The readers of one page. Listens for plug events until it is closed. */
export interface CcidSlotSource extends ReaderSource {
  /** Shows the chooser, as `ReaderSource` defines. Tries again to open a reader that was in use. */
  requestReader(options?: RequestReaderOptions): Promise<readonly CardSlot[] | undefined>
}

/** Options of `requestReader`. */
export interface RequestReaderOptions {
  /**
   * The chooser's filters. Default: devices with an interface of the smart card class (0x0B) or of a vendor class
   * (0xFF).
   */
  readonly filters?: readonly USBDeviceFilter[]
}

/**
 * Opens a source of CCID readers. Does not open a device without a smart card or vendor interface. Without WebUSB the
 * source has no slots, and `support` states why.
 */
export function ccidSlots(options: CcidSlotsOptions = {}): CcidSlotSource {
  const own = globalThis.navigator?.usb
  const { usb = own, clock = systemClock, channel, activated$, pinPad = true, pollMs } = options
  // A virtual USB belongs to this page alone, so no tab shares it.
  const usesBrowserDefaults = usb === own
  const locks =
    options.locks ??
    (usesBrowserDefaults ? (globalThis.navigator?.locks as ReaderLocks | undefined) : undefined)
  const tabs = locks && { locks, channel, activated$, usesBrowserDefaults }
  return new DeviceSource(usbDevices(usb), ccidTransport(usb, clock, pinPad), { clock, tabs, pollMs })
}

/**
 * bPINSupport by slot id, for readers that rejected a PIN entry. Kept for the life of the page, so that a new source
 * knows it too.
 */
const pinSupportsOf = new WeakMap<object, Map<string, number>>()
/**
 * bMaxSlotIndex is one byte, so a wrong value could create 256 slots. No reader of the collection has more than 16.
 */
const MAX_SLOT_INDEX = 15

/** The transport for CCID and ICCD. */
function ccidTransport(
  usb: USB | undefined,
  clock: Clock,
  allowsPinPads: boolean,
): DeviceTransport<USBDevice, CorrectedInterface, USBDeviceFilter> {
  const pinSupports = pinSupportsOf.get(usb ?? pinSupportsOf) ?? new Map<string, number>()
  pinSupportsOf.set(usb ?? pinSupportsOf, pinSupports)
  return {
    filters: [{ classCode: SMART_CARD_CLASS }, { classCode: VENDOR_CLASS }],
    interfacesOf: async (device) => {
      // Other devices are not opened.
      if (!hasInterface(device, SMART_CARD_CLASS, VENDOR_CLASS)) return []
      return withOpenDevice(device, async () => {
        const { configuration, configurations } = device
        const value = configuration?.configurationValue
        const index = configurations.findIndex(({ configurationValue }) => configurationValue === value)
        // Loaded on demand: only devices with a possible reader need it.
        const { correctedInterfaces, readConfigurationDescriptor } = await import('./corrected.ts')
        return correctedInterfaces(device, await readConfigurationDescriptor(device, Math.max(0, index)))
      })
    },
    readerAt: (place) => {
      const { device, deviceInterface: usbInterface, identity, isOneOfSeveral } = place
      const { interfaceNumber } = usbInterface
      if (usbInterface.refusal !== undefined) throw new ReaderNotSupportedError(usbInterface.refusal)
      const descriptor = allowsPinPads
        ? usbInterface.descriptor
        : { ...usbInterface.descriptor, pinSupport: 0 }
      // The turn belongs to the reader, not to the pipe: a reader must not pass to a waiting tab during its reset.
      const open = (reset: boolean): Promise<CcidPipe> => place.inTurn(() => openPipe(place, clock, reset))
      const reader = new CcidReader(descriptor, clock, open, { device, usbInterface })
      const hint = interfaceName(device, interfaceNumber)
      const name = `${identity.name} (${usbInterface.label})`
      const slots = Math.min(descriptor.maxSlotIndex, MAX_SLOT_INDEX) + 1
      const kinds = usbInterface.quirk.slotKinds
      const slotAt = (slot: number): CcidSlot => {
        const readerIdentity = isOneOfSeveral ? { ...identity, name } : identity
        const own = slotIdentity(readerIdentity, { interfaceNumber, slot, slots, hint, kinds })
        return new CcidSlot(reader, slot, own, pinSupports)
      }
      return {
        reader,
        slots: Array.from({ length: slots }, (_, slot) => slotAt(slot)),
        warning: usbInterface.warning,
      }
    },
  }
}

/** Opens a pipe over bulk endpoints (CCID) or over the control pipe (ICCD). */
async function openPipe(
  { device, deviceInterface: usbInterface, isAvailable }: ReaderPlace<USBDevice, CorrectedInterface>,
  clock: Clock,
  reset: boolean,
): Promise<CcidPipe> {
  const options = { clock, reset, isAvailable }
  if (usbInterface.interfaceProtocol !== ICCD_A && usbInterface.interfaceProtocol !== ICCD_B)
    return WebUsbPipe.open(device, usbInterface, options)
  // Loaded on demand, because ICCD devices are rare.
  const { IccdPipe } = await import('./iccd-pipe.ts')
  return IccdPipe.open(device, usbInterface, options)
}
