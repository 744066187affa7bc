/** Uses of keys: what a key promises at Init, before a card is touched or a person is asked. */
import type { CardApplication, CardChannel, TransmitOptions } from '@webtoki/apdu'
import type { CKR } from './constants.ts'
import type { HashName } from '@webtoki/crypto'
import type { RawMechanism } from './mechanisms.ts'

/** The kinds of operation that take a key. */
export type KeyOperationType = 'encrypt' | 'decrypt' | 'sign' | 'sign-recover' | 'verify' | 'verify-recover'

/** What a key can be used for: an operation, or a function of one call. */
export type KeyPurpose = KeyOperationType | 'wrap' | 'unwrap' | 'derive'

/** Makes uses of one key. */
export interface UsableKey {
  /**
   * Called by Init: synchronous, touches no card, and refuses all that can be refused by then. Throws CryptokiError with
   * CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE.
   */
  use(purpose: KeyPurpose, mechanism: RawMechanism): KeyUse
}

/** One use of one key. It has either `prepare`, which gets all of the data at once, or `open`, which gets it in parts. */
export interface KeyUse {
  /**
   * What the operation collects until it is complete: the digest of the data, the data, or nothing. More than `maxBytes` end
   * in `tooMany`, by default CKR_DATA_LEN_RANGE.
   */
  readonly gathers:
    | { readonly hash: HashName }
    | { readonly maxBytes: number; readonly tooMany?: CKR }
    | 'stream'
  /** What the card wants; undefined: the key is in software, and no card is touched. */
  readonly access?: KeyAccess
  /** The most bytes that come out when `inputBytes` more go in and the operation ends; 0 for a verification. */
  outputBytes(inputBytes: number): number
  /**
   * Checks everything that can be refused before somebody is asked. `signature` is there if the use verifies. Rejects with
   * CKR_DATA_LEN_RANGE, CKR_DATA_INVALID and alike.
   */
  prepare?(data: Uint8Array, signature?: Uint8Array): Promise<PreparedUse>
  open?(): KeyStream
}

/** The last step: what only the key can do. A verification that fails throws CKR_SIGNATURE_INVALID. */
export interface PreparedUse {
  /** `channel` is there if the use has `access`; on it the application is selected, and the PIN verified if it `needs` that. */
  perform(channel: CardChannel | undefined, options: TransmitOptions): Promise<Uint8Array>
}

/** A cipher, digest or MAC under way in software. */
export interface KeyStream {
  /** The most bytes that one `update` should get. Default: what keeps a page responsive if they are worked on in its thread. */
  readonly stepBytes?: number
  update(chunk: Uint8Array): Promise<Uint8Array>
  /** `signature` is there if the use verifies. Rejects with CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE. */
  final(signature?: Uint8Array): Promise<Uint8Array>
  /** The most bytes that `update` gives for so many of input. */
  updateBytes(inputBytes: number): number
  /** The operation ended, however that came: key and state can be overwritten. */
  abort(): void
}

/**
 * What a key on a card asks of its user. One object for each key, shared by all of its uses. CKA_PRIVATE and
 * CKA_ALWAYS_AUTHENTICATE of the key follow from `needs`.
 */
export interface KeyAccess {
  readonly application: CardApplication
  /** What is usual for such a key until `read` has been called. It changes to 'context-pin' if the card turns out to want that. */
  readonly needs: 'nothing' | 'login' | 'context-pin'
  /** Whether each use waits for a touch; undefined: the card has not told. */
  readonly touch?: boolean | undefined
  /** Reads, once, what the card tells of this; sends nothing to a card that is known not to. Called before a handle is given out. */
  read?(options?: TransmitOptions): Promise<void>
  /** The card refused the key while the PIN was verified. CKA_ALWAYS_AUTHENTICATE is true from now on. */
  learnContextPin(): void
}
