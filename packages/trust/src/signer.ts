/** A key that signs: on a card, in an extension, or in software (algorithm names of RFC 7518, 3.1). */

import { isByteSource } from '@webtoki/apdu/bytes'
import { type SignatureAlgorithm, signatureAlgorithms } from '@webtoki/crypto'

/** The part of `AbortSignal` that a signer looks at; an `AbortSignal` is one. */
export interface SignSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Options of one signature. */
export interface SignOptions {
  readonly signal?: SignSignal | undefined
}

/** Whoever can sign with the private key of a certificate. */
export interface Signer {
  /** X.509 in DER. */
  readonly certificate: Uint8Array
  /** Certificates between it and the root, in DER, without the root; may be empty. */
  readonly chain: readonly Uint8Array[]
  readonly algorithm: SignatureAlgorithm
  /** Hashes the bytes by the algorithm and signs. ECDSA as r‖s (RFC 7518, 3.4). */
  sign(bytes: Uint8Array, options?: SignOptions): Promise<Uint8Array>
}

/** Why a value is not a signer: which argument, and what it has to be. Undefined if it is one. */
export function signerFault(value: unknown): readonly [argument: string, what: string] | undefined {
  // A signer may be of a class, whose members are not its own.
  const { certificate, chain, algorithm, sign } = (value ?? {}) as {
    readonly [name in keyof Signer]?: unknown
  }
  const isSigner = isByteSource(certificate) && Array.isArray(chain) && typeof sign === 'function'
  if (!isSigner || !chain.every(isByteSource))
    return ['signer', 'an object with certificate, chain, algorithm and sign']
  if ((signatureAlgorithms as readonly unknown[]).includes(algorithm)) return undefined
  return ['signer.algorithm', `one of ${signatureAlgorithms.join(', ')}`]
}
