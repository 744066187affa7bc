/**
 * Runs pairs of operations on sessions of a PIV card, and checks the result of the second Init and of both operations
 * against PKCS#11 v2.20, 13.1 "Operations, sessions, and threads".
 */
import {
  type Cipher,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  createVerify,
  type Decipher,
  publicDecrypt,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  CryptokiError,
  type DataSource,
  type Operation,
  type OperationEvent,
  type RawOperationSpec,
  type Session,
  type Slot,
} from '@webtoki/cryptoki'

/** The eight kinds of operation, in the order of the standard. */
export const kinds = [
  'search',
  'encrypt',
  'decrypt',
  'digest',
  'sign',
  'sign-recover',
  'verify',
  'verify-recover',
] as const
/** One of the eight kinds of operation. */
export type Kind = (typeof kinds)[number]

/** The kinds that may be started while one is active, if the token has dual operations. Independent of the driver's table. */
const partners: Readonly<Record<Kind, readonly Kind[]>> = {
  search: [],
  encrypt: ['digest', 'sign'],
  decrypt: ['digest', 'verify'],
  digest: ['encrypt', 'decrypt'],
  sign: ['encrypt'],
  'sign-recover': [],
  verify: ['decrypt'],
  'verify-recover': [],
}

/** True if the standard allows `second` to start while `first` is active. */
export function mayBeActiveTogether(first: Kind, second: Kind, dual: boolean): boolean {
  return dual && partners[first].includes(second)
}

/** The ways to run an operation: await it, subscribe to its events, or call Init, Update and Final. */
export const ways = ['await', 'events$', 'calls'] as const
/** One of the ways to run an operation. */
export type Way = (typeof ways)[number]

/** An operation of one kind with its data, and a check of its result by a second implementation. */
export interface Example {
  readonly kind: Kind
  readonly data: Uint8Array
  operation(session: Session, data: DataSource): Operation<unknown>
  /** For the way `calls`; a search has none. */
  readonly spec?: RawOperationSpec
  /** The signature to verify. */
  readonly signature?: Uint8Array
  /** Checks the result with node:crypto. `input` is the operation's input if that is not all of `data`. */
  readonly isCorrect: (result: unknown, input?: Uint8Array) => boolean
}

/** The search template, which matches a certificate and its two keys. */
const searched = { [CKA.ID]: Uint8Array.of(1) }

/**
 * Creates one example of each kind, with the RSA key of PIV slot 9A and an AES session key. Logs in; the login and the
 * session key end with the session.
 */
export async function makeExamples(session: Session): Promise<Readonly<Record<Kind, Example>>> {
  await session.login(CKU.USER)
  const find = async (objectClass: CKO): Promise<CkObject> => {
    const [found] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) })
    if (found === undefined) throw new CryptokiError(CKR.KEY_HANDLE_INVALID)
    return found
  }
  const privateKey = await find(CKO.PRIVATE_KEY)
  const publicKey = await find(CKO.PUBLIC_KEY)
  const spki = createPublicKey({
    key: Buffer.from(publicKey.get(CKA.PUBLIC_KEY_INFO)),
    format: 'der',
    type: 'spki',
  })
  const value = randomBytes(32)
  const aes = await session.createObject({
    [CKA.CLASS]: CKO.SECRET_KEY,
    [CKA.KEY_TYPE]: CKK.AES,
    [CKA.VALUE]: value,
    [CKA.ENCRYPT]: true,
    [CKA.DECRYPT]: true,
  })
  const data = randomBytes(50)
  const iv = randomBytes(16)
  const run = (cipher: Cipher | Decipher, input: Uint8Array): Uint8Array =>
    Buffer.concat([cipher.update(input), cipher.final()])
  const encrypt = (input: Uint8Array): Uint8Array => run(createCipheriv('aes-256-cbc', value, iv), input)
  const decrypt = (input: Uint8Array): Uint8Array => run(createDecipheriv('aes-256-cbc', value, iv), input)
  const [cbc, digest] = [{ type: CKM.AES_CBC_PAD, iv }, { type: CKM.SHA256 }]
  const [rsa, recover] = [{ type: CKM.SHA256_RSA_PKCS }, { type: CKM.RSA_PKCS }]
  // node:crypto cannot make these signatures, because the private key never leaves the card. It verifies them.
  const signature = await session.sign(rsa, privateKey, data)
  const recoverable = await session.sign(recover, privateKey, data)
  const isSignature = (bytes: Uint8Array, input: Uint8Array): boolean =>
    createVerify('sha256').update(input).verify(spki, bytes)
  const all: Readonly<Record<Kind, Omit<Example, 'kind'>>> = {
    search: {
      data: new Uint8Array(0),
      operation: (own) => own.findObjects(searched),
      isCorrect: (found) => isIdentity(found as readonly CkObject[]),
    },
    encrypt: {
      data,
      operation: (own, source) => own.encrypt(cbc, aes, source),
      spec: { type: 'encrypt', mechanism: cbc, key: aes },
      isCorrect: (result, input = data) => isSame(result, encrypt(input)),
    },
    decrypt: {
      data: encrypt(data),
      operation: (own, source) => own.decrypt(cbc, aes, source),
      spec: { type: 'decrypt', mechanism: cbc, key: aes },
      isCorrect: (result, input = encrypt(data)) => isSame(result, decrypt(input)),
    },
    digest: {
      data,
      operation: (own, source) => own.digest(digest, source),
      spec: { type: 'digest', mechanism: digest },
      isCorrect: (result, input = data) => isSame(result, createHash('sha256').update(input).digest()),
    },
    sign: {
      data,
      operation: (own, source) => own.sign(rsa, privateKey, source),
      spec: { type: 'sign', mechanism: rsa, key: privateKey },
      isCorrect: (result, input = data) => isSignature(result as Uint8Array, input),
    },
    'sign-recover': {
      data,
      operation: (own, source) => own.signRecover(recover, privateKey, source),
      spec: { type: 'sign-recover', mechanism: recover, key: privateKey },
      isCorrect: (result, input = data) => isSame(publicDecrypt(spki, result as Uint8Array), input),
    },
    verify: {
      data,
      operation: (own, source) => own.verify(rsa, publicKey, source, signature),
      spec: { type: 'verify', mechanism: rsa, key: publicKey },
      signature,
      isCorrect: (result, input = data) => result === true && isSignature(signature, input),
    },
    'verify-recover': {
      data: recoverable,
      operation: (own, source) => own.verifyRecover(recover, publicKey, source),
      spec: { type: 'verify-recover', mechanism: recover, key: publicKey },
      isCorrect: (result, input = recoverable) => isSame(result, publicDecrypt(spki, input)),
    },
  }
  const named = kinds.map((kind) => [
    kind,
    { kind, ...all[kind], isRight: falseOnError(all[kind].isCorrect) },
  ])
  return Object.fromEntries(named) as Readonly<Record<Kind, Example>>
}

/** Returns false if node:crypto throws, which it does for data that it cannot process. */
function falseOnError(isRight: Example['isCorrect']): Example['isCorrect'] {
  return (...given) => {
    try {
      return isRight(...given)
    } catch {
      return false
    }
  }
}

function isSame(result: unknown, expected: Uint8Array): boolean {
  return result instanceof Uint8Array && Buffer.compare(expected, result) === 0
}

/** True for a certificate, its public and its private key, if node:crypto reads the same public key from the certificate. */
function isIdentity(found: readonly CkObject[]): boolean {
  const of = (objectClass: CKO) => found.find((each) => each.get(CKA.CLASS) === objectClass)
  const [certificate, publicKey] = [of(CKO.CERTIFICATE), of(CKO.PUBLIC_KEY)]
  if (found.length !== 3 || certificate === undefined || publicKey === undefined) return false
  const key = new X509Certificate(certificate.get(CKA.VALUE)).publicKey.export({
    format: 'der',
    type: 'spki',
  })
  return of(CKO.PRIVATE_KEY) !== undefined && key.equals(publicKey.get(CKA.PUBLIC_KEY_INFO))
}

/**
 * Runs the example to its end; Init happens synchronously. Calls `onHalf` after half of the data, and waits for its result.
 * A search calls it after the first object, and waits only in the way `calls`.
 */
export async function play(
  example: Example,
  session: Session,
  way: Way,
  onHalf: () => unknown = () => {},
): Promise<unknown> {
  const { kind, data, spec, signature } = example
  const half = data.length >> 1
  if (way === 'calls' && spec === undefined) {
    const search = session.beginSearch(searched)
    const found = [...(await search.next(1))]
    await onHalf()
    found.push(...(await search.next(10)))
    search.final()
    return found
  }
  if (way === 'calls' && spec !== undefined) {
    const [active] = session.begin(spec)
    if (active === undefined) throw new Error('session.begin() returned no operation.')
    const parts = [await active.update(data.subarray(0, half))]
    await onHalf()
    parts.push(await active.update(data.subarray(half)))
    parts.push(await active.final(signature === undefined ? {} : { signature }))
    return kind === 'verify' ? true : new Uint8Array(Buffer.concat(parts))
  }
  async function* halves(): AsyncGenerator<Uint8Array> {
    yield data.subarray(0, half)
    await onHalf()
    yield data.subarray(half)
  }
  let isFirst = true
  const onEvent = ({ phase }: OperationEvent<unknown>): void => {
    if (phase !== 'found' || !isFirst) return
    isFirst = false
    onHalf()
  }
  const operation = example.operation(session, halves())
  if (way !== 'events$') return operation.result({ onEvent })
  return new Promise((resolve, reject) => {
    operation.events$.subscribe({
      next: (event) => {
        onEvent(event)
        if (event.phase === 'done') resolve(event.value)
      },
      error: reject,
    })
  })
}

/** The result of one cell: a first operation, and a second one started while the first is active. */
export interface Cell {
  readonly first: Kind
  readonly second: Kind
  readonly dual: boolean
  /** The return value of the second Init, by its name. */
  readonly initResult: string
  /** How the library violates the standard; undefined if it conforms. */
  readonly violation?: string
}

/** Runs one cell in each way, each in its own session. `dual` is the dual flag with which the slot's library was created. */
export async function runCell(
  slot: Slot,
  [first, second]: readonly [Example, Example],
  dual: boolean,
): Promise<Cell> {
  const expected = mayBeActiveTogether(first.kind, second.kind, dual) ? 'CKR_OK' : 'CKR_OPERATION_ACTIVE'
  let initResult = 'nothing'
  for (const way of ways) {
    const session = await slot.openSession()
    let active: readonly string[] = []
    let running: Promise<Outcome> | undefined
    const firstOutcome = await outcomeOf(
      play(first, session, way, () => {
        running = outcomeOf(play(second, session, way))
        active = session.active
      }),
    )
    const secondOutcome = await running
    initResult = secondOutcome?.returnValue ?? initResult
    const violations = [
      ...violationsOf(first, firstOutcome),
      ...(initResult === 'CKR_OK' && secondOutcome !== undefined ? violationsOf(second, secondOutcome) : []),
      ...(initResult === expected ? [] : [`starting ${second.kind} gave ${initResult}, not ${expected}`]),
      ...(active.length === (expected === 'CKR_OK' ? 2 : 1) ? [] : [`active then: ${active.join(', ')}`]),
      ...(session.active.length === 0 ? [] : [`active at the end: ${session.active.join(', ')}`]),
    ]
    await session.close()
    const cell = { first: first.kind, second: second.kind, dual, initResult }
    if (violations.length > 0) return { ...cell, violation: `by ${way}: ${violations.join('; ')}` }
  }
  return { first: first.kind, second: second.kind, dual, initResult }
}

interface Outcome {
  /** The name of the CKR code, or the message of another error. */
  readonly returnValue: string
  readonly result?: unknown
}

function outcomeOf(running: Promise<unknown>): Promise<Outcome> {
  return running.then(
    (result) => ({ returnValue: 'CKR_OK', result }),
    (error: unknown) => ({ returnValue: error instanceof CryptokiError ? error.rvName : String(error) }),
  )
}

function violationsOf(example: Example, { returnValue, result }: Outcome): readonly string[] {
  if (returnValue !== 'CKR_OK') return [`${example.kind} ended with ${returnValue}`]
  return example.isCorrect(result) ? [] : [`node:crypto computes another result of ${example.kind}`]
}
