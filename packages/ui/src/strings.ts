/** Every sentence that a person reads, in one table. A site can replace any of them. */
import type { PinFormatError, PinPurpose, ReaderSupport, WebtokiErrorCode } from 'webtoki'

/**
 * Codes without a sentence; `explain` shows the error's message instead. They are mistakes of a program, and return values of
 * PKCS#11 that mean nothing to a person or that Webtoki never returns. A code that is neither here nor in `Strings.errors`
 * does not compile.
 */
export type UnexplainedCode =
  | 'cryptoki/ok'
  | 'cryptoki/cancel'
  | 'cryptoki/slot-id-invalid'
  | 'cryptoki/general-error'
  | 'cryptoki/function-failed'
  | 'cryptoki/arguments-bad'
  | 'cryptoki/no-event'
  | 'cryptoki/need-to-create-threads'
  | 'cryptoki/cant-lock'
  | 'cryptoki/attribute-read-only'
  | 'cryptoki/attribute-sensitive'
  | 'cryptoki/attribute-type-invalid'
  | 'cryptoki/attribute-value-invalid'
  | 'cryptoki/action-prohibited'
  | 'cryptoki/function-not-parallel'
  | 'cryptoki/key-not-needed'
  | 'cryptoki/key-changed'
  | 'cryptoki/key-needed'
  | 'cryptoki/key-indigestible'
  | 'cryptoki/key-not-wrappable'
  | 'cryptoki/key-unextractable'
  | 'cryptoki/mechanism-param-invalid'
  | 'cryptoki/session-count'
  | 'cryptoki/session-parallel-not-supported'
  | 'cryptoki/session-read-only'
  | 'cryptoki/session-exists'
  | 'cryptoki/session-read-only-exists'
  | 'cryptoki/session-read-write-so-exists'
  | 'cryptoki/template-incomplete'
  | 'cryptoki/template-inconsistent'
  | 'cryptoki/unwrapping-key-handle-invalid'
  | 'cryptoki/unwrapping-key-size-range'
  | 'cryptoki/unwrapping-key-type-inconsistent'
  | 'cryptoki/user-type-invalid'
  | 'cryptoki/user-too-many-types'
  | 'cryptoki/wrapped-key-invalid'
  | 'cryptoki/wrapped-key-len-range'
  | 'cryptoki/wrapping-key-handle-invalid'
  | 'cryptoki/wrapping-key-size-range'
  | 'cryptoki/wrapping-key-type-inconsistent'
  | 'cryptoki/random-seed-not-supported'
  | 'cryptoki/random-no-rng'
  | 'cryptoki/domain-params-invalid'
  | 'cryptoki/buffer-too-small'
  | 'cryptoki/saved-state-invalid'
  | 'cryptoki/information-sensitive'
  | 'cryptoki/state-unsaveable'
  | 'cryptoki/cryptoki-already-initialized'
  | 'cryptoki/mutex-bad'
  | 'cryptoki/mutex-not-locked'
  | 'cryptoki/new-pin-mode'
  | 'cryptoki/next-otp'
  | 'cryptoki/exceeded-max-iterations'
  | 'cryptoki/fips-self-test-failed'
  | 'cryptoki/library-load-failed'
  | 'cryptoki/pin-too-weak'
  | 'cryptoki/public-key-invalid'
  | 'cryptoki/token-resource-exceeded'
  | 'cryptoki/operation-cancel-failed'
  | 'cryptoki/key-exhausted'
  | 'login/wrong-argument'
  | 'trust/wrong-argument'

/** Codes with a sentence of their own. Some errors also have one for each reason (`by` or `why`), as `code/reason`. */
export type ExplainedCode =
  | Exclude<WebtokiErrorCode, UnexplainedCode | 'card/pin-format'>
  | `reader/in-use/${'page' | 'tab'}`
  | 'reader/none/not-chosen'
  | `reader/unreachable/${Exclude<ReaderSupport, 'available'>}`

/** The texts of the PIN dialog for one purpose. */
export interface PinWords {
  readonly title: string
  /** The label of the input field. */
  readonly field: string
  /** Says why the PIN is requested. `label` is the name of the card. */
  readonly why: (label: string) => string
}

/** All sentences. Those that contain a number, a date or a name are functions. */
export interface Strings {
  readonly noReader: string
  readonly connectReader: string
  /** A card is in the reader and can be used. */
  readonly present: string
  /** The reader has no card. */
  readonly empty: string
  /** The reader has a card that cannot be read. */
  readonly unreadable: string
  /** Another page or program has the reader open; which one is unknown. */
  readonly inUse: string
  readonly inUseByTab: string
  readonly inUseByPage: string
  /** Followed by the message of the error. */
  readonly readerProblem: string
  readonly chooseCertificate: string
  readonly noCertificate: string
  readonly validUntil: (date: Date) => string
  readonly expired: (date: Date) => string
  readonly notYetValid: (date: Date) => string
  readonly weakKey: string
  readonly keyNotSupported: string
  /** The card requires the PIN for each use of the key. */
  readonly asksEachTime: string
  /** The texts of the PIN dialog, by the purpose of the PIN. */
  readonly pinPurposes: Readonly<Record<PinPurpose, PinWords>>
  readonly pinPadTitle: string
  /** Names what is signed or logged in to, as the site describes it. */
  readonly pinFor: (what: string) => string
  readonly card: (label: string) => string
  readonly reader: (name: string) => string
  /** `waiting` is the number of PIN requests after the one shown, at least 1. */
  readonly moreRequests: (waiting: number) => string
  /** The attempts left, without a final full stop. */
  readonly triesLeft: (tries: number) => string
  readonly pinWasWrong: string
  readonly lastTry: string
  /** The label of the checkbox that permits the last attempt. */
  readonly acceptLastTry: string
  /** Says why the text that was entered cannot be the PIN. */
  readonly pinFormat: (error: Pick<PinFormatError, 'why' | 'minBytes' | 'maxBytes' | 'alphabet'>) => string
  readonly cancel: string
  readonly confirm: string
  readonly phases: Readonly<
    Record<
      | 'started'
      | 'collecting'
      | 'awaiting-pin'
      | 'awaiting-pin-pad'
      | 'awaiting-touch'
      | 'awaiting-card'
      | 'done',
      string
    >
  >
  readonly errors: Readonly<Record<ExplainedCode, string>>
  /** For an error without a sentence; followed by its message, if there is one. */
  readonly failed: string
}

const date = (value: Date): string => value.toLocaleDateString(undefined, { dateStyle: 'long' })

const yourPin = { title: 'Enter your PIN', field: 'PIN' }

/** The English sentences, which are the default. */
export const english: Strings = {
  noReader: 'No reader is connected.',
  connectReader: 'Connect a reader',
  present: 'Card inserted',
  empty: 'Insert your card',
  unreadable: 'The card cannot be read. Remove it, turn it over and insert it again.',
  inUse: 'Another page or program is using this reader. Close it, then connect the reader again.',
  inUseByPage: 'This page is already using this reader. Finish what you started, or reload the page.',
  inUseByTab: 'Another tab of this site is using this reader. Continue there, or close that tab.',
  readerProblem: 'This reader cannot be used here.',
  chooseCertificate: 'Choose a certificate',
  noCertificate: 'No suitable certificate was found. Insert a card that has one.',
  validUntil: (until) => `Valid until ${date(until)}`,
  expired: (until) => `Expired on ${date(until)}`,
  notYetValid: (from) => `Not valid before ${date(from)}`,
  weakKey: 'The key is too short to be accepted',
  keyNotSupported: 'This kind of key cannot be used here',
  asksEachTime: 'Asks for your PIN each time',
  pinPurposes: {
    login: { ...yourPin, why: (label) => `${label} needs your PIN.` },
    signature: { ...yourPin, why: () => 'Your PIN confirms this one signature.' },
    decryption: { ...yourPin, why: () => 'Your PIN confirms this one decryption.' },
    unblock: {
      title: 'Enter your PUK',
      field: 'PUK',
      why: (label) => `The PUK unblocks the PIN of ${label}.`,
    },
    new: { title: 'Choose a new PIN', field: 'New PIN', why: (label) => `This sets a new PIN for ${label}.` },
    admin: {
      title: 'Enter the administrator’s PIN',
      field: 'Administrator’s PIN',
      why: (label) => `${label} needs the administrator’s PIN.`,
    },
  },
  pinPadTitle: 'Enter your PIN on the reader',
  pinFor: (what) => `For: ${what}`,
  card: (label) => `Card: ${label}`,
  reader: (name) => `Reader: ${name}`,
  moreRequests: (waiting) =>
    waiting === 1 ? '1 more request is waiting.' : `${waiting} more requests are waiting.`,
  triesLeft: (tries) => (tries === 1 ? '1 attempt left' : `${tries} attempts left`),
  pinWasWrong: 'That PIN was wrong.',
  lastTry: 'Only 1 attempt is left. A wrong entry will block the card.',
  acceptLastTry: 'I am sure of my PIN. Use the last attempt.',
  pinFormat: ({ why, minBytes, maxBytes, alphabet }) => {
    const count = minBytes === maxBytes ? `${minBytes}` : `${minBytes} to ${maxBytes}`
    const what = alphabet === 'text' ? `${count} characters` : `${count} digits`
    const rule = why === 'length' ? `Enter ${what}.` : `Enter ${what} and no other characters.`
    return `${rule} Nothing was sent to the card.`
  },
  cancel: 'Cancel',
  confirm: 'Confirm',
  phases: {
    started: 'Getting ready',
    collecting: 'Reading the document',
    'awaiting-pin': 'Waiting for your PIN',
    'awaiting-pin-pad': 'Enter your PIN on the reader',
    'awaiting-touch': 'Touch your security key',
    'awaiting-card': 'The card is working',
    done: 'Done',
  },
  errors: {
    'cryptoki/pin-incorrect': 'That PIN was wrong.',
    'cryptoki/pin-locked': 'The PIN is blocked. Unblock it with the PUK that came with the card.',
    'cryptoki/pin-len-range':
      'The PIN is too short or too long. Nothing was sent to the card. Check the PIN and try again.',
    'cryptoki/pin-invalid': 'The card does not accept this PIN. Check it and try again.',
    'cryptoki/user-not-logged-in': 'The card needs your PIN first. Start again and enter it.',
    'cryptoki/user-already-logged-in': 'You are already logged in to the card.',
    'cryptoki/user-another-already-logged-in': 'Another user is logged in to the card. Log out first.',
    'cryptoki/function-rejected': 'The request was not confirmed. Try again and confirm it.',
    'cryptoki/function-not-supported': 'This card does not support this.',
    'cryptoki/mechanism-invalid': 'This card does not support this.',
    'cryptoki/function-canceled': 'Cancelled. Nothing was signed.',
    'cryptoki/device-removed':
      'The card or the reader was removed. Connect the reader, insert the card and start again.',
    'cryptoki/device-error': 'The card or the reader failed. Remove the card, insert it again and try again.',
    'cryptoki/session-closed': 'The connection to the card was closed. Start again.',
    'cryptoki/session-handle-invalid': 'The card was removed. Insert it and start again.',
    'cryptoki/token-not-present': 'No card is inserted. Insert your card and try again.',
    'cryptoki/token-not-recognized': 'This card cannot be used here. Insert another card.',
    'cryptoki/operation-active':
      'The card is still busy with something you started. Wait until it is done, then try again.',
    'cryptoki/key-handle-invalid': 'This card has no suitable key. Choose another certificate.',
    'cryptoki/key-type-inconsistent': 'This kind of key cannot be used for this. Choose another certificate.',
    'cryptoki/key-size-range': 'The key on this card cannot be used here. Choose another certificate.',
    'cryptoki/device-memory': 'There is not enough space on the card.',
    'cryptoki/signature-invalid': 'The signature is not valid.',
    'cryptoki/signature-len-range': 'The signature is not valid.',
    'cryptoki/key-function-not-permitted': 'This key is not meant for this. Choose another certificate.',
    'cryptoki/host-memory': 'This computer does not have enough memory. Close other programs and try again.',
    'cryptoki/operation-not-initialized': 'This has already ended. Start again.',
    'cryptoki/cryptoki-not-initialized': 'This page has closed its access to cards. Reload the page.',
    'cryptoki/token-write-protected': 'This card cannot be changed here.',
    'cryptoki/object-handle-invalid': 'What you chose is no longer on this card. Choose again.',
    'cryptoki/data-len-range': 'The data is too long for the key on this card. Choose another certificate.',
    'cryptoki/data-invalid': 'The key on this card cannot be used for this data. Choose another certificate.',
    'cryptoki/encrypted-data-invalid':
      'The data was not encrypted for this card, or it is damaged. Try another card.',
    'cryptoki/encrypted-data-len-range':
      'The data was not encrypted for this card, or it is damaged. Try another card.',
    'cryptoki/aead-decrypt-failed': 'The data was not encrypted with this key, or it is damaged.',
    'cryptoki/curve-not-supported': 'The key on this card cannot be used here. Choose another certificate.',
    'cryptoki/pin-expired': 'The PIN has expired. Change it, then try again.',
    'cryptoki/user-pin-not-initialized': 'The card has no PIN yet. Set a PIN, then try again.',
    'certificate/wrong-use': 'This certificate is not meant for this. Choose another certificate.',
    'certificate/malformed': 'The certificate on the card cannot be read. Choose another certificate.',
    'card/touch-missed':
      'Your security key was probably not touched in time. Try again and touch it when it blinks.',
    'card/last-try': 'Only 1 attempt is left, and it was not used. Start again if you are sure of your PIN.',
    'card/gone': 'The card was removed or reset. Insert it and start again.',
    'card/absent': 'No card is inserted. Insert your card and try again.',
    'card/mute': 'The card is not responding. Remove it, turn it over and insert it again.',
    'card/garbled':
      'The reader could not communicate with the card. Clean the card, insert it again and try again.',
    'card/too-slow': 'The card took too long to respond. Remove it, insert it again and try again.',
    'card/status': 'The card refused the request.',
    'card/pin-wrong': 'That PIN was wrong.',
    'card/pin-blocked': 'The PIN is blocked. Unblock it with the PUK that came with the card.',
    'card/pin-pad-cancelled': 'You cancelled on the reader. Nothing was signed.',
    'card/pin-pad-timeout': 'No PIN was entered on the reader in time. Try again.',
    'card/pin-pad-refused': 'The PIN cannot be entered on this reader. Enter it here.',
    'card/not-supported': 'This card does not support this.',
    'card/transaction': 'The card is busy with something else. Try again.',
    'wire/malformed':
      'The data from the card cannot be read. Remove the card, insert it again and try again.',
    'work/aborted': 'Cancelled. Nothing was signed.',
    'reader/protected-class':
      'Browsers do not let web pages use this kind of reader. Use another reader, an installed (isolated) app or a program on this computer.',
    'reader/in-use': 'Another page or program is using this reader. Close it and try again.',
    'reader/in-use/page':
      'This page is already using this reader. Finish what you started, or reload the page.',
    'reader/in-use/tab': 'Another tab of this site is using this reader. Continue there, or close that tab.',
    'reader/not-granted':
      'The browser cannot open this reader. Choose it again and allow access. Linux may need a udev rule, Windows the WinUSB driver.',
    'reader/none':
      'No reader is connected that this page may use. Connect a reader, then choose it on this page.',
    'reader/none/not-chosen': 'No reader was chosen. Choose one, then try again.',
    'reader/unreachable':
      'This page cannot use card readers. Open it over https in Chrome, Edge or another browser built on Chromium.',
    'reader/unreachable/no-api':
      'This browser cannot use card readers. Use Chrome, Edge or another browser built on Chromium.',
    'reader/unreachable/insecure-context':
      'This page cannot use card readers, because its connection is not secure. Open it over https.',
    'reader/unreachable/policy':
      'This page is not allowed to use card readers. Open it in its own tab, or contact the site’s operator.',
    'reader/closed': 'This page has closed its access to card readers. Reload the page.',
    'reader/not-supported': 'This device is not a supported card reader. Choose another device.',
    'reader/gone': 'The reader was unplugged. Plug it in and start again.',
    'reader/refused': 'The reader refused the request. Unplug it, plug it in again and try again.',
    'reader/timeout': 'The reader is not responding. Unplug it, plug it in again and try again.',
    'reader/transfer': 'The connection to the reader failed. Unplug it, plug it in again and try again.',
    'reader/firmware': 'The reader’s firmware has known faults. Update it if cards do not work.',
    'ui/no-dialog': 'This page could not ask for your PIN. Reload the page.',
    'documents/unreadable':
      'The document could not be read completely. It may have been moved or changed. Choose it again.',
    'documents/already-read': 'The document could be read only once. Choose it again.',
    'documents/cancelled': 'Cancelled. The document was not read completely.',
    'documents/malformed': 'The signature file cannot be read. Choose another file.',
    'documents/not-signed-data': 'This file is not a signature. Choose another file.',
    'documents/no-signer': 'This file contains no signature. Choose another file.',
    'documents/certificate-missing':
      'A certificate of the signer cannot be read. Nothing was signed. Choose another certificate.',
    'documents/outside-validity':
      'The certificate is not valid at the time of signing. Check the clock of this computer, or choose another certificate.',
    'documents/wrong-argument': 'This page cannot read this file or signature. Choose another file.',
    'documents/too-complex': 'The signature file is too large to be checked here.',
    'documents/untrusted': 'The signer is not trusted here.',
    'trust/malformed': 'A certificate cannot be read.',
    'trust/expired': 'The certificate has expired.',
    'trust/not-yet-valid': 'The certificate is not valid yet.',
    'trust/issuer-expired': 'The certificate of an issuer has expired.',
    'trust/issuer-not-yet-valid': 'The certificate of an issuer is not valid yet.',
    'trust/untrusted': 'The certificate’s issuer is not trusted here.',
    'trust/bad-signature': 'The certificate was not signed by the issuer that it names.',
    'trust/unsupported-algorithm': 'The certificate is signed in a way that cannot be checked here.',
    'trust/not-a-ca': 'The certificate’s issuer is not allowed to issue certificates.',
    'trust/path-too-long': 'The certificate’s issuer is not allowed to issue certificates of this kind.',
    'trust/unknown-critical-extension': 'The certificate has conditions that cannot be checked here.',
    'trust/name-constraints': 'The certificate’s issuer is not allowed to certify this name.',
    'trust/policy': 'The certificate was not issued under the rules that its issuer requires.',
    'trust/weak-hash': 'The certificate is too weak: it was signed with an outdated method.',
    'trust/weak-key': 'The certificate is too weak: its key or its issuer’s key is not secure.',
    'trust/too-complex': 'The certificate has too many issuers to be checked here.',
    'login/no-origin': 'You cannot log in from this page. Open the site at its own address.',
    'login/nonce-missing': 'The login took too long or was already used. Try again.',
    'login/format': 'The page sent an invalid login. Reload the page and try again.',
    'login/algorithm': 'This site does not support the kind of key on your card. Choose another certificate.',
    'login/certificate-malformed': 'The certificate on your card cannot be read. Choose another certificate.',
    'login/not-yet-valid': 'The certificate on your card is not valid yet. Choose another certificate.',
    'login/expired': 'The certificate on your card has expired. Choose another certificate.',
    'login/key-usage': 'The certificate on your card is not meant for logins. Choose another certificate.',
    'login/extended-key-usage':
      'The certificate on your card is not meant for logins. Choose another certificate.',
    'login/policy': 'This site does not accept certificates of this kind. Choose another certificate.',
    'login/weak-hash':
      'The certificate on your card is too weak: it was signed with an outdated method. Choose another certificate.',
    'login/weak-key':
      'The certificate on your card is too weak: its key or its issuer’s key is not secure. Choose another certificate.',
    'login/untrusted': 'This site does not trust the issuer of your card. Choose another certificate.',
    'login/revoked': 'The certificate on your card has been revoked. Choose another certificate.',
    'login/revocation-unknown':
      'The site could not check whether your certificate has been revoked. Try again later.',
    'login/signature': 'The signature does not match this site and this login. Try again.',
  },
  failed: 'Something went wrong.',
}

let current: Strings = english

/** Returns the sentences in use. */
export function strings(): Strings {
  return current
}

/** The sentences that a site replaces: any of them, down to single phases, purposes of a PIN and errors. */
export interface ChangedStrings extends Partial<Omit<Strings, 'phases' | 'errors' | 'pinPurposes'>> {
  readonly phases?: Partial<Strings['phases']>
  /** A site's own errors can have sentences too, by their `code`. */
  readonly errors?: Partial<Strings['errors']> & Readonly<Record<string, string>>
  readonly pinPurposes?: Partial<Strings['pinPurposes']>
}

/** Replaces the given sentences and keeps all others. An element shows the new sentences when it next changes. */
export function setStrings(changed: ChangedStrings): void {
  current = {
    ...current,
    ...changed,
    phases: { ...current.phases, ...changed.phases },
    errors: { ...current.errors, ...changed.errors },
    pinPurposes: { ...current.pinPurposes, ...changed.pinPurposes },
  }
}

/** Codes that are less specific than another code in the same chain of causes. */
const generalCodes: ReadonlySet<string> = new Set<WebtokiErrorCode>([
  'card/gone',
  'card/status',
  'card/garbled',
  'reader/refused',
  'reader/transfer',
  'wire/malformed',
  'work/aborted',
])

/**
 * Describes an error in a sentence for people: the sentence of its innermost cause whose code is specific, then of its innermost
 * cause with any code, else `Strings.failed` and the error's message. Adds the attempts left if the error reports them.
 */
export function explain(error: unknown): string {
  const codes: string[] = []
  let triesLeft: number | undefined
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const {
      code,
      by,
      why = by,
      triesLeft: tries,
    } = cause as { code?: unknown; by?: unknown; why?: unknown; triesLeft?: unknown }
    if (code === 'card/pin-format') return current.pinFormat(cause as PinFormatError)
    if (typeof tries === 'number') triesLeft = tries
    if (typeof code === 'string') codes.unshift(`${code}/${String(why)}`, code)
  }
  const { failed, triesLeft: formatTries } = current
  const errors: Readonly<Record<string, string | undefined>> = current.errors
  const known = codes.filter((code) => errors[code] !== undefined)
  const code = known.find((each) => !generalCodes.has(each)) ?? known[0]
  const sentence = code && errors[code]
  if (sentence === undefined)
    return `${failed} ${error instanceof Error ? withoutCode(error.message) : ''}`.trim()
  return triesLeft === undefined || triesLeft === 0 ? sentence : `${sentence} ${formatTries(triesLeft)}.`
}

/** Removes the names of PKCS#11 return values, which mean nothing to a person. */
function withoutCode(message: string): string {
  return message.replace(/\bCKR[_ ]\w+[:.]?\s*/g, '')
}
