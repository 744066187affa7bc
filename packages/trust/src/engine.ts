/** An engine for pkijs whose private key is a signer's: what pkijs can sign (CMS, requests, CRLs), a card can. */
import { CryptoEngine } from 'pkijs'
import { bufferOf, type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { schemeOf, webCryptoParameters } from '@webtoki/crypto'
import { requireBytes, requireOptions, requireSigner } from './arguments.ts'
import { TrustArgumentError } from './errors.ts'
import type { Signer, SignOptions } from './signer.ts'

/** What pkijs looks at in a private key: the names of algorithm and hash. It holds no key. */
export interface SignerKey {
  readonly type: 'private'
  readonly extractable: false
  readonly usages: 'sign'[]
  readonly algorithm: { readonly name: string; readonly hash?: { readonly name: string } }
}

/** Hand it to pkijs as the last argument of `sign`, with `privateKey` and `hash`; all but signing is the platform's. */
export class SignerEngine extends CryptoEngine {
  readonly privateKey: SignerKey
  /** As WebCrypto names it: the one that the signer's algorithm has. */
  readonly hash: string
  readonly #signer: Signer
  readonly #options: SignOptions

  /** Throws TrustArgumentError. */
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
      // WebCrypto's RSA keys are for one hash, its EC keys for any.
      algorithm: hash === undefined ? { name } : { name, hash: { name: hash } },
    }
  }

  /** Rejects with TrustArgumentError if pkijs asks for another key, or for another hash than the signer makes. */
  override async sign(algorithm: unknown, key: unknown, data: ByteSource): Promise<ArrayBuffer> {
    if (key !== this.privateKey)
      throw new TrustArgumentError('key', 'the privateKey of this engine, which signs with no other')
    const asked: unknown = (algorithm as { hash?: { name?: unknown } } | null)?.hash?.name
    if (String(asked).toUpperCase() !== this.hash) {
      const made = `${this.hash}, because the signer makes ${this.#signer.algorithm}: pass engine.hash`
      throw new TrustArgumentError('algorithm.hash', made)
    }
    requireBytes('data', data)
    return bufferOf(await this.#signer.sign(copyOf(data), this.#options))
  }
}
