/** The signed bytes of a login: Web eID authentication token 1.0. The page and the server use the same function. */
import type { SignatureAlgorithm } from '@webtoki/crypto'

/** Web eID uses the algorithm names of JOSE. */
export type LoginAlgorithm = SignatureAlgorithm

/** The length of a nonce in base64. Web eID requires at least 256 bits. */
export const nonceCharacters = { min: 44, max: 128 } as const

/**
 * True for a string of a valid length. A store may return other values; as text, `null` and `{}` would be easy to
 * guess.
 */
export function isNonce(nonce: unknown): nonce is string {
  if (typeof nonce !== 'string') return false
  return nonce.length >= nonceCharacters.min && nonce.length <= nonceCharacters.max
}

/**
 * Returns H(origin) ‖ H(nonce), which the signature hashes again. The nonce is hashed as text, not decoded from base64.
 */
export async function statementOf(
  algorithm: LoginAlgorithm,
  origin: string,
  nonce: string,
): Promise<Uint8Array> {
  const { subtle } = crypto
  // Derived from the name, so that the page need not load the table of algorithms.
  const hash = `SHA-${algorithm.slice(2)}`
  const encoder = new TextEncoder()
  const [first, second] = await Promise.all(
    [origin, nonce].map(async (text) => new Uint8Array(await subtle.digest(hash, encoder.encode(text)))),
  )
  if (first === undefined || second === undefined) throw new TypeError('A digest is missing.')
  const statement = new Uint8Array(first.length + second.length)
  statement.set(first)
  statement.set(second, first.length)
  return statement
}
