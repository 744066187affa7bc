/** A pkijs crypto engine that signs with a `Signer`, so that a card can sign CMS, certificate requests and CRLs. */
import { CryptoEngine } from 'pkijs'
import { bufferOf, type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { schemeOf, webCryptoParameters } from '@webtoki/crypto'
import { requireBytes, requireOptions, requireSigner } from './arguments.ts'
import { TrustArgumentError } from './errors.ts'
import type { Signer, SignOptions } from './signer.ts'

/** The members of a private key that pkijs reads: the names of algorithm and hash. It holds no key material. */
export interface SignerKey {
  readonly type: 'private'
  readonly extractable: false
  readonly usages: 'sign'[]
  readonly algorithm: { readonly name: string; readonly hash?: { readonly name: string } }
}

/**
 * Pass it to pkijs as the last argument of `sign`, together with `privateKey` and `hash`. The platform's WebCrypto does
 * everything except signing.
 */
export class SignerEngine extends CryptoEngine {
  readonly privateKey: SignerKey
  /** The hash of the signer's algorithm, as WebCrypto names it. */
  readonly hash: string
  readonly #signer: Signer
  readonly #options: SignOptions

  /** `options` go to every call of `signer.sign`. Throws TrustArgumentError. */
  constructor(signer: Signer, options: SignOptions = {}) {
    requireSigner(signer)
    requireOptions('options', options)
    super({
      name: 'webtoki',
      crypto: crypto as unknown as ConstructorParameters<typeof CryptoEngine>[0]['crypto'],
    })
    this.#signer = signer
    this.#options = options
    const scheme = schemeOf(signer.algorithm)
    const { name, hash } = webCryptoParameters(scheme, undefined).key
    this.hash = scheme.hash
    this.privateKey = {
      type: 'private',
      extractable: false,
      usages: ['sign'],
      // In WebCrypto an RSA key belongs to one hash, an EC key to none.
      algorithm: hash === undefined ? { name } : { name, hash: { name: hash } },
    }
  }

  /** Rejects with TrustArgumentError if pkijs passes another key, or requests a hash other than the signer's. */
  override async sign(algorithm: unknown, key: unknown, data: ByteSource): Promise<ArrayBuffer> {
    if (key !== this.privateKey)
      throw new TrustArgumentError('key', 'the privateKey of this engine; it signs with no other key')
    const requestedHash: unknown = (algorithm as { hash?: { name?: unknown } } | null)?.hash?.name
    if (String(requestedHash).toUpperCase() !== this.hash) {
      const requirement = `${this.hash}, because the signer uses ${this.#signer.algorithm}; pass engine.hash`
      throw new TrustArgumentError('algorithm.hash', requirement)
    }
    requireBytes('data', data)
    return bufferOf(await this.#signer.sign(copyOf(data), this.#options))
  }
}
