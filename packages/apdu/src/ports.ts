/** The ports: what a layer above may ask of a reader and a card, and nothing of how it is done. */
import type { Observable } from 'rxjs'
import type { AbortSignalLike } from './abort.ts'
import type { CardGoneError, WebtokiError } from './errors.ts'

/** What every call that reaches a card takes. */
export interface TransmitOptions {
  /** Honoured between APDUs: a sent one cannot be unsent. */
  readonly signal?: AbortSignalLike | undefined
  /** How long one exchange may stay without any sign of life, in milliseconds. */
  readonly timeoutMs?: number | undefined
  /** Cap on what time extensions may add to one exchange, in milliseconds. It runs from the first one. */
  readonly maxWaitMs?: number | undefined
  /** APDUs with the same object are one exchange and share its `maxWaitMs`. Default: each is one of its own. */
  readonly exchange?: object | undefined
  /** The command carries a secret: it is never traced, and its bytes are overwritten after use. */
  readonly sensitive?: true | undefined
  /** Told each time something else is waited for than the card's plain answer. */
  readonly onWait?: ((why: WaitReason) => void) | undefined
}

/** Why a call takes longer: somebody else at the card, the card itself, or a person. */
export type WaitReason = 'queue' | 'time-extension' | 'touch' | 'pin-pad'

/** The way to one card. Valid only inside the transaction that handed it out. */
export interface CardChannel {
  /** The answer to the latest reset, as it came. */
  readonly atr: Uint8Array
  readonly limits: ChannelLimits
  /** What the connection remembers of these limits. Absent: nothing is remembered, and nothing tried. */
  readonly lengths?: ApduLengths
  /** False: another owner, program or reset came between; select and verify again. */
  readonly undisturbed: boolean
  /**
   * Whether a card put in the place of this one would have been noticed. False: another one may answer by now; make sure
   * which it is before you send a PIN.
   */
  readonly vouchesForCard: boolean
  /** Sends one command APDU; resolves to the response APDU with its status word. */
  transmit(command: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  /** Resets the card and resolves to its ATR. Everything selected and verified is lost. */
  reset(kind: 'warm' | 'cold'): Promise<Uint8Array>
  /** Absent: the reader has none. */
  readonly pinPad?: PinPad | undefined
}

/** What one APDU may be, given the reader and the card. */
export interface ChannelLimits {
  /** Whether extended-length APDUs may be sent: the reader and the card's ATR say so, or the card took one. */
  readonly extended: boolean
  /** What could be sent if the card takes extended lengths. Absent: the reader does not, or the ATR says whether the card does. */
  readonly untried?: { readonly commandBytes: number; readonly responseBytes: number }
  /** Largest whole command APDU, in bytes. */
  readonly commandBytes: number
  /** Largest response data field, in bytes, without the status word. */
  readonly responseBytes: number
}

/** What one connection has learned of the lengths that its card takes: all applications on the card share it. */
export interface ApduLengths {
  /** As the card showed it; undefined: what its ATR says stands. */
  takesExtended: boolean | undefined
  /** The latest SELECT by name, as it was sent, if nothing but reading came after it; else undefined. */
  readonly selection: Uint8Array | undefined
}

/**
 * PIN entry on the reader itself: the PIN never reaches the host. PinPadCancelledError, PinPadTimeoutError and
 * PinPadRefusedError are not "wrong PIN": the card was sent nothing.
 */
export interface PinPad {
  /** Sends the template with the typed PIN; resolves to the card's answer, status word included. */
  verify(template: PinTemplate, options?: TransmitOptions): Promise<Uint8Array>
  /** The same for a command that changes the PIN. */
  modify(template: PinTemplate, options?: TransmitOptions): Promise<Uint8Array>
}

/** A command with the place where the reader puts the PIN that the person typed on it. */
export interface PinTemplate {
  /** The whole command APDU, the PIN block filled with its padding. */
  readonly command: Uint8Array
  /** Offset of the PIN block in the command's data field, in bytes. */
  readonly pinOffset: number
  /** Length of the PIN block, in bytes; 0 where the block is as long as the PIN. */
  readonly blockBytes: number
  readonly format: 'ascii' | 'bcd' | 'binary'
  readonly minDigits: number
  readonly maxDigits: number
  /** modify: offset of the new PIN's block in the data field. */
  readonly newPinOffset?: number
  /** modify: whether the person types the old PIN too. */
  readonly requiresOldPin?: boolean
  /** modify: whether the new PIN is typed twice. */
  readonly confirms?: boolean
}

/** A powered card that is held. */
export interface CardConnection {
  /** Fulfils once, with the reason; never rejects. */
  readonly gone: Promise<CardGoneError>
  /** Whether PINs can be typed on the reader. */
  readonly hasPinPad: boolean
  /** The only lock of a card. Nested calls reject. */
  transaction<T>(
    owner: object,
    work: (channel: CardChannel) => Promise<T>,
    options?: TransmitOptions,
  ): Promise<T>
  /** Ends the connection and takes the card's power, and with it what the card was told. Idempotent; never rejects. */
  close(): Promise<void>
}

/** What lies in a slot. */
export type Presence = 'empty' | 'present' | 'unreadable' | { readonly inUse: 'page' | 'tab' | 'unknown' }

/** How a card is to be held. */
export interface ConnectOptions {
  readonly protocol?: 'T=0' | 'T=1' | undefined
  readonly signal?: AbortSignalLike | undefined
  /**
   * Called when somebody else, such as another tab of the site, asks for the reader. Who does not need the card, and
   * has told it nothing that would be lost, closes the connection in this call; else it is kept.
   */
  readonly onReleaseRequested?: (() => void) | undefined
}

/** A place for a card. */
export interface CardSlot {
  /** Stable: serial number, else port order. */
  readonly id: string
  /** Friendly; equal readers are numbered. */
  readonly name: string
  readonly kind: 'contact' | 'contactless' | 'token' | 'sam'
  /** Hot; replays the latest; completes when the reader leaves. */
  readonly presence$: Observable<Presence>
  /** Powers the card. Rejects with a typed error where there is none, it is mute or somebody else has it. */
  connect(options?: ConnectOptions): Promise<CardConnection>
  /** A command for the reader itself, in its maker's own language. */
  escape?(data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
}

/** Where slots come from: a driver, a bridge, an API of the platform. */
export interface SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly slots$: Observable<readonly CardSlot[]>
  /**
   * Called when somebody asks for a card and no slot has one: what failed before is tried once more, and the list is read
   * again. A reader that somebody else holds is left alone: who connects asks for it. Resolves when that is done, within the source's own time limits; never rejects. Absent: there is nothing to try.
   */
  lookAgain?(): Promise<void>
  /** Lets all readers go. */
  close(): Promise<void>
}

/**
 * Whether readers can be reached here. `no-api`: this browser lacks the API. `insecure-context`: the page is not served over
 * https or from localhost. `policy`: the page's Permissions-Policy, or that of the page around it, forbids it.
 */
export type ReaderSupport = 'available' | 'no-api' | 'insecure-context' | 'policy'

/** A reader that was found and cannot be used, or a source that fails, with the reason. */
export interface ReaderProblem {
  readonly name: string
  readonly vendorId?: number | undefined
  readonly productId?: number | undefined
  readonly error: WebtokiError
}

/** A source of readers that a person may have to choose, and that says what is wrong with those that cannot be used. */
export interface ReaderSource extends SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /** Known at once, but for `policy` in a browser that tells it only when devices are listed. */
  readonly support: ReaderSupport
  /**
   * Shows the chooser of the browser and resolves to the slots of the chosen reader; undefined: the person chose none.
   * Needs a click. Rejects with the reason why the reader cannot be used. Absent: readers need no permission.
   */
  requestReader?(): Promise<readonly CardSlot[] | undefined>
  lookAgain(): Promise<void>
}
