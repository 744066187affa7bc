/** The work of one operation between Init and Final: what each chunk does to it, and what it ends in. */
import { copyOf } from '@webtoki/apdu'
import { CKA, CKR } from './constants.ts'
import { StreamingDigest } from './digest.ts'
import type { DigestName } from './digest-name.ts'
import { CryptokiError } from './errors.ts'
import type { Insertion } from './insertion.ts'
import { type Mechanism, type SignMechanism, signMechanism } from './mechanisms.ts'
import type { CkObject } from './object.ts'
import type { Progress } from './operation.ts'
import type { PinSource } from './pin.ts'
import type { TokenCipher, TokenObject } from './token.ts'

/** Update and Final. What `update` returns is the operation's output: bytes for ciphers, nothing for others. */
export interface Stage<T> {
  update(chunk: Uint8Array): Promise<Uint8Array | undefined>
  /** `output` is told what a cipher puts out last; `finish` comes after it, when the other half has had that too. */
  final(): Promise<Uint8Array | undefined>
  finish(): Promise<T>
}

/** No mechanism that takes its data in one piece takes more than a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

/** A digest is its own result. */
export class DigestStage implements Stage<Uint8Array> {
  readonly #digest: StreamingDigest

  constructor(name: DigestName) {
    this.#digest = new StreamingDigest(name)
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    await this.#digest.update(chunk)
  }

  async final(): Promise<undefined> {}

  async finish(): Promise<Uint8Array> {
    return this.#digest.digest()
  }
}

/** What signing and verifying share: the message's hash, or the message where the mechanism hashes nothing. */
class Message {
  /** The hash that `take` gives; undefined: the message itself. */
  readonly hash: SignMechanism['hash']
  readonly #digest: StreamingDigest | undefined
  #collected: Uint8Array = new Uint8Array(0)

  constructor(mechanism: Mechanism) {
    this.hash = signMechanism(mechanism.type)?.hash
    this.#digest = this.hash === undefined ? undefined : new StreamingDigest(this.hash)
  }

  async update(chunk: Uint8Array): Promise<void> {
    if (this.#digest !== undefined) {
      await this.#digest.update(chunk)
      return
    }
    const bytes = this.#collected.length + chunk.length
    if (bytes > MAX_COLLECTED_BYTES) throw new CryptokiError(CKR.DATA_LEN_RANGE)
    const grown = new Uint8Array(bytes)
    grown.set(this.#collected)
    grown.set(chunk, this.#collected.length)
    this.#collected = grown
  }

  async take(): Promise<Uint8Array> {
    return (await this.#digest?.digest()) ?? this.#collected
  }
}

/** Everything that a signature needs and that Init has checked. */
export interface Signing {
  readonly insertion: Insertion
  readonly mechanism: Mechanism
  readonly key: CkObject
  readonly source: TokenObject
  readonly pin: PinSource | undefined
  /** Logs in first where nobody is; undefined: the session wants an explicit login. */
  readonly login: ((pin: PinSource, progress: Progress) => Promise<void>) | undefined
}

/** Hashes on the host, signs on the card. */
export class SignStage implements Stage<Uint8Array> {
  readonly #signing: Signing
  readonly #progress: Progress
  readonly #message: Message

  constructor(signing: Signing, progress: Progress) {
    this.#signing = signing
    this.#progress = progress
    this.#message = new Message(signing.mechanism)
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    await this.#message.update(chunk)
  }

  async final(): Promise<undefined> {}

  async finish(): Promise<Uint8Array> {
    const { insertion, mechanism, key, source, pin, login } = this.#signing
    const progress = this.#progress
    const always = key.attributes[CKA.ALWAYS_AUTHENTICATE] === true
    const needsLogin = !always && key.isPrivate && !insertion.isVerified
    if (needsLogin && (login === undefined || pin === undefined))
      throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    progress.check()
    // Before a login it is the person's turn.
    if (!needsLogin) progress.tell({ phase: 'awaiting-card', why: 'working' })
    const { hash } = this.#message
    const data = await this.#message.take()
    const logIn = async (): Promise<void> => {
      if (login !== undefined && pin !== undefined) await login(thenWorking(pin, progress), progress)
      progress.check()
    }
    return insertion.token.sign(
      {
        object: source,
        mechanism,
        data,
        ...(hash === undefined ? {} : { digested: hash }),
        ...(always && pin !== undefined ? { contextPin: thenWorking(pin, progress) } : {}),
        ...(needsLogin ? { logIn } : {}),
      },
      { ...progress.transmitOptions, onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }) },
    )
  }
}

/** With the PIN given, it is the card's turn again. */
function thenWorking(pin: PinSource, progress: Progress): PinSource {
  return async (request) => {
    const answer = await pin(request)
    progress.tell({ phase: 'awaiting-card', why: 'working' })
    return answer
  }
}

/** Verifies in software: a public key is no secret, and the card would only be slower. */
export class VerifyStage implements Stage<true> {
  readonly #mechanism: Mechanism
  readonly #key: CkObject
  readonly #signature: Uint8Array
  readonly #message: Message

  constructor(mechanism: Mechanism, key: CkObject, signature: Uint8Array) {
    this.#mechanism = mechanism
    this.#key = key
    this.#signature = signature
    this.#message = new Message(mechanism)
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    await this.#message.update(chunk)
  }

  async final(): Promise<undefined> {}

  async finish(): Promise<true> {
    // Loaded for those who verify: the curves are most of this package's weight.
    const { verifySignature } = await import('./verify.ts')
    const isValid = verifySignature(
      this.#key.attributes,
      this.#mechanism,
      await this.#message.take(),
      this.#signature,
    )
    if (!isValid) throw new CryptokiError(CKR.SIGNATURE_INVALID)
    return true
  }
}

/** Encryption and decryption, in the token's own pieces. */
export class CipherStage implements Stage<number> {
  readonly #cipher: TokenCipher
  readonly #progress: Progress
  #outputBytes = 0

  constructor(cipher: TokenCipher, progress: Progress) {
    this.#cipher = cipher
    this.#progress = progress
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    return this.#put(await this.#cipher.update(chunk, this.#progress.transmitOptions))
  }

  async final(): Promise<Uint8Array> {
    return this.#put(await this.#cipher.final(this.#progress.transmitOptions))
  }

  async finish(): Promise<number> {
    return this.#outputBytes
  }

  #put(output: Uint8Array): Uint8Array {
    this.#progress.check()
    this.#outputBytes += output.length
    // A copy: the other half of a pair takes what was put out, and not what a listener made of it.
    if (output.length > 0) this.#progress.tell({ phase: 'output', chunk: copyOf(output) })
    return output
  }
}
