/** The ports: what a layer above may ask of a reader and a card, and nothing of how it is done. */
import type { Observable } from 'rxjs'
import type { AbortSignalLike } from './abort.ts'
import type { CardGoneError } from './errors.ts'

export interface TransmitOptions {
  /** Honoured between APDUs: a sent one cannot be unsent. */
  readonly signal?: AbortSignalLike
  /** How long one exchange may stay without any sign of life, in milliseconds. */
  readonly timeoutMs?: number
  /** Cap on what time extensions may add to one exchange, in milliseconds. */
  readonly maxWaitMs?: number
  /** The command carries a secret: it is never traced, and its bytes are overwritten after use. */
  readonly sensitive?: true
  readonly onWait?: (why: WaitReason) => void
}

export type WaitReason = 'queue' | 'time-extension' | 'touch' | 'pin-pad'

/** Valid only inside the transaction that handed it out. */
export interface CardChannel {
  readonly atr: Uint8Array
  readonly limits: ChannelLimits
  /** False: another owner, program or reset came between; select and verify again. */
  readonly undisturbed: boolean
  /** Sends one command APDU; resolves to the response APDU with its status word. */
  transmit(command: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  reset(kind: 'warm' | 'cold'): Promise<Uint8Array>
  readonly pinPad?: PinPad
}

export interface ChannelLimits {
  /** Whether extended-length APDUs may be sent: both the reader and the card's ATR say so. */
  readonly extended: boolean
  /** Largest whole command APDU, in bytes. */
  readonly commandBytes: number
  /** Largest response data field, in bytes, without the status word. */
  readonly responseBytes: number
}

/** PinPadCancelledError and PinPadTimeoutError are not "wrong PIN". */
export interface PinPad {
  verify(template: PinTemplate, options?: TransmitOptions): Promise<Uint8Array>
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
  readonly asksOldPin?: boolean
  /** modify: whether the new PIN is typed twice. */
  readonly confirms?: boolean
}

export interface CardConnection {
  /** Fulfils once, with the reason; never rejects. */
  readonly gone: Promise<CardGoneError>
  /** 'shared' (PC/SC): `undisturbed` is never assumed. */
  readonly access: 'exclusive' | 'shared'
  /** The only lock of a card. Nested calls reject. */
  transaction<T>(
    owner: object,
    work: (channel: CardChannel) => Promise<T>,
    options?: TransmitOptions,
  ): Promise<T>
  close(end?: 'leave' | 'reset' | 'power-off'): Promise<void>
}

export type Presence = 'empty' | 'present' | 'unreadable' | { readonly inUse: 'tab' | 'unknown' }

export interface ConnectOptions {
  readonly protocol?: 'T=0' | 'T=1'
  readonly access?: 'exclusive' | 'shared'
  readonly signal?: AbortSignalLike
}

export interface CardSlot {
  /** Stable: serial number, else port order. */
  readonly id: string
  /** Friendly; equal readers are numbered. */
  readonly name: string
  readonly kind: 'contact' | 'contactless' | 'token' | 'sam'
  /** Hot; replays the latest; completes when the reader leaves. */
  readonly presence$: Observable<Presence>
  connect(options?: ConnectOptions): Promise<CardConnection>
  escape?(data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
}

export interface SlotSource {
  /** Hot; replays the latest list; completes on close. */
  readonly slots$: Observable<readonly CardSlot[]>
  close(): Promise<void>
}
