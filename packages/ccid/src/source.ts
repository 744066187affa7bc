/** The slot source over WebUSB: what of a device is a CCID reader, and how one is opened. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
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
  whileOpen,
} from '@webtoki/device'
import type { Observable } from 'rxjs'
import type { CorrectedInterface } from './corrected.ts'
import { ICCD_A, ICCD_B, SMART_CARD_CLASS, VENDOR_CLASS } from './interface-classes.ts'
import type { CcidPipe } from './pipe.ts'
import { CcidReader } from './reader.ts'
import { CcidSlot } from './slot.ts'
import { slotIdentity } from './slot-identity.ts'
import { WebUsbPipe } from './webusb-pipe.ts'

/** Everything has the browser's own as its default. */
export interface CcidSlotsOptions {
  /** Default: `navigator.usb`. */
  readonly usb?: USB | undefined
  readonly clock?: Clock | undefined
  /** Tells tabs of one site apart. Default: `navigator.locks`, where `usb` is the browser's own. */
  readonly locks?: ReaderLocks | undefined
  /** By it a tab asks for a reader that another one has and does not need. Default: one of its own, where `usb` is the browser's own. */
  readonly channel?: ReaderChannel | undefined
  /** Each emission says that a person turned to this tab, so that its readers are asked for. Default: when the page becomes visible or its window gets the focus, where `usb` is the browser's own. */
  readonly turnedTo$?: Observable<unknown> | undefined
  /** Interval between two looks at readers that do not tell by themselves, in milliseconds. Default 500. */
  readonly pollMs?: number | undefined
  /**
   * Whether PINs are typed on the keys of readers that announce some, so that the page never sees them. Default true.
   * False: no reader's announcement is believed, and every PIN is asked for by the page.
   */
  readonly pinPad?: boolean | undefined
}

/** Readers of one page. Listens until it is closed. */
export interface CcidSlotSource extends ReaderSource {
  /** As `ReaderSource` has it. A reader that was in use is asked for again. */
  requestReader(options?: RequestReaderOptions): Promise<readonly CardSlot[] | undefined>
}

/** What the chooser shows. */
export interface RequestReaderOptions {
  /** Default: devices with an interface of the Smart Card class (0x0B) or of a vendor class (0xFF). */
  readonly filters?: readonly USBDeviceFilter[]
}

/**
 * Opens the source. Nothing is asked of a device that has neither a smart card nor a vendor interface. If this browser or page
 * has no WebUSB, the source has no slots, and its `support` says why.
 */
export function ccidSlots(options: CcidSlotsOptions = {}): CcidSlotSource {
  const own = globalThis.navigator?.usb
  const { usb = own, clock = systemClock, channel, turnedTo$, pinPad = true, pollMs } = options
  // A virtual USB is this page's alone, whatever other tabs have.
  const isBrowsers = usb === own
  const locks =
    options.locks ?? (isBrowsers ? (globalThis.navigator?.locks as ReaderLocks | undefined) : undefined)
  const tabs = locks && { locks, channel, turnedTo$, isBrowsers }
  return new DeviceSource(usbDevices(usb), ccidTransport(usb, clock, pinPad), { clock, tabs, pollMs })
}

/** bPINSupport of readers that refused a PIN entry, by slot: as long as the page lives, whoever makes another source. */
const padsOf = new WeakMap<object, Map<string, number>>()
/** bMaxSlotIndex is one byte, and one that lies would make 256 slots; no reader of the collection has more than 16. */
const MAX_SLOT_INDEX = 15

/** CCID and ICCD. */
function ccidTransport(
  usb: USB | undefined,
  clock: Clock,
  mayHavePads: boolean,
): DeviceTransport<USBDevice, CorrectedInterface, USBDeviceFilter> {
  const pads = padsOf.get(usb ?? padsOf) ?? new Map<string, number>()
  padsOf.set(usb ?? padsOf, pads)
  return {
    filters: [{ classCode: SMART_CARD_CLASS }, { classCode: VENDOR_CLASS }],
    interfacesOf: async (device) => {
      // Nothing is asked of any other device.
      if (!hasInterface(device, SMART_CARD_CLASS, VENDOR_CLASS)) return []
      return whileOpen(device, async () => {
        const { configuration, configurations } = device
        const value = configuration?.configurationValue
        const index = configurations.findIndex(({ configurationValue }) => configurationValue === value)
        // What only a device with readers needs is loaded with the first one.
        const { correctedInterfaces, readConfigurationDescriptor } = await import('./corrected.ts')
        return correctedInterfaces(device, await readConfigurationDescriptor(device, Math.max(0, index)))
      })
    },
    readerAt: (place) => {
      const { device, deviceInterface: face, identity, isOneOfSeveral } = place
      const { interfaceNumber } = face
      if (face.refusal !== undefined) throw new ReaderNotSupportedError(face.refusal)
      const descriptor = mayHavePads ? face.descriptor : { ...face.descriptor, pinSupport: 0 }
      // The turn is the reader's, not the pipe's: one that has to be reset must not go to a tab that waits for it.
      const open = (reset: boolean): Promise<CcidPipe> => place.inTurn(() => openPipe(place, clock, reset))
      const reader = new CcidReader(descriptor, clock, open, { device, usbInterface: face })
      const hint = interfaceName(device, interfaceNumber)
      const name = `${identity.name} (${face.label})`
      const slots = Math.min(descriptor.maxSlotIndex, MAX_SLOT_INDEX) + 1
      const kinds = face.quirk.slotKinds
      const slotAt = (slot: number): CcidSlot => {
        const called = isOneOfSeveral ? { ...identity, name } : identity
        const own = slotIdentity(called, { interfaceNumber, slot, slots, hint, kinds })
        return new CcidSlot(reader, slot, own, pads)
      }
      return {
        reader,
        slots: Array.from({ length: slots }, (_, slot) => slotAt(slot)),
        warning: face.warning,
      }
    },
  }
}

/** CCID over bulk endpoints, or ICCD over the control pipe. */
async function openPipe(
  { device, deviceInterface: face, isThere }: ReaderPlace<USBDevice, CorrectedInterface>,
  clock: Clock,
  reset: boolean,
): Promise<CcidPipe> {
  const options = { clock, reset, isThere }
  if (face.interfaceProtocol !== ICCD_A && face.interfaceProtocol !== ICCD_B)
    return WebUsbPipe.open(device, face, options)
  // Few devices: pages with any other reader never load it.
  const { IccdPipe } = await import('./iccd-pipe.ts')
  return IccdPipe.open(device, face, options)
}
