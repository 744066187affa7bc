/** Every sentence that a person reads, in one place; a site may replace any of them. */
import type { PinFormatError, PinPurpose, ReaderSupport, WebtokiErrorCode } from 'webtoki'

/**
 * Codes that are told in the error's own words: a program's mistakes, and return values of PKCS#11 that mean nothing to a
 * person or that this library does not give. A code that is neither here nor among the sentences does not compile.
 */
export type ToldInOwnWords =
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

/** What has a sentence of its own; some reasons (`by`, `why`) have one behind the code. */
export type ExplainedCode =
  | Exclude<WebtokiErrorCode, ToldInOwnWords | 'card/pin-format'>
  | `reader/in-use/${'page' | 'tab'}`
  | 'reader/none/not-chosen'
  | `reader/unreachable/${Exclude<ReaderSupport, 'available'>}`

/** What the PIN dialog says of one purpose; `label` is the card's name. */
export interface PinWords {
  readonly title: string
  readonly field: string
  readonly why: (label: string) => string
}

/** The sentences. Functions where a number or a name stands in one. */
export interface Strings {
  readonly noReader: string
  readonly connectReader: string
  readonly present: string
  readonly empty: string
  readonly unreadable: string
  readonly inUse: string
  readonly inUseByTab: string
  readonly inUseByPage: string
  readonly readerProblem: string
  readonly chooseCertificate: string
  readonly noCertificate: string
  readonly validUntil: (date: Date) => string
  readonly expired: (date: Date) => string
  readonly notYetValid: (date: Date) => string
  readonly weakKey: string
  readonly keyNotSupported: string
  readonly asksEachTime: string
  /** By what the PIN is for: the title, the name of the field, and why it is asked for. */
  readonly pinPurposes: Readonly<Record<PinPurpose, PinWords>>
  readonly pinPadTitle: string
  /** What is signed or logged in to, in the words of the site. */
  readonly pinFor: (what: string) => string
  readonly card: (label: string) => string
  readonly reader: (name: string) => string
  readonly moreRequests: (waiting: number) => string
  readonly triesLeft: (tries: number) => string
  readonly pinWasWrong: string
  readonly lastTry: string
  readonly acceptLastTry: string
  /** What was typed cannot be the PIN. */
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
  readonly failed: string
}

const date = (value: Date): string => value.toLocaleDateString(undefined, { dateStyle: 'long' })

const yourPin = { title: 'Enter your PIN', field: 'PIN' }

/** English. */
export const english: Strings = {
  noReader: 'No reader is connected.',
  connectReader: 'Connect a reader',
  present: 'Card is in',
  empty: 'Put your card in',
  unreadable: 'The card cannot be read: take it out, turn it over, put it back',
  inUse: 'Another page or program is using this reader: close it, then connect the reader again',
  inUseByPage: 'This page has the reader open already: finish there, or load the page again',
  inUseByTab: 'Another tab of this site is using this reader: go on there, or close it to go on here',
  readerProblem: 'This reader cannot be used here.',
  chooseCertificate: 'Which certificate?',
  noCertificate: 'No certificate on this card fits.',
  validUntil: (until) => `Valid until ${date(until)}`,
  expired: (until) => `Expired on ${date(until)}`,
  notYetValid: (from) => `Not valid before ${date(from)}`,
  weakKey: 'Its key is too short to be accepted',
  keyNotSupported: 'Its key is of a kind that cannot be used here',
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
    new: { title: 'Choose a new PIN', field: 'New PIN', why: (label) => `${label} gets a new PIN.` },
    admin: {
      title: 'Enter the administrator’s PIN',
      field: 'Administrator’s PIN',
      why: (label) => `${label} needs the PIN of its administrator.`,
    },
  },
  pinPadTitle: 'Enter your PIN on the reader',
  pinFor: (what) => `For: ${what}`,
  card: (label) => `Card: ${label}`,
  reader: (name) => `Reader: ${name}`,
  moreRequests: (waiting) =>
    waiting === 1 ? '1 more request follows this one.' : `${waiting} more requests follow this one.`,
  triesLeft: (tries) => (tries === 1 ? '1 try left' : `${tries} tries left`),
  pinWasWrong: 'That PIN was wrong.',
  lastTry: 'Only one try is left. If it is wrong, the card blocks itself.',
  acceptLastTry: 'I am sure of my PIN: use the last try',
  pinFormat: ({ why, minBytes, maxBytes, alphabet }) => {
    const count = minBytes === maxBytes ? `${minBytes}` : `${minBytes} to ${maxBytes}`
    const what = alphabet === 'text' ? `${count} characters` : `${count} digits`
    const rule =
      why === 'length' ? `This has to be ${what}.` : `This has to be ${what}, and nothing but digits.`
    return `${rule} Nothing has been sent to the card.`
  },
  cancel: 'Cancel',
  confirm: 'Confirm',
  phases: {
    started: 'Getting ready',
    collecting: 'Reading the document',
    'awaiting-pin': 'Waiting for your PIN',
    'awaiting-pin-pad': 'Enter your PIN on the reader',
    'awaiting-touch': 'Touch your key',
    'awaiting-card': 'The card is working',
    done: 'Done',
  },
  errors: {
    'cryptoki/pin-incorrect': 'That PIN was wrong.',
    'cryptoki/pin-locked': 'The PIN is blocked. Unblock it with the PUK that came with the card.',
    'cryptoki/pin-len-range': 'A PIN of that length cannot be right. Nothing has been sent to the card.',
    'cryptoki/pin-invalid': 'The card does not take a PIN like that. Check it and try again.',
    'cryptoki/user-not-logged-in': 'The card wants your PIN before it does that. Start again and enter it.',
    'cryptoki/user-already-logged-in': 'You are logged in to the card already.',
    'cryptoki/user-another-already-logged-in': 'Somebody else is logged in to the card. Log out first.',
    'cryptoki/function-rejected': 'The card did not get your consent. Try again.',
    'cryptoki/function-not-supported': 'This card cannot do that.',
    'cryptoki/mechanism-invalid': 'This card cannot do that.',
    'cryptoki/function-canceled': 'Cancelled. Nothing was signed.',
    'cryptoki/device-removed': 'The card or its reader was taken away. Put it back and start again.',
    'cryptoki/device-error':
      'The card or its reader did not work. Take the card out, put it back and try again.',
    'cryptoki/session-closed': 'The card was closed meanwhile. Start again.',
    'cryptoki/session-handle-invalid': 'The card was taken out meanwhile. Start again.',
    'cryptoki/token-not-present': 'Put your card in the reader first.',
    'cryptoki/token-not-recognized': 'This card has nothing on it that can be used here.',
    'cryptoki/operation-active': 'The card is busy with something you started before.',
    'cryptoki/key-handle-invalid': 'No key on this card fits.',
    'cryptoki/key-type-inconsistent': 'The key on this card is of another kind. Choose another certificate.',
    'cryptoki/key-size-range': 'The key on this card cannot be used here. Choose another certificate.',
    'cryptoki/device-memory': 'There is not enough room on the card.',
    'cryptoki/signature-invalid': 'The signature is not valid.',
    'cryptoki/signature-len-range': 'The signature is not valid.',
    'cryptoki/key-function-not-permitted': 'That key is not meant for this. Choose another certificate.',
    'cryptoki/host-memory': 'There is not enough memory.',
    'cryptoki/operation-not-initialized': 'That has ended already. Start again.',
    'cryptoki/cryptoki-not-initialized': 'This page has closed its access to cards. Load it again.',
    'cryptoki/token-write-protected': 'This card cannot be changed here.',
    'cryptoki/object-handle-invalid': 'What you chose is not on this card any more. Choose again.',
    'cryptoki/data-len-range': 'That is too long for the key on this card.',
    'cryptoki/data-invalid': 'The key on this card cannot be used for that.',
    'cryptoki/encrypted-data-invalid': 'That was not encrypted for this card, or it is damaged.',
    'cryptoki/encrypted-data-len-range': 'That was not encrypted for this card, or it is damaged.',
    'cryptoki/aead-decrypt-failed': 'That was not encrypted with this key, or it is damaged.',
    'cryptoki/curve-not-supported': 'The key on this card cannot be used here. Choose another certificate.',
    'cryptoki/pin-expired': 'The PIN has to be changed first.',
    'cryptoki/user-pin-not-initialized': 'The card has no PIN yet. Set one first.',
    'certificate/wrong-use': 'This certificate is not meant for that. Choose another one.',
    'certificate/malformed': 'The certificate on the card cannot be read. Choose another one.',
    'card/touch-missed':
      'The card did not use your key. It was probably not touched in time: try again and touch it when it blinks.',
    'card/last-try': 'Only one PIN try is left, and it was not used.',
    'card/gone': 'The card was taken out, or it was reset meanwhile. Put it in and start again.',
    'card/absent': 'Put your card in the reader first.',
    'card/mute': 'The card does not answer. Check that it is in the right way round.',
    'card/garbled':
      'The card and its reader did not understand each other. Clean the card, put it in again and try again.',
    'card/too-slow': 'The card takes too long. Take it out, put it back and try again.',
    'card/status': 'The card refused that.',
    'card/pin-wrong': 'That PIN was wrong.',
    'card/pin-blocked': 'The PIN is blocked. Unblock it with the PUK that came with the card.',
    'card/pin-pad-cancelled': 'You cancelled on the reader. Nothing was signed.',
    'card/pin-pad-timeout': 'No PIN was entered on the reader in time. Try again.',
    'card/pin-pad-refused': 'The reader does not take a PIN on its keys. Enter it here.',
    'card/not-supported': 'This card cannot do that.',
    'card/transaction': 'The card is busy with something else. Try again.',
    'wire/malformed': 'What came from the card cannot be read. Take the card out, put it back and try again.',
    'work/aborted': 'Cancelled. Nothing was signed.',
    'reader/protected-class':
      'Browsers keep this kind of reader from web pages. It works in an installed (isolated) app, with a program on this computer, or with a reader whose maker chose a vendor interface.',
    'reader/in-use': 'Another page or program is using this reader. Close it and try again.',
    'reader/in-use/page': 'This page has the reader open already. Finish there, or load the page again.',
    'reader/in-use/tab': 'Another tab of this site is using this reader. Close it, or go on there.',
    'reader/not-granted':
      'The browser may not use this reader. Choose it again and allow it; on Linux it may need a udev rule, on Windows the WinUSB driver.',
    'reader/none': 'No reader is connected that this page may use. Connect one and choose it.',
    'reader/none/not-chosen': 'No reader was chosen. Choose one, then try again.',
    'reader/unreachable':
      'This page cannot reach card readers here. Open it over https in a Chromium-based browser.',
    'reader/unreachable/no-api':
      'This browser cannot reach card readers. Chrome, Edge and other browsers built on Chromium can.',
    'reader/unreachable/insecure-context':
      'Browsers let only pages from https reach card readers. Open this page over https.',
    'reader/unreachable/policy':
      'This page is not allowed to reach card readers: the site, or the page around it, forbids it.',
    'reader/closed': 'This page has closed its access to card readers. Load it again.',
    'reader/not-supported': 'This device is no reader that can be used yet.',
    'reader/gone': 'The reader was unplugged. Plug it in and start again.',
    'reader/refused': 'The reader refused that. Plug it in again and try again.',
    'reader/timeout': 'The reader does not answer. Plug it in again and try again.',
    'reader/transfer': 'The connection to the reader failed. Plug it in again and try again.',
    'reader/firmware': 'The reader’s firmware is known to be faulty. Update it if cards fail.',
    'ui/no-dialog': 'This page cannot show where to enter your PIN. Load it again.',
    'documents/unreadable':
      'The document could not be read to its end; it may have been moved or changed. Choose it again.',
    'documents/already-read': 'The document could be read only once. Choose it again.',
    'documents/cancelled': 'Cancelled. The document was not read to its end.',
    'documents/malformed': 'The signature file cannot be read.',
    'documents/not-signed-data': 'This file is no signature.',
    'documents/no-signer': 'There is no signature in this file.',
    'documents/certificate-missing': 'The certificate of whoever signed is not in the signature file.',
    'documents/outside-validity':
      'The certificate is not valid at the time of signing. Check the clock of this computer, or use another certificate.',
    'documents/wrong-argument': 'That is neither a file nor a signature that this page can read.',
    'documents/too-complex': 'The signature file is larger than what is checked here.',
    'documents/untrusted': 'Whoever signed is not among those that are trusted here.',
    'trust/malformed': 'A certificate cannot be read.',
    'trust/expired': 'The certificate has expired.',
    'trust/not-yet-valid': 'The certificate is not valid yet.',
    'trust/issuer-expired': 'The certificate of an issuer has expired.',
    'trust/issuer-not-yet-valid': 'The certificate of an issuer is not valid yet.',
    'trust/untrusted': 'The certificate’s issuer is not trusted here.',
    'trust/bad-signature': 'The certificate was not made by the issuer that it names.',
    'trust/unsupported-algorithm': 'The certificate is signed in a way that cannot be checked here.',
    'trust/not-a-ca': 'The certificate was made by somebody who may make none.',
    'trust/path-too-long': 'The certificate’s issuer may not make certificates like this one.',
    'trust/unknown-critical-extension': 'The certificate has conditions that are not known here.',
    'trust/name-constraints': 'The certificate’s issuer may not give it this name.',
    'trust/policy': 'The certificate was not made under the rules that its issuer requires.',
    'trust/weak-hash': 'The certificate is too weak: it is signed over an old hash.',
    'trust/weak-key': 'The certificate is too weak: its key, or its issuer’s, can be forged.',
    'trust/too-complex': 'The certificate has more issuers than are checked here.',
    'login/no-origin': 'This page cannot log in from here. Open it by its own address.',
    'login/nonce-missing': 'The login took too long or was used already. Try again.',
    'login/format': 'The page sent something that is no login.',
    'login/algorithm': 'The key on your card is of a kind that this site does not know.',
    'login/certificate-malformed': 'The certificate on your card cannot be read.',
    'login/not-yet-valid': 'The certificate on your card is not valid yet.',
    'login/expired': 'The certificate on your card has expired.',
    'login/key-usage': 'The certificate on your card is not meant for logins.',
    'login/extended-key-usage': 'The certificate on your card is not meant for logins.',
    'login/policy': 'This site does not accept certificates of this kind.',
    'login/weak-hash': 'The certificate on your card is too weak: it is signed over an old hash.',
    'login/weak-key':
      'The certificate on your card is too weak: its key, or its issuer’s, is too short or can be forged.',
    'login/untrusted': 'This site does not know the issuer of your card.',
    'login/revoked': 'The certificate on your card has been revoked.',
    'login/revocation-unknown':
      'Nobody could say whether your certificate has been revoked. Try again later.',
    'login/signature': 'The signature is not one for this site and this login. Try again.',
  },
  failed: 'That did not work.',
}

let current: Strings = english

/** The sentences in use. */
export function strings(): Strings {
  return current
}

/** What a site may give in place of sentences: any of them, single phases, purposes of a PIN and errors too. */
export interface ChangedStrings extends Partial<Omit<Strings, 'phases' | 'errors' | 'pinPurposes'>> {
  readonly phases?: Partial<Strings['phases']>
  /** A site's own errors can have sentences too: by the `code` that they have. */
  readonly errors?: Partial<Strings['errors']> & Readonly<Record<string, string>>
  readonly pinPurposes?: Partial<Strings['pinPurposes']>
}

/** Replaces sentences; elements show them from their next change on. Phases, purposes and errors that are not given stay. */
export function setStrings(changed: ChangedStrings): void {
  current = {
    ...current,
    ...changed,
    phases: { ...current.phases, ...changed.phases },
    errors: { ...current.errors, ...changed.errors },
    pinPurposes: { ...current.pinPurposes, ...changed.pinPurposes },
  }
}

/** Codes that say less than those of the errors that they caused, or were caused by. */
const general: ReadonlySet<string> = new Set<WebtokiErrorCode>([
  'card/gone',
  'card/status',
  'card/garbled',
  'reader/refused',
  'reader/transfer',
  'wire/malformed',
  'work/aborted',
])

/** What a person can make of an error: by the codes of its causes, the most particular first. */
export function explain(error: unknown): string {
  const codes: string[] = []
  let triesLeft: number | undefined
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const {
      code,
      by,
      why = by,
      triesLeft: tries,
    } = at as { code?: unknown; by?: unknown; why?: unknown; triesLeft?: unknown }
    if (code === 'card/pin-format') return current.pinFormat(at as PinFormatError)
    if (typeof tries === 'number') triesLeft = tries
    if (typeof code === 'string') codes.unshift(`${code}/${String(why)}`, code)
  }
  const { failed, triesLeft: told } = current
  const errors: Readonly<Record<string, string | undefined>> = current.errors
  const known = codes.filter((code) => errors[code] !== undefined)
  const code = known.find((each) => !general.has(each)) ?? known[0]
  const sentence = code && errors[code]
  if (sentence === undefined)
    return `${failed} ${error instanceof Error ? withoutCode(error.message) : ''}`.trim()
  return triesLeft === undefined || triesLeft === 0 ? sentence : `${sentence} ${told(triesLeft)}.`
}

/** A return value of PKCS#11 says nothing to a person. */
function withoutCode(message: string): string {
  return message.replace(/\bCKR[_ ]\w+[:.]?\s*/g, '')
}
