/** The readers among the devices of one browser API: listing, plugging, permission, the chooser. What is on a device, its transport knows. */
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
import { within } from './deadline.ts'
import type { DeviceApi, DeviceInterface, DeviceReader, DeviceSlot, DeviceTransport } from './device-ports.ts'
import { Identities, nameOf, type ReaderIdentity, samsLast } from './identity.ts'
import type { Tabs } from './tabs.ts'
import type { ReaderTurn, ReaderTurns } from './turns.ts'

/** How often readers that do not tell are asked for their card, while idle. */
const POLL_MS = 500
/** How long the browser may take to list its devices, and a device to be opened or let go. */
const DEVICE_MS = 10_000
/** The first list waits no longer than this for a device that does not answer. */
const FIRST_LIST_MS = 2_000

/** How a source is made. */
export interface DeviceSourceOptions {
  readonly clock: Clock
  /** Undefined: no other tab can have a device of this API. */
  readonly tabs: Tabs | undefined
  /** Interval between two looks at readers that do not tell by themselves, in milliseconds. Default 500. */
  readonly pollMs?: number | undefined
}

interface OpenReader extends DeviceReader {
  readonly turn: ReaderTurn | undefined
}

/** One plugged device. */
interface Attached {
  readonly identity: ReaderIdentity
  readonly problemOf: (error: unknown) => ReaderProblem
  /** By interface. */
  readonly readers: Map<number, OpenReader>
  problems: ReaderProblem[]
  /** Done when the device has been looked at, or its time is up. Never rejects. */
  looked: Promise<void>
  /** It is looked at, perhaps longer than its time: what comes late counts all the same. */
  isLookedAt: boolean
  isPlugged: boolean
}

/** Listens until it is closed. Each device has its own time limit and its own failure, and holds up no other. */
export class DeviceSource<D extends object, Face extends DeviceInterface, Filter> implements ReaderSource {
  readonly slots$: Observable<readonly CardSlot[]>
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #api: DeviceApi<D, Filter>
  readonly #transport: DeviceTransport<D, Face, Filter>
  readonly #clock: Clock
  readonly #tabs: Tabs | undefined
  readonly #pollMs: number
  readonly #slots = new ReplaySubject<readonly CardSlot[]>(1)
  readonly #problems = new BehaviorSubject<readonly ReaderProblem[]>([])
  readonly #attached = new Map<D, Attached>()
  readonly #identities = new Identities()
  readonly #unwatch: () => void
  #turns: ReaderTurns | undefined
  #support: ReaderSupport
  /** Why the devices could not be listed. */
  #unlisted: ReaderProblem[] = []
  #isFirstListTold = false
  #looking: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(
    api: DeviceApi<D, Filter>,
    transport: DeviceTransport<D, Face, Filter>,
    { clock, tabs, pollMs = POLL_MS }: DeviceSourceOptions,
  ) {
    this.#api = api
    this.#transport = transport
    this.#clock = clock
    this.#tabs = tabs
    this.#pollMs = pollMs
    this.#support = api.support
    // Whoever looks again on each list would never end if a look that finds nothing new told one.
    this.slots$ = this.#slots.pipe(distinctUntilChanged<readonly CardSlot[]>(areSame))
    this.problems$ = this.#problems.pipe(
      distinctUntilChanged((before, now) => areSame(before.map(asText), now.map(asText))),
    )
    // Listening first: a reader plugged while the list is read must not be missed.
    this.#unwatch = api.watch(
      (device) => void this.#attach(device),
      (device) => this.#detach(device),
    )
    void this.#tellFirst()
  }

  get support(): ReaderSupport {
    return this.#support
  }

  async #tellFirst(): Promise<void> {
    const looking = this.lookAgain()
    await within(this.#clock, FIRST_LIST_MS, this.#api.name, looking).catch(() => {})
    this.#isFirstListTold = true
    this.#tell()
  }

  /** The devices that the page may use; undefined: the browser does not tell. Never rejects. */
  async #listed(): Promise<readonly D[] | undefined> {
    if (this.#support !== 'available') return undefined
    this.#unlisted = []
    try {
      return await within(this.#clock, DEVICE_MS, 'the list of devices', this.#api.list())
    } catch (error) {
      // A page whose permissions policy forbids the API is refused here.
      if ((error as Error).name === 'SecurityError') this.#support = 'policy'
      else this.#unlisted = [{ name: this.#api.name, error: typed(error) }]
      return undefined
    }
  }

  #attachAll(devices: readonly D[]): void {
    // Equal readers are numbered in this order, so that every tab gives them the same names.
    const serialOf = (device: D): string => this.#api.describe(device).serialNumber ?? ''
    const ordered = [...devices].sort((one, two) => serialOf(one).localeCompare(serialOf(two)))
    for (const device of ordered) this.#attach(device)
  }

  lookAgain(): Promise<void> {
    this.#looking ??= this.#lookAgain().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #lookAgain(): Promise<void> {
    if (this.#closing !== undefined) return
    const known = [...this.#attached]
    const devices = await this.#listed()
    for (const [device] of known) if (devices?.includes(device) === false) this.#detach(device)
    this.#attachAll(devices ?? [])
    await Promise.all([
      ...known.map(([device, attached]) => this.#again(device, attached, ({ isInUse }) => !isInUse)),
      ...[...this.#attached.values()].map(({ looked }) => looked),
    ])
    this.#tell()
  }

  /** What failed is tried once more, and every reader that is wanted is asked for its cards. Never rejects. */
  async #again(device: D, attached: Attached, wants: (slot: DeviceSlot) => boolean): Promise<void> {
    await attached.looked
    if (this.#hasLeft(attached)) return
    if (attached.problems.length > 0 && !attached.isLookedAt) await this.#look(device, attached)
    await Promise.all(
      [...attached.readers.values()]
        .filter(({ slots }) => slots.every(wants))
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
      // Either there was no click, or the page may not use the API at all; to list devices needs no click.
      await this.#listed()
      this.#checkSupport(error)
      throw new NotGrantedError('The browser shows its chooser only after a click.', { cause: error })
    }
    const attached = this.#attach(device)
    // Chosen again, it may be free by now, and a tab that does not need it gives it.
    await this.#again(device, attached, () => true)
    const slots = samsLast(slotsOf(attached))
    if (slots.length > 0) return slots
    throw (
      attached.problems[0]?.error ??
      new ReaderNotSupportedError(
        `${nameOf(this.#api.describe(device))} is not a smartcard reader that can be used; choose another device.`,
      )
    )
  }

  #checkSupport(cause?: unknown): void {
    if (this.#support !== 'available') throw new ReadersUnreachableError(this.#support, { cause })
  }

  #attach(device: D): Attached {
    const known = this.#attached.get(device)
    if (known !== undefined) return known
    const description = this.#api.describe(device)
    const { vendorId, productId } = description
    const identity = this.#identities.take(description)
    const attached: Attached = {
      identity,
      problemOf: (error) => ({ name: identity.name, vendorId, productId, error: typed(error) }),
      readers: new Map(),
      problems: [],
      looked: Promise.resolve(),
      isLookedAt: false,
      isPlugged: true,
    }
    this.#attached.set(device, attached)
    void this.#look(device, attached)
    return attached
  }

  /** Never rejects: what fails becomes a problem, and the other readers go on. */
  #look(device: D, attached: Attached): Promise<void> {
    const { problemOf } = attached
    const tell = (problems: ReaderProblem[]): void => {
      attached.problems = problems
      this.#tell()
    }
    const look = async (): Promise<void> => {
      const problems: ReaderProblem[] = []
      const trouble = (error: unknown): void => void problems.push(problemOf(error))
      try {
        const faces = await this.#transport.interfacesOf(device)
        for (const face of faces)
          if (!attached.readers.has(face.interfaceNumber))
            await this.#open(device, face, attached, faces.length > 1).catch(trouble)
      } catch (error) {
        trouble(error)
      }
      attached.isLookedAt = false
      tell(problems)
    }
    attached.isLookedAt = true
    attached.looked = within(this.#clock, DEVICE_MS, 'opening the device', look()).catch((error: unknown) =>
      tell([problemOf(error)]),
    )
    return attached.looked
  }

  async #open(device: D, face: Face, attached: Attached, isOneOfSeveral: boolean): Promise<void> {
    if (this.#hasLeft(attached)) return
    const made = this.#transport.readerAt({
      device,
      deviceInterface: face,
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
      isThere: async () => {
        const isThere = (await this.#listed())?.includes(device) !== false
        if (!isThere) this.#detach(device)
        return isThere
      },
    })
    const turn = await this.#turnAt(device, face, attached, made)
    const opened: OpenReader = { ...made, turn }
    let inUse: ReaderInUseError | undefined
    try {
      await made.reader.ready()
    } catch (error) {
      if (!(error instanceof ReaderInUseError)) {
        void leave(opened, typed(error))
        throw error
      }
      inUse = error
    }
    if (this.#hasLeft(attached)) {
      void leave(opened, new ReaderGoneError())
      return
    }
    attached.readers.set(face.interfaceNumber, opened)
    for (const slot of made.slots) {
      if (inUse !== undefined) slot.markInUse(inUse.by)
      void slot.watch(this.#pollMs)
    }
  }

  #hasLeft(attached: Attached): boolean {
    return !attached.isPlugged || this.#closing !== undefined
  }

  /** One tab of the site has a reader at a time; undefined: nobody else can name it. */
  async #turnAt(
    device: D,
    { interfaceNumber }: Face,
    attached: Attached,
    made: DeviceReader,
  ): Promise<ReaderTurn | undefined> {
    if (this.#tabs === undefined) return undefined
    const { ReaderTurns } = await import('./turns.ts')
    this.#turns ??= new ReaderTurns(this.#tabs, this.#clock)
    const { reader, slots } = made
    const resumeHere = (): void => void attached.looked.then(() => resume(reader, slots))
    return this.#turns.at(this.#api.describe(device), attached.identity, interfaceNumber, {
      device,
      ...made,
      resume: resumeHere,
    })
  }

  #detach(device: D): void {
    const attached = this.#attached.get(device)
    if (attached === undefined) return
    this.#attached.delete(device)
    this.#identities.give(attached.identity)
    attached.isPlugged = false
    for (const each of attached.readers.values()) void leave(each, new ReaderGoneError())
    this.#tell()
  }

  #tell(): void {
    if (this.#closing !== undefined || !this.#isFirstListTold) return
    const attached = [...this.#attached.values()]
    this.#problems.next([...this.#unlisted, ...attached.flatMap(problemsOf)])
    this.#slots.next(samsLast(attached.flatMap(slotsOf)))
  }

  /** Powers the cards off and releases every claim. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unwatch()
    // After this turn `#closing` is set, and whoever is still looking at a device gives up.
    await Promise.resolve()
    await Promise.all(
      [...this.#attached.values()].map(async (attached) => {
        await attached.looked
        await Promise.all([...attached.readers.values()].map((each) => this.#shut(each)))
      }),
    )
    this.#attached.clear()
    this.#turns?.close()
    this.#slots.complete()
    this.#problems.complete()
  }

  /** A card that does not end is left as it is: its reader is let go all the same. */
  async #shut(each: OpenReader): Promise<void> {
    const inTime = (work: Promise<unknown>): Promise<unknown> =>
      within(this.#clock, DEVICE_MS, this.#api.name, work).catch(() => {})
    await inTime(Promise.all(each.slots.map((slot) => slot.shut())))
    await inTime(leave(each, new SourceClosedError()))
  }
}

/** Presence completes first: a reader that leaves is gone, and not unreadable. */
async function leave({ reader, slots, turn }: OpenReader, why: WebtokiError): Promise<void> {
  for (const slot of slots) slot.leave()
  await reader.end(why)
  turn?.end()
}

/** The reader may be free by now, or this tab's, or awake. Never rejects. */
async function resume(reader: DeviceReader['reader'], slots: readonly DeviceSlot[]): Promise<void> {
  try {
    await reader.ready()
    for (const slot of slots) await slot.check()
  } catch {
    // Gone, or another program was quicker; who connects is told.
  }
}

function slotsOf({ readers }: Attached): DeviceSlot[] {
  return [...readers.values()].flatMap(({ slots }) => slots)
}

function typed(error: unknown): WebtokiError {
  return isWebtokiError(error) ? error : new TransferError(String(error), { cause: error })
}

function problemsOf({ problems, readers, problemOf }: Attached): readonly ReaderProblem[] {
  const warnings = [...readers.values()].flatMap(({ warning }) => warning ?? [])
  return [...problems, ...warnings.map(problemOf)]
}

function areSame(before: readonly unknown[], now: readonly unknown[]): boolean {
  return before.length === now.length && before.every((each, at) => each === now[at])
}

/** Each look has errors of its own. */
function asText({ name, error }: ReaderProblem): string {
  return `${name}: ${error.message}`
}
