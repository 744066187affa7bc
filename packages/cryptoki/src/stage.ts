/** The work of one operation between Init and Final: what each chunk does to it, and what it ends in. */
import { CKA, CKR } from './constants.ts'
import { createDigest, type DigestName, type StreamingDigest } from './digest.ts'
import { CryptokiError } from './errors.ts'
import type { Insertion } from './insertion.ts'
import { type Mechanism, type SignMechanism, signMechanism } from './mechanisms.ts'
import type { CkObject } from './object.ts'
import type { Progress } from './operation.ts'
import type { PinSource } from './pin.ts'
import type { TokenCipher, TokenObject } from './token.ts'
import { verifySignature } from './verify.ts'

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

  private constructor(digest: StreamingDigest) {
    this.#digest = digest
  }

  static async begin(name: DigestName): Promise<DigestStage> {
    return new DigestStage(await createDigest(name))
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    this.#digest.update(chunk)
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
  #digest: StreamingDigest | undefined
  #collected: Uint8Array = new Uint8Array(0)

  private constructor(hash: SignMechanism['hash'], digest: StreamingDigest | undefined) {
    this.hash = hash
    this.#digest = digest
  }

  static async begin(mechanism: Mechanism): Promise<Message> {
    const hash = signMechanism(mechanism.type)?.hash
    return new Message(hash, hash === undefined ? undefined : await createDigest(hash))
  }

  update(chunk: Uint8Array): void {
    if (this.#digest !== undefined) {
      this.#digest.update(chunk)
      return
    }
    const bytes = this.#collected.length + chunk.length
    if (bytes > MAX_COLLECTED_BYTES) throw new CryptokiError(CKR.DATA_LEN_RANGE)
    const grown = new Uint8Array(bytes)
    grown.set(this.#collected)
    grown.set(chunk, this.#collected.length)
    this.#collected = grown
  }

  take(): Uint8Array {
    return this.#digest?.digest() ?? this.#collected
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

  private constructor(signing: Signing, progress: Progress, message: Message) {
    this.#signing = signing
    this.#progress = progress
    this.#message = message
  }

  static async begin(signing: Signing, progress: Progress): Promise<SignStage> {
    return new SignStage(signing, progress, await Message.begin(signing.mechanism))
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    this.#message.update(chunk)
  }

  async final(): Promise<undefined> {}

  async finish(): Promise<Uint8Array> {
    const { insertion, mechanism, key, source, pin, login } = this.#signing
    const progress = this.#progress
    const always = key.attributes[CKA.ALWAYS_AUTHENTICATE] === true
    if (always && pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    if (!always && key.isPrivate && insertion.user === undefined) {
      if (login === undefined || pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
      await login(pin, progress)
    }
    progress.check()
    progress.tell({ phase: 'awaiting-card', why: 'working' })
    const { hash } = this.#message
    return insertion.token.sign(
      {
        object: source,
        mechanism,
        data: this.#message.take(),
        ...(hash === undefined ? {} : { digested: hash }),
        ...(always && pin !== undefined ? { contextPin: pin } : {}),
      },
      { ...progress.transmitOptions, onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }) },
    )
  }
}

/** Verifies in software: a public key is no secret, and the card would only be slower. */
export class VerifyStage implements Stage<void> {
  readonly #mechanism: Mechanism
  readonly #key: CkObject
  readonly #signature: Uint8Array
  readonly #message: Message

  private constructor(mechanism: Mechanism, key: CkObject, signature: Uint8Array, message: Message) {
    this.#mechanism = mechanism
    this.#key = key
    this.#signature = signature
    this.#message = message
  }

  static async begin(mechanism: Mechanism, key: CkObject, signature: Uint8Array): Promise<VerifyStage> {
    return new VerifyStage(mechanism, key, signature.slice(), await Message.begin(mechanism))
  }

  async update(chunk: Uint8Array): Promise<undefined> {
    this.#message.update(chunk)
  }

  async final(): Promise<undefined> {}

  async finish(): Promise<void> {
    const isValid = verifySignature(
      this.#key.attributes,
      this.#mechanism,
      this.#message.take(),
      this.#signature,
    )
    if (!isValid) throw new CryptokiError(CKR.SIGNATURE_INVALID)
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
    if (output.length > 0) this.#progress.tell({ phase: 'output', chunk: output })
    return output
  }
}
