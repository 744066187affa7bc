/** Pairs of operations on live sessions of a PIV card: what the second Init is answered, and what becomes of both (PKCS#11 v2.20, 13.1 "Operations, sessions, and threads"). */
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

/** The eight kinds, in the order of the standard. */
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
/** One of the eight kinds. */
export type Kind = (typeof kinds)[number]

/** The standard's rule, written independently of the driver's: what may be begun beside a kind if the token supports two. */
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

/** Whether the standard allows `second` beside an active `first`. */
export function mayStandBeside(first: Kind, second: Kind, dual: boolean): boolean {
  return dual && partners[first].includes(second)
}

/** How a caller runs an operation. */
export const ways = ['await', 'events$', 'calls'] as const
/** One of them. */
export type Way = (typeof ways)[number]

/** An operation of one kind with data, and a second implementation's opinion of its result. */
export interface Example {
  readonly kind: Kind
  readonly data: Uint8Array
  operation(session: Session, data: DataSource): Operation<unknown>
  /** For a caller that goes call by call; absent: a search. */
  readonly spec?: RawOperationSpec
  /** What is verified. */
  readonly signature?: Uint8Array
  /** By node:crypto. `input`: what went in, if not all of the data. */
  readonly isRight: (result: unknown, input?: Uint8Array) => boolean
}

/** What is searched: a certificate and its keys. */
const searched = { [CKA.ID]: Uint8Array.of(1) }

/** The examples of all kinds, with the RSA key of PIV slot 9A and an AES session key; the login and the keys last as long as the session. */
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
  const through = (cipher: Cipher | Decipher, input: Uint8Array): Uint8Array =>
    Buffer.concat([cipher.update(input), cipher.final()])
  const encrypt = (input: Uint8Array): Uint8Array => through(createCipheriv('aes-256-cbc', value, iv), input)
  const decrypt = (input: Uint8Array): Uint8Array =>
    through(createDecipheriv('aes-256-cbc', value, iv), input)
  const [cbc, digest] = [{ type: CKM.AES_CBC_PAD, iv }, { type: CKM.SHA256 }]
  const [rsa, recover] = [{ type: CKM.SHA256_RSA_PKCS }, { type: CKM.RSA_PKCS }]
  // The private key never leaves the card: it makes what is verified, and node:crypto says whether that is right.
  const signature = await session.sign(rsa, privateKey, data)
  const recoverable = await session.sign(recover, privateKey, data)
  const isSignature = (bytes: Uint8Array, input: Uint8Array): boolean =>
    createVerify('sha256').update(input).verify(spki, bytes)
  const all: Readonly<Record<Kind, Omit<Example, 'kind'>>> = {
    search: {
      data: new Uint8Array(0),
      operation: (own) => own.findObjects(searched),
      isRight: (found) => isIdentity(found as readonly CkObject[]),
    },
    encrypt: {
      data,
      operation: (own, source) => own.encrypt(cbc, aes, source),
      spec: { type: 'encrypt', mechanism: cbc, key: aes },
      isRight: (result, input = data) => isSame(result, encrypt(input)),
    },
    decrypt: {
      data: encrypt(data),
      operation: (own, source) => own.decrypt(cbc, aes, source),
      spec: { type: 'decrypt', mechanism: cbc, key: aes },
      isRight: (result, input = encrypt(data)) => isSame(result, decrypt(input)),
    },
    digest: {
      data,
      operation: (own, source) => own.digest(digest, source),
      spec: { type: 'digest', mechanism: digest },
      isRight: (result, input = data) => isSame(result, createHash('sha256').update(input).digest()),
    },
    sign: {
      data,
      operation: (own, source) => own.sign(rsa, privateKey, source),
      spec: { type: 'sign', mechanism: rsa, key: privateKey },
      isRight: (result, input = data) => isSignature(result as Uint8Array, input),
    },
    'sign-recover': {
      data,
      operation: (own, source) => own.signRecover(recover, privateKey, source),
      spec: { type: 'sign-recover', mechanism: recover, key: privateKey },
      isRight: (result, input = data) => isSame(publicDecrypt(spki, result as Uint8Array), input),
    },
    verify: {
      data,
      operation: (own, source) => own.verify(rsa, publicKey, source, signature),
      spec: { type: 'verify', mechanism: rsa, key: publicKey },
      signature,
      isRight: (result, input = data) => result === true && isSignature(signature, input),
    },
    'verify-recover': {
      data: recoverable,
      operation: (own, source) => own.verifyRecover(recover, publicKey, source),
      spec: { type: 'verify-recover', mechanism: recover, key: publicKey },
      isRight: (result, input = recoverable) => isSame(result, publicDecrypt(spki, input)),
    },
  }
  const named = kinds.map((kind) => [kind, { kind, ...all[kind], isRight: orNot(all[kind].isRight) }])
  return Object.fromEntries(named) as Readonly<Record<Kind, Example>>
}

/** node:crypto throws if there is no such result. */
function orNot(isRight: Example['isRight']): Example['isRight'] {
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

/** A certificate, its public and its private key: node:crypto reads the same key from the certificate. */
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
 * Runs the example to its end. Init is made in this call. `atHalf` is called when half of the data have been taken, and what
 * it returns is waited for; by a search, when it has found the first object, and without a wait unless it goes call by call.
 */
export async function play(
  example: Example,
  session: Session,
  way: Way,
  atHalf: () => unknown = () => {},
): Promise<unknown> {
  const { kind, data, spec, signature } = example
  const half = data.length >> 1
  if (way === 'calls' && spec === undefined) {
    const search = session.beginSearch(searched)
    const found = [...(await search.next(1))]
    await atHalf()
    found.push(...(await search.next(10)))
    search.final()
    return found
  }
  if (way === 'calls' && spec !== undefined) {
    const [active] = session.begin(spec)
    if (active === undefined) throw new Error('Nothing was begun.')
    const parts = [await active.update(data.subarray(0, half))]
    await atHalf()
    parts.push(await active.update(data.subarray(half)))
    parts.push(await active.final(signature === undefined ? {} : { signature }))
    return kind === 'verify' ? true : new Uint8Array(Buffer.concat(parts))
  }
  async function* halves(): AsyncGenerator<Uint8Array> {
    yield data.subarray(0, half)
    await atHalf()
    yield data.subarray(half)
  }
  let isFirst = true
  const onEvent = ({ phase }: OperationEvent<unknown>): void => {
    if (phase !== 'found' || !isFirst) return
    isFirst = false
    atHalf()
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

/** What one cell came to. */
export interface Cell {
  readonly first: Kind
  readonly second: Kind
  readonly dual: boolean
  /** What the second Init was answered. */
  readonly answer: string
  /** Why it does not follow the standard; undefined: it does. */
  readonly complaint?: string
}

/** Plays one cell, on sessions of its own, in each way. `dual` is how the slot's library was made. */
export async function playCell(
  slot: Slot,
  [first, second]: readonly [Example, Example],
  dual: boolean,
): Promise<Cell> {
  const expected = mayStandBeside(first.kind, second.kind, dual) ? 'CKR_OK' : 'CKR_OPERATION_ACTIVE'
  let answer = 'nothing'
  for (const way of ways) {
    const session = await slot.openSession()
    let active: readonly string[] = []
    let other: Promise<Outcome> | undefined
    const one = await outcomeOf(
      play(first, session, way, () => {
        other = outcomeOf(play(second, session, way))
        active = session.active
      }),
    )
    const two = await other
    answer = two?.answer ?? answer
    const complaints = [
      ...complaintsAbout(first, one),
      ...(answer === 'CKR_OK' && two !== undefined ? complaintsAbout(second, two) : []),
      ...(answer === expected ? [] : [`${second.kind} was answered ${answer}, not ${expected}`]),
      ...(active.length === (expected === 'CKR_OK' ? 2 : 1) ? [] : [`active then: ${active.join(', ')}`]),
      ...(session.active.length === 0 ? [] : [`active in the end: ${session.active.join(', ')}`]),
    ]
    await session.close()
    const cell = { first: first.kind, second: second.kind, dual, answer }
    if (complaints.length > 0) return { ...cell, complaint: `by ${way}: ${complaints.join('; ')}` }
  }
  return { first: first.kind, second: second.kind, dual, answer }
}

interface Outcome {
  readonly answer: string
  readonly result?: unknown
}

function outcomeOf(running: Promise<unknown>): Promise<Outcome> {
  return running.then(
    (result) => ({ answer: 'CKR_OK', result }),
    (error: unknown) => ({ answer: error instanceof CryptokiError ? error.rvName : String(error) }),
  )
}

function complaintsAbout(example: Example, { answer, result }: Outcome): readonly string[] {
  if (answer !== 'CKR_OK') return [`${example.kind} ended with ${answer}`]
  return example.isRight(result) ? [] : [`node:crypto finds another result of ${example.kind}`]
}
