/** What is signed: Web eID's format, the same function in the page and on the server. */
import type { SignatureAlgorithm } from '@webtoki/crypto'

/** Web eID's algorithms are JOSE's. */
export type LoginAlgorithm = SignatureAlgorithm

/** In base64: 256 bits at least (Web eID). */
export const nonceCharacters = { min: 44, max: 128 } as const

/** False for whatever else a store may answer: written as text, `null` and `{}` are easily guessed. */
export function isNonce(nonce: unknown): nonce is string {
  if (typeof nonce !== 'string') return false
  return nonce.length >= nonceCharacters.min && nonce.length <= nonceCharacters.max
}

/** The part of the platform that this needs, for rooms without DOM types. */
/** H(origin) ‖ H(nonce); the signature's own hash comes over these. The nonce is hashed as the string that it is. */
export async function statementOf(
  algorithm: LoginAlgorithm,
  origin: string,
  nonce: string,
): Promise<Uint8Array> {
  const { subtle } = crypto
  // As the registry has it; the page need not load that for the three digits.
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
