/** A virtual reader with a PIV card, our whole stack above it, and what tests ask of both. */
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

/** What stands between the reader and the card: sees each command, and answers in the card's place where it wants to. */
export type Between = (command: Uint8Array, card: PivCard) => Promise<Uint8Array>

export interface SetupOptions {
  readonly card?: PivCardOptions
  /** In place of a new one. */
  readonly virtual?: PivCard
  /** null: the session has none. */
  readonly pin?: PinSource | null
  readonly cryptoki?: Partial<CryptokiOptions>
  readonly cache?: MemoryObjectCache
  readonly level?: 'short' | 'extended'
  /** In place of the one of that level. */
  readonly profile?: ReaderProfile
  readonly contact?: ContactOptions
  readonly between?: Between
}

export async function open(options: SetupOptions = {}): Promise<Setup> {
  const card = options.virtual ?? createPivCard(options.card)
  const reader = new VirtualCcidReader(
    options.profile ?? (options.level === 'short' ? readerProfiles.omnikey3021 : readerProfiles.dualiAbcm6),
  )
  const { between } = options
  const seen: VirtualCard =
    between === undefined
      ? card
      : {
          atr: card.atr,
          reset: (kind) => card.reset(kind),
          powerOff: () => card.powerOff(),
          process: (command) => between(command, card),
        }
  reader.insert(seen, 0, options.contact)
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const driver = options.cache === undefined ? pivDriver() : pivDriver({ cache: options.cache })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [driver], ...options.cryptoki })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  const session = await slot.openSession(options.pin === null ? {} : { pin: options.pin ?? rightPin })
  return { card, reader, bus, cryptoki, slot, session }
}

export async function object(session: Session, objectClass: CKO, id: number): Promise<CkObject> {
  const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(id) }
  const [found] = await session.findObjects(template)
  if (found === undefined) throw new Error(`There is no object ${objectClass} ${id}.`)
  return found
}

export const commands = (card: PivCard): string[] =>
  card.log.map(({ ins, p1, p2 }) => [ins, p1, p2].map((byte) => byte.toString(16).padStart(2, '0')).join(' '))
export const verifies = (card: PivCard): number =>
  card.log.filter(({ ins, p1, dataBytes }) => ins === 0x20 && p1 === 0 && dataBytes > 0).length

/** A dialog that a test answers when it likes. */
export class HeldDialog {
  readonly requests: Parameters<PinSource>[0][] = []
  #answer: ((answer: { pin: Uint8Array } | undefined) => void) | undefined
  #shown: (() => void) | undefined

  readonly source: PinSource = (request) => {
    this.requests.push(request)
    this.#shown?.()
    return new Promise((resolve) => {
      this.#answer = resolve
    })
  }

  /** Resolves when the dialog is on the screen. */
  shown(): Promise<void> {
    if (this.requests.length > 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#shown = resolve
    })
  }

  async type(pin: string): Promise<void> {
    this.#answer?.({ pin: bytesOf(pin) })
    // What follows an answer goes by promises and the virtual bus alone.
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Holds the card's answer to commands with that instruction until it is let go, once. */
export class HeldAnswer {
  readonly #ins: number
  #reached!: () => void
  #release!: () => void
  #isUsed = false
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

  readonly between: Between = async (command, card) => {
    const answer = await card.process(command)
    if (command[1] === this.#ins && command.length > 5 && !this.#isUsed) {
      this.#isUsed = true
      this.#reached()
      await this.#free
    }
    return answer
  }

  release(): void {
    this.#release()
  }
}
