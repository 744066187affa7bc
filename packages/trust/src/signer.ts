/**
 * The signer port: a private key on a card, in an extension or in software, with the algorithm names of RFC 7518, 3.1.
 */

import { isByteSource } from '@webtoki/apdu/bytes'
import { type SignatureAlgorithm, signatureAlgorithms } from '@webtoki/crypto'

/** The members of `AbortSignal` that a signer uses. An `AbortSignal` implements it. */
export interface SignSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Options of one signature. */
export interface SignOptions {
  /** Aborts the signature. */
  readonly signal?: SignSignal | undefined
}

/** Signs with the private key of a certificate. */
export interface Signer {
  /** X.509 in DER. */
  readonly certificate: Uint8Array
  /** Intermediate certificates in DER, without the root; may be empty. */
  readonly chain: readonly Uint8Array[]
  readonly algorithm: SignatureAlgorithm
  /** Hashes the bytes with the algorithm's hash and signs. An ECDSA signature is r‖s (RFC 7518, 3.4). */
  sign(bytes: Uint8Array, options?: SignOptions): Promise<Uint8Array>
}

/**
 * Returns the member of a value that keeps it from being a `Signer` and what it has to be; undefined if it is a
 * `Signer`.
 */
export function signerFault(value: unknown): readonly [argument: string, what: string] | undefined {
  // Destructuring also reads inherited members, which a signer that is a class instance has.
  const { certificate, chain, algorithm, sign } = (value ?? {}) as {
    readonly [name in keyof Signer]?: unknown
  }
  const isSigner = isByteSource(certificate) && Array.isArray(chain) && typeof sign === 'function'
  if (!isSigner || !chain.every(isByteSource))
    return ['signer', 'an object with certificate, chain, algorithm and sign']
  if ((signatureAlgorithms as readonly unknown[]).includes(algorithm)) return undefined
  return ['signer.algorithm', `one of ${signatureAlgorithms.join(', ')}`]
}
