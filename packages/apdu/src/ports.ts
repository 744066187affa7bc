/** The ports of readers and cards: the interfaces that drivers implement and that the layers above use. */
import type { Observable } from 'rxjs'
import type { AbortSignalLike } from './abort.ts'
import type { CardGoneError, WebtokiError } from './errors.ts'

/** Options of every call that reaches a card. */
export interface TransmitOptions {
  /** Aborts the call at once. An APDU that was sent cannot be recalled: its response is awaited and discarded. */
  readonly signal?: AbortSignalLike | undefined
  /**
   * Maximum time in milliseconds that one exchange may take without a response or time extension, and that a transaction
   * waits for the lock.
   */
  readonly timeoutMs?: number | undefined
  /** Maximum time that time extensions may add to one exchange, in milliseconds from the first extension. */
  readonly maxWaitMs?: number | undefined
  /** APDUs with the same object belong to one exchange and share `maxWaitMs`. Default: each APDU is a separate exchange. */
  readonly exchange?: object | undefined
  /** The command contains a secret: it is never traced, and its bytes are overwritten after use. */
  readonly sensitive?: true | undefined
  /** Called each time the call waits for something other than the card's immediate response. */
  readonly onWait?: ((why: WaitReason) => void) | undefined
}

/** Why a call waits: for another transaction, for the card, for a touch, or for PIN entry on the reader. */
export type WaitReason = 'queue' | 'time-extension' | 'touch' | 'pin-pad'

/** Sends commands to one card. Valid only inside the transaction that received it. */
export interface CardChannel {
  /** The answer to the latest reset, as received. */
  readonly atr: Uint8Array
  readonly limits: ChannelLimits
  /**
   * What the connection has learned about APDU lengths. Absent: extended lengths that the ATR does not state are never
   * tried.
   */
  readonly lengths?: ApduLengths
  /** False if another owner, another program or a reset intervened: select and verify again. */
  readonly undisturbed: boolean
  /**
   * True if the reader would have noticed a replacement of the card. If false, another card may be present by now: identify
   * it before you send a PIN.
   */
  readonly vouchesForCard: boolean
  /** Sends one command APDU and resolves to the response APDU, including its status word. */
  transmit(command: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  /** Resets the card and resolves to its ATR. The selection and all verified PINs are lost. */
  reset(kind: 'warm' | 'cold'): Promise<Uint8Array>
  /** Absent if the reader has no PIN pad. */
  readonly pinPad?: PinPad | undefined
}

/** Maximum APDU lengths of the reader and the card together. */
export interface ChannelLimits {
  /** True if extended-length APDUs may be sent: the reader and the card's ATR state it, or the card has accepted one. */
  readonly extended: boolean
  /**
   * The limits if the card accepts extended lengths. Absent if the reader does not, or if the ATR states whether the card
   * does.
   */
  readonly untried?: { readonly commandBytes: number; readonly responseBytes: number }
  /** Largest whole command APDU, in bytes. */
  readonly commandBytes: number
  /** Largest response data field, in bytes, without the status word. */
  readonly responseBytes: number
}

/** What a connection has learned about APDU lengths. All applications on the card share it. */
export interface ApduLengths {
  /** Whether the card has accepted or refused extended lengths. Undefined: not known yet, so the ATR decides. */
  takesExtended: boolean | undefined
  /** The encoded command of the latest SELECT by name, if only reading commands followed it; otherwise undefined. */
  readonly selection: Uint8Array | undefined
}

/**
 * PIN entry on the reader: the PIN never reaches the host. After PinPadCancelledError, PinPadTimeoutError and
 * PinPadRefusedError nothing was sent to the card, so no attempt was used.
 */
export interface PinPad {
  /** Lets the person type a PIN and sends the template with it. Resolves to the response APDU. */
  verify(template: PinTemplate, options?: TransmitOptions): Promise<Uint8Array>
  /** Does the same for a command that changes the PIN. */
  modify(template: PinTemplate, options?: TransmitOptions): Promise<Uint8Array>
}

/** A command and the position at which the reader inserts the typed PIN. */
export interface PinTemplate {
  /** The whole command APDU, with padding in the PIN block. */
  readonly command: Uint8Array
  /** Offset of the PIN block in the command's data field, in bytes. */
  readonly pinOffset: number
  /** Length of the PIN block in bytes; 0 if the block is as long as the PIN. */
  readonly blockBytes: number
  readonly format: 'ascii' | 'bcd' | 'binary'
  readonly minDigits: number
  readonly maxDigits: number
  /** For `modify`: offset of the new PIN's block in the data field, in bytes. */
  readonly newPinOffset?: number
  /** For `modify`: true if the person types the old PIN too. */
  readonly requiresOldPin?: boolean
  /** For `modify`: true if the person types the new PIN twice. */
  readonly confirms?: boolean
}

/** An open connection to a powered card. */
export interface CardConnection {
  /** Fulfilled once with the reason when the connection ends. Never rejects. */
  readonly gone: Promise<CardGoneError>
  /** True if PINs can be typed on the reader. */
  readonly hasPinPad: boolean
  /**
   * Runs `work` under the card's only lock and resolves to its result. `owner` identifies the caller: `undisturbed` is true
   * if the last transaction was of the same owner. Nested calls reject with TransactionError.
   */
  transaction<T>(
    owner: object,
    work: (channel: CardChannel) => Promise<T>,
    options?: TransmitOptions,
  ): Promise<T>
  /** Ends the connection and powers the card off, so the card loses its state. Idempotent; never rejects. */
  close(): Promise<void>
}

/** The state of a slot. */
export type Presence = 'empty' | 'present' | 'unreadable' | { readonly inUse: 'page' | 'tab' | 'unknown' }

/** Options of `CardSlot.connect`. */
export interface ConnectOptions {
  readonly protocol?: 'T=0' | 'T=1' | undefined
  readonly signal?: AbortSignalLike | undefined
  /**
   * Called when another user of the reader, such as another tab of the site, requests it. Close the connection in this
   * call if you do not need the card and no state would be lost; otherwise you keep it.
   */
  readonly onReleaseRequested?: (() => void) | undefined
}

/** One slot of a reader, which holds at most one card. */
export interface CardSlot {
  /** Stable identifier, from the serial number or else the port order. */
  readonly id: string
  /** Name for people. Identical readers are numbered. */
  readonly name: string
  readonly kind: 'contact' | 'contactless' | 'token' | 'sam'
  /** Hot; replays the latest value; completes when the reader is removed. */
  readonly presence$: Observable<Presence>
  /** Powers the card. Rejects with a typed error if there is no card, it is mute, or the reader is in use elsewhere. */
  connect(options?: ConnectOptions): Promise<CardConnection>
  /** Sends a proprietary command to the reader and resolves to its response. */
  escape?(data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
}

/** A source of slots: a driver, a bridge or an API of the platform. */
export interface SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly slots$: Observable<readonly CardSlot[]>
  /**
   * Retries what failed and lists the readers again. Called when a card is needed and no slot has one. A reader that is in
   * use elsewhere is not requested here; `connect` does that. Resolves when done, within the source's own time limits.
   * Never rejects. Absent if there is nothing to retry.
   */
  lookAgain?(): Promise<void>
  /** Releases all readers. */
  close(): Promise<void>
}

/**
 * Whether readers can be used on this page. `no-api`: this browser lacks the API. `insecure-context`: the page is not served
 * over https or from localhost. `policy`: the Permissions-Policy of the page or of a page that embeds it forbids it.
 */
export type ReaderSupport = 'available' | 'no-api' | 'insecure-context' | 'policy'

/** A reader that was found but cannot be used, or a source that fails, with the reason. */
export interface ReaderProblem {
  readonly name: string
  readonly vendorId?: number | undefined
  readonly productId?: number | undefined
  readonly error: WebtokiError
}

/** A source of readers for which a person may have to grant permission, and which reports readers that cannot be used. */
export interface ReaderSource extends SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /** Known immediately, except `policy` in browsers that report it only when devices are listed. */
  readonly support: ReaderSupport
  /**
   * Shows the browser's device chooser and resolves to the slots of the chosen reader, or to undefined if the person chose
   * none. Requires a user gesture. Rejects with the reason if the reader cannot be used. Absent if readers need no
   * permission.
   */
  requestReader?(): Promise<readonly CardSlot[] | undefined>
  lookAgain(): Promise<void>
}
