/** The port between operations and keys: what a key states at Init, before the card is accessed or the user is asked. */
import type { CardApplication, CardChannel, TransmitOptions } from '@webtoki/apdu'
import type { CKR } from './constants.ts'
import type { HashName } from '@webtoki/crypto'
import type { RawMechanism } from './mechanisms.ts'

/** The kinds of operation that take a key. */
export type KeyOperationType = 'encrypt' | 'decrypt' | 'sign' | 'sign-recover' | 'verify' | 'verify-recover'

/** The purposes of a key: an operation or a single-part function. */
export type KeyPurpose = KeyOperationType | 'wrap' | 'unwrap' | 'derive'

/** Creates the uses of one key. */
export interface UsableKey {
  /**
   * Called by Init. It is synchronous, does not access the card, and refuses everything that can be refused at this point.
   * Throws CryptokiError with CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT,
   * CKR_KEY_SIZE_RANGE.
   */
  use(purpose: KeyPurpose, mechanism: RawMechanism): KeyUse
}

/** One use of one key. It has either `prepare`, which receives all of the data at once, or `open`, which receives it in parts. */
export interface KeyUse {
  /**
   * What the operation accumulates until the data is complete: the digest of the data, the data, or nothing. More than
   * `maxBytes` of data are an error with `tooMany`, by default CKR_DATA_LEN_RANGE.
   */
  readonly gathers:
    | { readonly hash: HashName }
    | { readonly maxBytes: number; readonly tooMany?: CKR }
    | 'stream'
  /** What the card requires; undefined if the key is in software and the card is not used. */
  readonly access?: KeyAccess
  /** Returns the most bytes of output in total if the data has `inputBytes`; 0 for a verification. */
  outputBytes(inputBytes: number): number
  /**
   * Checks everything that can be checked before the user is asked. A verification gets the `signature`. Rejects with
   * CKR_DATA_LEN_RANGE, CKR_DATA_INVALID and similar.
   */
  prepare?(data: Uint8Array, signature?: Uint8Array): Promise<PreparedUse>
  open?(): KeyStream
}

/** The last step of a use, which needs the key itself. */
export interface PreparedUse {
  /**
   * Uses the key. `channel` is present if the use has `access`; the application is selected on it, and the PIN verified if
   * `access.needs` requires it. A failed verification rejects with CKR_SIGNATURE_INVALID.
   */
  perform(channel: CardChannel | undefined, options: TransmitOptions): Promise<Uint8Array>
}

/** A running cipher, digest or MAC in software. */
export interface KeyStream {
  /** The most bytes to pass to one `update`. Default: few enough to keep the page responsive if they are processed in its thread. */
  readonly stepBytes?: number
  update(chunk: Uint8Array): Promise<Uint8Array>
  /** A verification gets the `signature`. Rejects with CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE. */
  final(signature?: Uint8Array): Promise<Uint8Array>
  /** Returns the most bytes that `update` can output for `inputBytes` of input. */
  updateBytes(inputBytes: number): number
  /** Called when the operation has ended for any reason, to overwrite the key and state. */
  abort(): void
}

/**
 * What a key on a card requires from its user. All uses of a key share one object. CKA_PRIVATE and CKA_ALWAYS_AUTHENTICATE of
 * the key follow from `needs`.
 */
export interface KeyAccess {
  readonly application: CardApplication
  /**
   * Until `read` has been called, the usual value for such a key. Changes to 'context-pin' if the card turns out to require the
   * PIN for each use.
   */
  readonly needs: 'nothing' | 'login' | 'context-pin'
  /** Whether each use waits for a touch; undefined if unknown. */
  readonly touch?: boolean | undefined
  /**
   * Reads these properties from the card once. Sends nothing to a card that is known not to report them. Called before the
   * key's handle is returned to the application.
   */
  read?(options?: TransmitOptions): Promise<void>
  /** Called when the card refused the key although the PIN was verified. From then on, CKA_ALWAYS_AUTHENTICATE is true. */
  learnContextPin(): void
}
