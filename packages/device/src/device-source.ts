/**
 * A reader source over one browser API: lists devices, follows plug events, handles permission and the chooser. The
 * transport decides which interfaces are readers.
 */
import {
  type CardSlot,
  isWebtokiError,
  NotGrantedError,
  ReaderGoneError,
  ReaderInUseError,
  ReaderNotSupportedError,
  type ReaderProblem,
  type ReaderSource,
  type ReaderSupport,
  ReadersUnreachableError,
  SourceClosedError,
  TransferError,
  type WebtokiError,
} from '@webtoki/apdu'
import { BehaviorSubject, distinctUntilChanged, type Observable, ReplaySubject } from 'rxjs'
import type { Clock } from './clock.ts'
import { withTimeout } from './deadline.ts'
import type { DeviceApi, DeviceInterface, DeviceReader, DeviceSlot, DeviceTransport } from './device-ports.ts'
import { Identities, nameOf, type ReaderIdentity, samsLast } from './identity.ts'
import type { Tabs } from './tabs.ts'
import type { ReaderTurn, ReaderTurns } from './turns.ts'

/** Default polling interval for readers that do not report card changes. */
const POLL_MS = 500
/** Time limit for listing devices, and for opening or closing one device. */
const DEVICE_MS = 10_000
/** The first list is published after this time even if a device has not responded. */
const FIRST_LIST_MS = 2_000

/** Options of a `DeviceSource`. */
export interface DeviceSourceOptions {
  readonly clock: Clock
  /** How readers are shared with other tabs. Undefined: no other tab can open a device of this API. */
  readonly tabs: Tabs | undefined
  /** Polling interval for readers that do not report card changes, in milliseconds. Default 500. */
  readonly pollMs?: number | undefined
}

interface OpenReader extends DeviceReader {
  readonly turn: ReaderTurn | undefined
}

/** One device that is plugged in. */
interface AttachedDevice {
  readonly identity: ReaderIdentity
  readonly problemOf: (error: unknown) => ReaderProblem
  /** By interface number. */
  readonly readers: Map<number, OpenReader>
  problems: ReaderProblem[]
  /** Settles when the device has been inspected, or its time limit has passed. Never rejects. */
  inspected: Promise<void>
  /** True while the inspection runs, which may exceed the time limit. Its late result still counts. */
  isInspecting: boolean
  isPlugged: boolean
}

/**
 * A reader source over the devices of one browser API. Listens for plug events until it is closed. Each device has
 * its own time limit and its own problems, and delays no other device.
 */
export class DeviceSource<D extends object, Interface extends DeviceInterface, Filter>
  implements ReaderSource
{
  readonly slots$: Observable<readonly CardSlot[]>
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #api: DeviceApi<D, Filter>
  readonly #transport: DeviceTransport<D, Interface, Filter>
  readonly #clock: Clock
  readonly #tabs: Tabs | undefined
  readonly #pollMs: number
  readonly #slots = new ReplaySubject<readonly CardSlot[]>(1)
  readonly #problems = new BehaviorSubject<readonly ReaderProblem[]>([])
  readonly #attached = new Map<D, AttachedDevice>()
  readonly #identities = new Identities()
  readonly #unwatch: () => void
  #turns: ReaderTurns | undefined
  #support: ReaderSupport
  /** Why the devices could not be listed. */
  #listProblems: ReaderProblem[] = []
  #isFirstListPublished = false
  #refreshing: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(
    api: DeviceApi<D, Filter>,
    transport: DeviceTransport<D, Interface, Filter>,
    { clock, tabs, pollMs = POLL_MS }: DeviceSourceOptions,
  ) {
    this.#api = api
    this.#transport = transport
    this.#clock = clock
    this.#tabs = tabs
    this.#pollMs = pollMs
    this.#support = api.support
    // A caller that calls lookAgain() on each list would loop forever if an unchanged list were emitted.
    this.slots$ = this.#slots.pipe(distinctUntilChanged<readonly CardSlot[]>(haveSameItems))
    this.problems$ = this.#problems.pipe(
      distinctUntilChanged((before, now) => haveSameItems(before.map(problemKey), now.map(problemKey))),
    )
    // Subscribes before the first list is read, so that a reader plugged in meanwhile is not missed.
    this.#unwatch = api.watch(
      (device) => void this.#attach(device),
      (device) => this.#detach(device),
    )
    void this.#publishFirst()
  }

  get support(): ReaderSupport {
    return this.#support
  }

  async #publishFirst(): Promise<void> {
    const refreshing = this.lookAgain()
    await withTimeout(this.#clock, FIRST_LIST_MS, this.#api.name, refreshing).catch(() => {})
    this.#isFirstListPublished = true
    this.#publish()
  }

  /** Lists the devices that the page may use; undefined if the browser does not list them. Never rejects. */
  async #listDevices(): Promise<readonly D[] | undefined> {
    if (this.#support !== 'available') return undefined
    this.#listProblems = []
    try {
      return await withTimeout(this.#clock, DEVICE_MS, 'the list of devices', this.#api.list())
    } catch (error) {
      // The browser rejects here if the page's permissions policy forbids the API.
      if ((error as Error).name === 'SecurityError') this.#support = 'policy'
      else this.#listProblems = [{ name: this.#api.name, error: toWebtokiError(error) }]
      return undefined
    }
  }

  #attachAll(devices: readonly D[]): void {
    // Identical readers are numbered in this order, so that every tab gives them the same names.
    const serialOf = (device: D): string => this.#api.describe(device).serialNumber ?? ''
    const ordered = [...devices].sort((one, two) => serialOf(one).localeCompare(serialOf(two)))
    for (const device of ordered) this.#attach(device)
  }

  lookAgain(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    if (this.#closing !== undefined) return
    const known = [...this.#attached]
    const devices = await this.#listDevices()
    for (const [device] of known) if (devices?.includes(device) === false) this.#detach(device)
    this.#attachAll(devices ?? [])
    await Promise.all([
      ...known.map(([device, attached]) => this.#retry(device, attached, ({ isInUse }) => !isInUse)),
      ...[...this.#attached.values()].map(({ inspected }) => inspected),
    ])
    this.#publish()
  }

  /** Inspects a device again if it had problems, and reads the presence of the selected slots. Never rejects. */
  async #retry(
    device: D,
    attached: AttachedDevice,
    includesSlot: (slot: DeviceSlot) => boolean,
  ): Promise<void> {
    await attached.inspected
    if (this.#isDetached(attached)) return
    if (attached.problems.length > 0 && !attached.isInspecting) await this.#inspect(device, attached)
    await Promise.all(
      [...attached.readers.values()]
        .filter(({ slots }) => slots.every(includesSlot))
        .map(({ reader, slots }) =>
          resume(
            reader,
            slots.filter((slot) => !slot.isUsed),
          ),
        ),
    )
  }

  async requestReader({
    filters = this.#transport.filters,
  }: {
    readonly filters?: readonly Filter[]
  } = {}): Promise<readonly CardSlot[] | undefined> {
    if (this.#closing !== undefined) throw new SourceClosedError()
    this.#checkSupport()
    let device: D
    try {
      device = await this.#api.choose(filters)
    } catch (error) {
      const { name } = error as Error
      if (name === 'NotFoundError') return undefined
      if (name !== 'SecurityError') throw error
      // Either the call came without a user gesture, or the page may not use the API at all. Listing devices needs no
      // user gesture, so its outcome distinguishes the two.
      await this.#listDevices()
      this.#checkSupport(error)
      throw new NotGrantedError(
        'The browser shows its chooser only after a click; call requestReader() in its handler.',
        { cause: error },
      )
    }
    const attached = this.#attach(device)
    // A device that is chosen again may have been released since, or another tab may hand it over.
    await this.#retry(device, attached, () => true)
    const slots = samsLast(slotsOf(attached))
    if (slots.length > 0) return slots
    throw (
      attached.problems[0]?.error ??
      new ReaderNotSupportedError(
        `${nameOf(this.#api.describe(device))} is not a smartcard reader that Webtoki supports. Choose another device.`,
      )
    )
  }

  #checkSupport(cause?: unknown): void {
    if (this.#support !== 'available') throw new ReadersUnreachableError(this.#support, { cause })
  }

  #attach(device: D): AttachedDevice {
    const known = this.#attached.get(device)
    if (known !== undefined) return known
    const description = this.#api.describe(device)
    const { vendorId, productId } = description
    const identity = this.#identities.assign(description)
    const attached: AttachedDevice = {
      identity,
      problemOf: (error) => ({ name: identity.name, vendorId, productId, error: toWebtokiError(error) }),
      readers: new Map(),
      problems: [],
      inspected: Promise.resolve(),
      isInspecting: false,
      isPlugged: true,
    }
    this.#attached.set(device, attached)
    void this.#inspect(device, attached)
    return attached
  }

  /** Opens the readers of a device. Never rejects: a failure becomes a problem, and the other readers are opened. */
  #inspect(device: D, attached: AttachedDevice): Promise<void> {
    const { problemOf } = attached
    const setProblems = (problems: ReaderProblem[]): void => {
      attached.problems = problems
      this.#publish()
    }
    const inspect = async (): Promise<void> => {
      const problems: ReaderProblem[] = []
      const addProblem = (error: unknown): void => void problems.push(problemOf(error))
      try {
        const interfaces = await this.#transport.interfacesOf(device)
        for (const deviceInterface of interfaces)
          if (!attached.readers.has(deviceInterface.interfaceNumber))
            await this.#open(device, deviceInterface, attached, interfaces.length > 1).catch(addProblem)
      } catch (error) {
        addProblem(error)
      }
      attached.isInspecting = false
      setProblems(problems)
    }
    attached.isInspecting = true
    attached.inspected = withTimeout(this.#clock, DEVICE_MS, 'opening the device', inspect()).catch(
      (error: unknown) => setProblems([problemOf(error)]),
    )
    return attached.inspected
  }

  async #open(
    device: D,
    deviceInterface: Interface,
    attached: AttachedDevice,
    isOneOfSeveral: boolean,
  ): Promise<void> {
    if (this.#isDetached(attached)) return
    const made = this.#transport.readerAt({
      device,
      deviceInterface,
      identity: attached.identity,
      isOneOfSeveral,
      inTurn: async (open) => {
        await turn?.take()
        try {
          return await open()
        } catch (error) {
          turn?.release()
          throw error
        }
      },
      isAvailable: async () => {
        const isAvailable = (await this.#listDevices())?.includes(device) !== false
        if (!isAvailable) this.#detach(device)
        return isAvailable
      },
    })
    const turn = await this.#createTurn(device, deviceInterface, attached, made)
    const opened: OpenReader = { ...made, turn }
    let inUse: ReaderInUseError | undefined
    try {
      await made.reader.ready()
    } catch (error) {
      if (!(error instanceof ReaderInUseError)) {
        void closeReader(opened, toWebtokiError(error))
        throw error
      }
      inUse = error
    }
    if (this.#isDetached(attached)) {
      void closeReader(opened, new ReaderGoneError())
      return
    }
    attached.readers.set(deviceInterface.interfaceNumber, opened)
    for (const slot of made.slots) {
      if (inUse !== undefined) slot.markInUse(inUse.by)
      void slot.watch(this.#pollMs)
    }
  }

  #isDetached(attached: AttachedDevice): boolean {
    return !attached.isPlugged || this.#closing !== undefined
  }

  /** Only one tab of a site uses a reader at a time. Undefined if the reader has no name that other tabs share. */
  async #createTurn(
    device: D,
    { interfaceNumber }: Interface,
    attached: AttachedDevice,
    made: DeviceReader,
  ): Promise<ReaderTurn | undefined> {
    if (this.#tabs === undefined) return undefined
    const { ReaderTurns } = await import('./turns.ts')
    this.#turns ??= new ReaderTurns(this.#tabs, this.#clock)
    const { reader, slots } = made
    const resumeHere = (): void => void attached.inspected.then(() => resume(reader, slots))
    return this.#turns.create(this.#api.describe(device), attached.identity, interfaceNumber, {
      device,
      ...made,
      resume: resumeHere,
    })
  }

  #detach(device: D): void {
    const attached = this.#attached.get(device)
    if (attached === undefined) return
    this.#attached.delete(device)
    this.#identities.release(attached.identity)
    attached.isPlugged = false
    for (const each of attached.readers.values()) void closeReader(each, new ReaderGoneError())
    this.#publish()
  }

  #publish(): void {
    if (this.#closing !== undefined || !this.#isFirstListPublished) return
    const attached = [...this.#attached.values()]
    this.#problems.next([...this.#listProblems, ...attached.flatMap(problemsOf)])
    this.#slots.next(samsLast(attached.flatMap(slotsOf)))
  }

  /** Powers the cards off and releases every claim. Idempotent. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unwatch()
    // From the next microtask on `#closing` is set, and pending inspections stop.
    await Promise.resolve()
    await Promise.all(
      [...this.#attached.values()].map(async (attached) => {
        await attached.inspected
        await Promise.all([...attached.readers.values()].map((each) => this.#closeReader(each)))
      }),
    )
    this.#attached.clear()
    this.#turns?.close()
    this.#slots.complete()
    this.#problems.complete()
  }

  /**
   * Closes the slots, then the reader. A card that does not respond does not prevent its reader from being released.
   */
  async #closeReader(each: OpenReader): Promise<void> {
    const bounded = (work: Promise<unknown>): Promise<unknown> =>
      withTimeout(this.#clock, DEVICE_MS, this.#api.name, work).catch(() => {})
    await bounded(Promise.all(each.slots.map((slot) => slot.close())))
    await bounded(closeReader(each, new SourceClosedError()))
  }
}

/** Detaches the slots first, so that their presence completes instead of becoming 'unreadable'. */
async function closeReader({ reader, slots, turn }: OpenReader, error: WebtokiError): Promise<void> {
  for (const slot of slots) slot.detach()
  await reader.close(error)
  turn?.close()
}

/** Opens a reader that may be available again, and reads the presence of its slots. Never rejects. */
async function resume(reader: DeviceReader['reader'], slots: readonly DeviceSlot[]): Promise<void> {
  try {
    await reader.ready()
    for (const slot of slots) await slot.check()
  } catch {
    // The device is gone, or another program has the reader. The next connect() reports it.
  }
}

function slotsOf({ readers }: AttachedDevice): DeviceSlot[] {
  return [...readers.values()].flatMap(({ slots }) => slots)
}

function toWebtokiError(error: unknown): WebtokiError {
  return isWebtokiError(error) ? error : new TransferError(String(error), { cause: error })
}

function problemsOf({ problems, readers, problemOf }: AttachedDevice): readonly ReaderProblem[] {
  const warnings = [...readers.values()].flatMap(({ warning }) => warning ?? [])
  return [...problems, ...warnings.map(problemOf)]
}

function haveSameItems(before: readonly unknown[], now: readonly unknown[]): boolean {
  return before.length === now.length && before.every((each, at) => each === now[at])
}

/** Compares problems by text, because each inspection creates new error objects. */
function problemKey({ name, error }: ReaderProblem): string {
  return `${name}: ${error.message}`
}
