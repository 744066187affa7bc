/** The slot source over WebUSB: finds CCID readers among the permitted devices, and follows their plugging. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
/// <reference types="w3c-web-usb" preserve="true" />
import {
  type Clock,
  holdDevice,
  Identities,
  nameOf,
  type ReaderChannel,
  type ReaderIdentity,
  type ReaderLocks,
  releaseDevice,
  samsLast,
  systemClock,
  type Tabs,
  translateUsbError,
  within,
} from '@webtoki/device'
import {
  type CardSlot,
  NotGrantedError,
  ReaderGoneError,
  ReaderInUseError,
  ReaderNotSupportedError,
  WebtokiError,
  type SlotSource,
  TransferError,
} from '@webtoki/apdu'
import { BehaviorSubject, type Observable, ReplaySubject } from 'rxjs'
import type { CorrectedInterface } from './corrected.ts'
import { ICCD_A, ICCD_B, readConfigurationDescriptor, SMART_CARD_CLASS, VENDOR_CLASS } from './descriptors.ts'
import type { CcidPipe } from './pipe.ts'
import { CcidReader, READER_TIMEOUT_MS } from './reader.ts'
import type { ReaderTurn, ReaderTurns, TurnHolder } from './reader-turn.ts'
import { CcidSlot } from './slot.ts'
import { slotIdentity } from './slot-identity.ts'
import { WebUsbPipe } from './webusb-pipe.ts'

/** How often readers without an interrupt endpoint are asked for their card, while idle. */
const POLL_MS = 500

/** Everything has the browser's own as its default. */
export interface CcidSlotsOptions {
  /** Default: `navigator.usb`. */
  readonly usb?: USB
  readonly clock?: Clock
  /** Tells tabs of one site apart. Default: `navigator.locks`, where `usb` is the browser's own. */
  readonly locks?: ReaderLocks
  /** By it a tab asks for a reader that another one has and does not need. Default: one of its own, where `usb` is the browser's own. */
  readonly channel?: ReaderChannel
  /** Each emission says that a person turned to this tab, so that its readers are asked for. Default: when the page becomes visible or its window gets the focus, where `usb` is the browser's own. */
  readonly turnedTo$?: Observable<unknown>
  /** Interval between two looks at readers that do not tell by themselves, in milliseconds. Default 500. */
  readonly pollMs?: number
  /**
   * Whether PINs are typed on the keys of readers that announce some, so that the page never sees them. Default true.
   * False: no reader's announcement is believed, and every PIN is asked for by the page.
   */
  readonly pinPad?: boolean
}

/** A permitted device that looks like a reader and cannot be used, with the reason. */
export interface ReaderProblem {
  readonly name: string
  readonly vendorId: number
  readonly productId: number
  readonly error: WebtokiError
}

/** Readers of one page. Listens until it is closed. */
export interface CcidSlotSource extends SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /**
   * Shows the browser's chooser and resolves to the slots of the chosen reader; undefined: the person chose none. One
   * that was in use is asked for again.
   * Needs a click in a page. Rejects with the reason why the reader cannot be used, such as ProtectedClassError.
   */
  requestReader(options?: RequestReaderOptions): Promise<readonly CardSlot[] | undefined>
}

/** What the chooser shows. */
export interface RequestReaderOptions {
  /** Default: devices with an interface of the Smart Card class (0x0B) or of a vendor class (0xFF). */
  readonly filters?: USBDeviceFilter[]
}

/** Opens the source. Nothing is asked of a device that has neither a smart card nor a vendor interface. */
export function ccidSlots(options: CcidSlotsOptions = {}): CcidSlotSource {
  const usb = options.usb ?? globalThis.navigator?.usb
  if (usb === undefined) {
    throw new ReaderNotSupportedError(
      'This browser has no WebUSB, or the page is not served over https; Chromium-based browsers have it.',
    )
  }
  // A virtual USB is this page's alone, whatever other tabs have.
  const isBrowsers = usb === globalThis.navigator?.usb
  const { channel, turnedTo$ } = options
  const locks =
    options.locks ?? (isBrowsers ? (globalThis.navigator.locks as ReaderLocks | undefined) : undefined)
  const tabs = locks === undefined ? undefined : { locks, channel, turnedTo$, isBrowsers }
  return new UsbSlotSource(usb, options.clock ?? systemClock, options, tabs)
}

/** One plugged device: its readers are its CCID interfaces. */
interface Attached {
  readonly identity: ReaderIdentity
  readonly readers: {
    readonly reader: CcidReader
    readonly slots: readonly CcidSlot[]
    readonly turn: ReaderTurn | undefined
  }[]
  readonly problems: ReaderProblem[]
  /** Why a vendor device could not be looked at: told only to a person who chose it. */
  unreadable?: WebtokiError
  /** Done when the device has been looked at. Never rejects. */
  looked: Promise<void>
  isPlugged: boolean
}

/** bPINSupport of readers that refused a PIN entry, by slot: as long as the page lives, whoever makes another source. */
const padsOf = new WeakMap<USB, Map<string, number>>()

class UsbSlotSource implements CcidSlotSource {
  readonly slots$: Observable<readonly CardSlot[]>
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #usb: USB
  readonly #clock: Clock
  readonly #options: CcidSlotsOptions
  readonly #tabs: Tabs | undefined
  #turns: ReaderTurns | undefined
  readonly #slots = new ReplaySubject<readonly CardSlot[]>(1)
  readonly #problems = new BehaviorSubject<readonly ReaderProblem[]>([])
  readonly #attached = new Map<USBDevice, Attached>()
  readonly #identities = new Identities()
  readonly #pads: Map<string, number>
  #enumerated = false
  #closing: Promise<void> | undefined
  readonly #connected = (event: USBConnectionEvent): void => void this.#attach(event.device).looked
  readonly #disconnected = (event: USBConnectionEvent): void => this.#detach(event.device)

  constructor(usb: USB, clock: Clock, options: CcidSlotsOptions, tabs: Tabs | undefined) {
    this.#usb = usb
    this.#pads = padsOf.get(usb) ?? new Map<string, number>()
    padsOf.set(usb, this.#pads)
    this.#tabs = tabs
    this.#clock = clock
    this.#options = options
    this.slots$ = this.#slots.asObservable()
    this.problems$ = this.#problems.asObservable()
    // Listening first: a reader plugged while the list is read must not be missed.
    usb.addEventListener('connect', this.#connected)
    usb.addEventListener('disconnect', this.#disconnected)
    void this.#enumerate()
  }

  async #enumerate(): Promise<void> {
    try {
      // Equal readers are numbered in this order, so that every tab gives them the same names.
      const devices = [...(await this.#usb.getDevices())].sort(bySerialNumber)
      await Promise.all(devices.map((device) => this.#attach(device).looked))
    } catch (error) {
      if (this.#closing !== undefined) return
      // A page whose permissions policy forbids `usb` is refused here.
      this.#slots.error(translateUsbError('open', error))
      return
    }
    this.#enumerated = true
    this.#tell()
  }

  async requestReader(options: RequestReaderOptions = {}): Promise<readonly CardSlot[] | undefined> {
    if (this.#closing !== undefined) throw new ReaderGoneError()
    const filters = options.filters ?? [{ classCode: SMART_CARD_CLASS }, { classCode: VENDOR_CLASS }]
    let device: USBDevice
    try {
      device = await this.#usb.requestDevice({ filters })
    } catch (error) {
      if ((error as Error).name === 'NotFoundError') return undefined
      if ((error as Error).name === 'SecurityError') {
        throw new NotGrantedError(
          'The browser shows its chooser only after a click, and only where the page may use USB.',
          {
            cause: error,
          },
        )
      }
      throw error
    }
    const known = this.#attached.get(device)
    await known?.looked
    // Chosen again, it may be free by now.
    if (known?.readers.length === 0) this.#detach(device)
    const attached = this.#attach(device)
    await attached.looked
    for (const { reader, slots } of known?.readers ?? []) await goOn(attached, reader, slots)
    const [problem] = attached.problems
    const slots = samsLast(attached.readers.flatMap((entry) => entry.slots))
    if (slots.length > 0) return slots
    throw (
      problem?.error ??
      attached.unreadable ??
      new ReaderNotSupportedError(
        `${nameOf(device)} is no smartcard reader that speaks CCID; choose another device.`,
      )
    )
  }

  #attach(device: USBDevice): Attached {
    const known = this.#attached.get(device)
    if (known !== undefined) return known
    const identity = this.#identities.take(device)
    const attached: Attached = {
      identity,
      readers: [],
      problems: [],
      looked: Promise.resolve(),
      isPlugged: true,
    }
    this.#attached.set(device, attached)
    attached.looked = this.#look(device, attached).then(() => {
      if (this.#enumerated) this.#tell()
    })
    return attached
  }

  /** Never rejects: what fails becomes a problem, and the other readers go on. */
  async #look(device: USBDevice, attached: Attached): Promise<void> {
    if (!mayBeReader(device)) return
    const trouble = (error: unknown): void => {
      if (!attached.isPlugged) return
      const { vendorId, productId } = device
      const typed = error instanceof WebtokiError ? error : new TransferError(String(error), { cause: error })
      attached.problems.push({ name: attached.identity.name, vendorId, productId, error: typed })
    }
    let interfaces: readonly CorrectedInterface[]
    try {
      interfaces = await this.#readInterfaces(device)
    } catch (error) {
      // A vendor device whose descriptor cannot be read is probably no reader at all: nobody need be troubled.
      if (hasInterface(device, SMART_CARD_CLASS)) trouble(error)
      else if (error instanceof WebtokiError) attached.unreadable = error
      return
    }
    for (const face of interfaces) {
      if (!attached.isPlugged || this.#closing !== undefined) return
      try {
        await this.#open(device, face, attached, interfaces.length > 1)
      } catch (error) {
        trouble(error)
      }
    }
  }

  async #readInterfaces(device: USBDevice): Promise<readonly CorrectedInterface[]> {
    try {
      await holdDevice(device)
    } catch (error) {
      throw translateUsbError('open', error)
    }
    try {
      const index = Math.max(
        0,
        device.configurations.findIndex(
          (c) => c.configurationValue === device.configuration?.configurationValue,
        ),
      )
      const bytes = await within(
        this.#clock,
        READER_TIMEOUT_MS,
        'the configuration descriptor',
        readConfigurationDescriptor(device, index),
      )
      // What only a device with readers needs is loaded with the first one.
      const { correctedInterfaces } = await import('./corrected.ts')
      return correctedInterfaces(device, bytes)
    } catch (error) {
      throw translateUsbError('descriptor', error)
    } finally {
      await releaseDevice(device)
    }
  }

  async #open(
    device: USBDevice,
    face: CorrectedInterface,
    attached: Attached,
    isOneOfSeveral: boolean,
  ): Promise<void> {
    const { interfaceNumber } = face
    const { pinPad = true, pollMs = POLL_MS } = this.#options
    const descriptor = pinPad ? face.descriptor : { ...face.descriptor, pinSupport: 0 }
    if (face.refusal !== undefined) throw new ReaderNotSupportedError(face.refusal)
    const slots: CcidSlot[] = []
    // The turn is the reader's, not the pipe's: one that has to be reset must not go to a tab that waits for it.
    const openPipe = async (reset: boolean): Promise<CcidPipe> => {
      await turn?.take()
      try {
        const pipe = await this.#openPipe(device, face, reset)
        void pipe.ended
          .then(async ({ why }) => {
            // No event tells of a permission taken back: its transfers fail, as if the reader was unplugged.
            if (why === 'gone' && !(await this.#usb.getDevices()).includes(device)) this.#detach(device)
          })
          .catch(() => {})
        return pipe
      } catch (error) {
        turn?.release()
        throw error
      }
    }
    const reader = new CcidReader(descriptor, this.#clock, openPipe, { device, face })
    const turn = await this.#turnAt(lockNameOf(device, attached.identity, interfaceNumber), {
      reader,
      slots,
      goOn: () => void goOn(attached, reader, slots),
    })
    let inUse: ReaderInUseError | undefined
    try {
      await reader.ready()
    } catch (error) {
      if (!(error instanceof ReaderInUseError)) {
        turn?.end()
        throw error
      }
      inUse = error
    }
    if (!attached.isPlugged || this.#closing !== undefined) {
      await reader.end(new ReaderGoneError())
      turn?.end()
      return
    }
    const count = Math.min(descriptor.maxSlotIndex, MAX_SLOT_INDEX) + 1
    const hint = interfaceName(device, interfaceNumber)
    const readerIdentity = isOneOfSeveral
      ? {
          ...attached.identity,
          name: `${attached.identity.name} (${face.label})`,
        }
      : attached.identity
    const kinds = face.quirk.slotKinds
    for (let slot = 0; slot < count; slot++) {
      const identity = slotIdentity(readerIdentity, { interfaceNumber, slot, slots: count, hint, kinds })
      slots.push(new CcidSlot(reader, slot, identity, this.#pads))
    }
    attached.readers.push({ reader, slots, turn })
    const { warning: error } = face
    const { vendorId, productId } = device
    if (error !== undefined)
      attached.problems.push({ name: attached.identity.name, vendorId, productId, error })
    for (const slot of slots) {
      if (inUse !== undefined) slot.markInUse(inUse.by)
      void slot.watch(pollMs)
    }
  }

  /** One tab of the site has a reader at a time; undefined: nobody else can name it. */
  async #turnAt(lockName: string | undefined, holder: TurnHolder): Promise<ReaderTurn | undefined> {
    if (this.#tabs === undefined || lockName === undefined) return undefined
    const { ReaderTurns } = await import('./reader-turn.ts')
    this.#turns ??= new ReaderTurns(this.#tabs, this.#clock)
    return this.#turns.of(lockName, holder)
  }

  /** CCID over bulk endpoints, or ICCD over the control pipe. */
  async #openPipe(device: USBDevice, face: CorrectedInterface, reset: boolean): Promise<CcidPipe> {
    if (face.interfaceProtocol !== ICCD_A && face.interfaceProtocol !== ICCD_B)
      return WebUsbPipe.open(device, face, { reset })
    // Few devices: pages with any other reader never load it.
    const { IccdPipe } = await import('./iccd-pipe.ts')
    return IccdPipe.open(device, face, this.#clock, reset)
  }

  #detach(device: USBDevice): void {
    const attached = this.#attached.get(device)
    if (attached === undefined) return
    this.#attached.delete(device)
    this.#identities.give(attached.identity)
    attached.isPlugged = false
    for (const { reader, slots, turn } of attached.readers) {
      turn?.end()
      void reader.end(new ReaderGoneError())
      for (const slot of slots) slot.leave()
    }
    if (this.#enumerated) this.#tell()
  }

  #tell(): void {
    if (this.#closing !== undefined) return
    const attached = [...this.#attached.values()]
    this.#problems.next(attached.flatMap((entry) => entry.problems))
    this.#slots.next(samsLast(attached.flatMap((entry) => entry.readers.flatMap((each) => each.slots))))
  }

  /** Powers the cards off and releases every claim. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#usb.removeEventListener('connect', this.#connected)
    this.#usb.removeEventListener('disconnect', this.#disconnected)
    // After this turn `#closing` is set, and whoever is still looking at a device gives up.
    await Promise.resolve()
    await Promise.all(
      [...this.#attached.values()].map(async (attached) => {
        await attached.looked
        for (const { reader, slots, turn } of attached.readers) {
          await Promise.all(slots.map((slot) => slot.shut()))
          await reader.end(new ReaderGoneError())
          turn?.end()
          for (const slot of slots) slot.leave()
        }
      }),
    )
    this.#attached.clear()
    this.#turns?.close()
    this.#slots.complete()
    this.#problems.complete()
  }
}

/** bMaxSlotIndex is one byte, and one that lies would make 256 slots; no reader of the collection has more than 16. */
const MAX_SLOT_INDEX = 15

/** The other tab was closed, or gave the reader up: it is this one's now. Or a person chose it once more. Never rejects. */
async function goOn(attached: Attached, reader: CcidReader, slots: readonly CcidSlot[]): Promise<void> {
  await attached.looked
  try {
    await reader.ready()
    for (const slot of slots) await slot.check()
  } catch {
    // Gone, or another program was quicker; who connects is told.
  }
}

function bySerialNumber(one: USBDevice, two: USBDevice): number {
  const [first, second] = [one.serialNumber ?? '', two.serialNumber ?? '']
  return first < second ? -1 : first > second ? 1 : 0
}

function mayBeReader(device: USBDevice): boolean {
  return hasInterface(device, SMART_CARD_CLASS) || hasInterface(device, VENDOR_CLASS)
}

function hasInterface(device: USBDevice, classCode: number): boolean {
  return device.configurations.some((configuration) =>
    configuration.interfaces.some((face) =>
      face.alternates.some((alternate) => alternate.interfaceClass === classCode),
    ),
  )
}

function interfaceName(device: USBDevice, interfaceNumber: number): string {
  for (const configuration of device.configurations) {
    const face = configuration.interfaces.find((each) => each.interfaceNumber === interfaceNumber)
    const name = face?.alternates[0]?.interfaceName?.trim()
    if (name) return name
  }
  return ''
}

/** Only a serial number says the same in every tab. */
function lockNameOf(device: USBDevice, { id }: ReaderIdentity, interfaceNumber: number): string | undefined {
  const { serialNumber } = device
  return serialNumber && id.endsWith(`:${serialNumber}`)
    ? `webtoki-reader ${id}/${interfaceNumber}`
    : undefined
}
