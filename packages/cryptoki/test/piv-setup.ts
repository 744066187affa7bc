/** A virtual reader with a PIV card, the whole stack above it, and helpers for both. */
import { ccidSlots } from '@webtoki/ccid'
import {
  CKA,
  type CKO,
  type CkObject,
  Cryptoki,
  type CryptokiOptions,
  type MemoryObjectCache,
  type PinSource,
  type Session,
  type Slot,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  type ContactOptions,
  createPivCard,
  type PivCard,
  type PivCardOptions,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  type VirtualCard,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { expect } from 'vitest'

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
export const rightPin: PinSource = async () => ({ pin: bytesOf('123456') })
export const rv = (code: number): unknown => expect.objectContaining({ rv: code })

export interface Setup {
  readonly card: PivCard
  readonly reader: VirtualCcidReader
  readonly bus: VirtualBus
  readonly cryptoki: Cryptoki
  readonly slot: Slot
  readonly session: Session
}

/** Intercepts each command between the reader and the card; returns the card's response or one of its own. */
export type Intercept = (command: Uint8Array, card: PivCard) => Promise<Uint8Array>

export interface SetupOptions {
  readonly card?: PivCardOptions
  /** Used instead of a new card. */
  readonly virtual?: PivCard
  /** null: the session has no PIN source. */
  readonly pin?: PinSource | null
  readonly cryptoki?: Partial<CryptokiOptions>
  readonly cache?: MemoryObjectCache
  readonly level?: 'short' | 'extended'
  /** Used instead of the profile for `level`. */
  readonly profile?: ReaderProfile
  readonly contact?: ContactOptions
  readonly intercept?: Intercept
}

export async function open(options: SetupOptions = {}): Promise<Setup> {
  const card = options.virtual ?? createPivCard(options.card)
  const reader = new VirtualCcidReader(
    options.profile ?? (options.level === 'short' ? readerProfiles.omnikey3021 : readerProfiles.dualiAbcm6),
  )
  const { intercept } = options
  const intercepted: VirtualCard =
    intercept === undefined
      ? card
      : {
          atr: card.atr,
          reset: (kind) => card.reset(kind),
          powerOff: () => card.powerOff(),
          process: (command) => intercept(command, card),
        }
  reader.insert(intercepted, 0, options.contact)
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const driver = options.cache === undefined ? pivDriver() : pivDriver({ cache: options.cache })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [driver], ...options.cryptoki })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession(options.pin === null ? {} : { pin: options.pin ?? rightPin })
  return { card, reader, bus, cryptoki, slot, session }
}

export async function object(session: Session, objectClass: CKO, id: number): Promise<CkObject> {
  const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(id) }
  const [found] = await session.findObjects(template)
  if (found === undefined) throw new Error(`No object ${objectClass} ${id}.`)
  return found
}

/** INS, P1 and P2 of each command in hex. */
export const commands = (card: PivCard): string[] =>
  card.log.map(({ ins, p1, p2 }) => [ins, p1, p2].map((byte) => byte.toString(16).padStart(2, '0')).join(' '))
/** The number of VERIFY commands for the PIN that carried data. */
export const verifies = (card: PivCard): number =>
  card.log.filter(({ ins, p1, dataBytes }) => ins === 0x20 && p1 === 0 && dataBytes > 0).length

/** A PIN dialog that stays open until the test types a PIN. */
export class HeldDialog {
  readonly requests: Parameters<PinSource>[0][] = []
  #resolve: ((answer: { pin: Uint8Array } | undefined) => void) | undefined
  #shown: (() => void) | undefined

  readonly source: PinSource = (request) => {
    this.requests.push(request)
    this.#shown?.()
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** Resolves when the dialog is shown. */
  shown(): Promise<void> {
    if (this.requests.length > 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#shown = resolve
    })
  }

  async type(pin: string): Promise<void> {
    this.#resolve?.({ pin: bytesOf(pin) })
    // What follows needs promises and the virtual bus alone.
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Holds the card's response to the first command with that INS and data until `release`. */
export class HeldResponse {
  readonly #ins: number
  #reached!: () => void
  #release!: () => void
  #hasHeld = false
  /** Resolves when the card has executed the command. */
  readonly reached: Promise<void> = new Promise((resolve) => {
    this.#reached = resolve
  })
  readonly #free: Promise<void> = new Promise((resolve) => {
    this.#release = resolve
  })

  constructor(ins: number) {
    this.#ins = ins
  }

  readonly intercept: Intercept = async (command, card) => {
    const response = await card.process(command)
    if (command[1] === this.#ins && command.length > 5 && !this.#hasHeld) {
      this.#hasHeld = true
      this.#reached()
      await this.#free
    }
    return response
  }

  release(): void {
    this.#release()
  }
}
