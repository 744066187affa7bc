/** Every sentence that a person reads, in one place; a site may replace any of them. */

/** The sentences. Functions where a number or a name stands in one. */
export interface Strings {
  readonly noReader: string
  readonly connectReader: string
  readonly noUsb: string
  readonly present: string
  readonly empty: string
  readonly unreadable: string
  readonly inUse: string
  readonly inUseByTab: string
  readonly inUseByPage: string
  readonly protectedClass: string
  readonly notGranted: string
  readonly readerProblem: string
  readonly chooseCertificate: string
  readonly noCertificate: string
  readonly validUntil: (date: Date) => string
  readonly expired: (date: Date) => string
  readonly notYetValid: (date: Date) => string
  readonly asksEachTime: string
  readonly pinTitle: string
  readonly pinPadTitle: string
  readonly pinForSignature: string
  readonly pinForLogin: (label: string) => string
  readonly card: (label: string) => string
  readonly reader: (name: string) => string
  readonly moreRequests: (waiting: number) => string
  readonly pin: string
  readonly triesLeft: (tries: number) => string
  readonly lastTry: string
  readonly acceptLastTry: string
  readonly pinTooShort: string
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
  readonly errors: Readonly<Record<string, string>>
  readonly failed: string
}

const date = (value: Date): string => value.toLocaleDateString(undefined, { dateStyle: 'long' })

/** English. */
export const english: Strings = {
  noReader: 'No reader is connected.',
  connectReader: 'Connect a reader',
  noUsb: 'This browser cannot reach USB readers. Chrome, Edge and other browsers built on Chromium can.',
  present: 'Card is in',
  empty: 'Put your card in',
  unreadable: 'The card cannot be read: take it out, turn it over, put it back',
  inUse: 'Another page or program is using this reader: close it, then connect the reader again',
  inUseByPage: 'This page has the reader open already: finish there, or load the page again',
  inUseByTab: 'Another tab of this site is using this reader: go on there, or close it to go on here',
  protectedClass:
    'Browsers keep this kind of reader from web pages. It works in an installed (isolated) app, with a program on this computer, or with a reader whose maker chose a vendor interface.',
  notGranted:
    'The system does not let the browser open this reader. On Linux it needs a udev rule, on Windows the WinUSB driver.',
  readerProblem: 'This reader cannot be used here.',
  chooseCertificate: 'Which certificate?',
  noCertificate: 'No certificate on this card fits.',
  validUntil: (until) => `Valid until ${date(until)}`,
  expired: (until) => `Expired on ${date(until)}`,
  notYetValid: (from) => `Not valid before ${date(from)}`,
  asksEachTime: 'Asks for your PIN each time',
  pinTitle: 'Enter your PIN',
  pinPadTitle: 'Enter your PIN on the reader',
  pinForSignature: 'Your PIN confirms this one signature.',
  pinForLogin: (label) => `${label} needs your PIN.`,
  card: (label) => `Card: ${label}`,
  reader: (name) => `Reader: ${name}`,
  moreRequests: (waiting) =>
    waiting === 1 ? '1 more request follows this one.' : `${waiting} more requests follow this one.`,
  pin: 'PIN',
  triesLeft: (tries) => (tries === 1 ? '1 try left' : `${tries} tries left`),
  lastTry: 'Only one try is left. If it is wrong, the card blocks itself.',
  acceptLastTry: 'I am sure of my PIN: use the last try',
  pinTooShort: 'A PIN has 6 to 8 digits. Nothing has been sent to the card.',
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
    CKR_PIN_INCORRECT: 'That PIN was wrong.',
    CKR_PIN_LOCKED: 'The PIN is blocked. Unblock it with the PUK that came with the card.',
    CKR_PIN_LEN_RANGE: 'A PIN has 6 to 8 digits. Nothing has been sent to the card.',
    CKR_PIN_INVALID: 'The card does not take a PIN like that. Check it and try again.',
    CKR_USER_NOT_LOGGED_IN: 'The card wants your PIN before it does that. Start again and enter it.',
    CKR_USER_ALREADY_LOGGED_IN: 'You are logged in to the card already.',
    CKR_USER_ANOTHER_ALREADY_LOGGED_IN: 'Somebody else is logged in to the card. Log out first.',
    CKR_FUNCTION_REJECTED: 'The card did not get your consent. Try again.',
    CKR_FUNCTION_NOT_SUPPORTED: 'This card cannot do that.',
    CKR_MECHANISM_INVALID: 'This card cannot do that.',
    CKR_FUNCTION_CANCELED: 'Cancelled. Nothing was signed.',
    CKR_DEVICE_REMOVED: 'The card or its reader was taken away. Put it back and start again.',
    CKR_DEVICE_ERROR: 'The card or its reader did not work. Take the card out, put it back and try again.',
    CKR_SESSION_CLOSED: 'The card was closed meanwhile. Start again.',
    CKR_SESSION_HANDLE_INVALID: 'The card was taken out meanwhile. Start again.',
    CKR_TOKEN_NOT_PRESENT: 'Put your card in the reader first.',
    CKR_TOKEN_NOT_RECOGNIZED: 'This card has nothing on it that can be used here.',
    CKR_OPERATION_ACTIVE: 'The card is busy with something you started before.',
    CKR_KEY_HANDLE_INVALID: 'No key on this card fits.',
    CKR_KEY_TYPE_INCONSISTENT: 'The key on this card is of another kind. Choose another certificate.',
    CKR_KEY_SIZE_RANGE: 'The key on this card cannot be used here. Choose another certificate.',
    CKR_DEVICE_MEMORY: 'There is not enough room on the card.',
    CKR_SIGNATURE_INVALID: 'The signature is not valid.',
    CKR_SIGNATURE_LEN_RANGE: 'The signature is not valid.',
    CKR_KEY_FUNCTION_NOT_PERMITTED: 'That key is not meant for this. Choose another certificate.',
    'certificate/wrong-use': 'This certificate is not meant for that. Choose another one.',
    'card/touch-missed':
      'The card did not use your key. It was probably not touched in time: try again and touch it when it blinks.',
    'card/pin-format':
      'The PIN has a character that this card does not take. Nothing has been sent to the card.',
    'card/last-try': 'Only one PIN try is left, and it was not used.',
    'reader/protected-class':
      'Browsers keep this kind of reader from web pages. It works in an installed (isolated) app, with a program on this computer, or with a reader whose maker chose a vendor interface.',
    'reader/in-use': 'Another page or program is using this reader. Close it and try again.',
    'reader/in-use/page': 'This page has the reader open already. Finish there, or load the page again.',
    'reader/in-use/tab': 'Another tab of this site is using this reader. Close it, or go on there.',
    'reader/not-granted': 'The browser was not allowed to use the reader.',
    'reader/unreachable':
      'This page cannot reach card readers here. Open it over https in a Chromium-based browser.',
    'reader/closed': 'This page has closed its access to card readers. Load it again.',
    'reader/not-supported': 'This device is no reader that can be used yet.',
    'ui/no-dialog': 'This page cannot show where to enter your PIN. Load it again.',
    'documents/unreadable':
      'The document could not be read to its end; it may have been moved or changed. Choose it again.',
    'documents/already-read': 'The document could be read only once. Choose it again.',
    'documents/cancelled': 'Cancelled. The document was not read to its end.',
    'documents/malformed': 'The signature file cannot be read.',
    'documents/not-signed-data': 'This file is no signature.',
    'documents/no-signer': 'There is no signature in this file.',
    'documents/certificate-missing': 'The certificate of whoever signed is not in the signature file.',
    'documents/unsupported-algorithm': 'The signature was made in a way that is not known here.',
  },
  failed: 'That did not work.',
}

let current: Strings = english

/** The sentences in use. */
export function strings(): Strings {
  return current
}

/** What a site may give in place of sentences: any of them, single phases and errors too. */
export type ChangedStrings = Partial<Omit<Strings, 'phases' | 'errors'>> & {
  readonly phases?: Partial<Strings['phases']>
  readonly errors?: Strings['errors']
}

/** Replaces sentences; elements show them from their next change on. Phases and errors that are not given stay. */
export function setStrings(changed: ChangedStrings): void {
  current = {
    ...current,
    ...changed,
    phases: { ...current.phases, ...changed.phases },
    errors: { ...current.errors, ...changed.errors },
  }
}

/** What a person can make of an error: by the codes of its causes, the most particular first. */
export function explain(error: unknown): string {
  const codes: string[] = []
  let triesLeft: number | undefined
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const {
      code,
      reason,
      by,
      rvName,
      triesLeft: tries,
    } = at as { code?: unknown; reason?: unknown; by?: unknown; rvName?: unknown; triesLeft?: unknown }
    if (typeof tries === 'number') triesLeft = tries
    if (typeof rvName === 'string') codes.unshift(rvName)
    if (typeof code === 'string') codes.unshift(code)
    if (typeof code === 'string' && typeof by === 'string') codes.unshift(`${code}/${by}`)
    // One code with many reasons (`documents/failed`): the reason says more.
    if (typeof code === 'string' && typeof reason === 'string')
      codes.unshift(`${code.split('/', 1)[0]}/${reason}`)
  }
  const { errors, failed, triesLeft: told } = current
  const sentence = codes.map((code) => errors[code]).find((found) => found !== undefined)
  if (sentence === undefined)
    return `${failed} ${error instanceof Error ? withoutCode(error.message) : ''}`.trim()
  return triesLeft === undefined || triesLeft === 0 ? sentence : `${sentence} ${told(triesLeft)}.`
}

/** A return value of PKCS#11 says nothing to a person. */
function withoutCode(message: string): string {
  return message.replace(/\bCKR[_ ]\w+[:.]?\s*/g, '')
}
