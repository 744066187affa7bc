/** Parses the token that the page sent. It checks structure and sizes only; nothing in the result is trusted yet. */
import { signatureAlgorithms } from '@webtoki/crypto'
import type { LoginAlgorithm } from '../statement.ts'
import { LoginError } from './errors.ts'

/** A well-formed token. */
export interface ReadToken {
  readonly algorithm: LoginAlgorithm
  readonly certificate: Uint8Array
  readonly signature: Uint8Array
}

const MIN_TOKEN = 100
const MAX_TOKEN = 10_000

/** Parses a token. Throws LoginError 'format' and 'algorithm'. */
export function readToken(text: string): ReadToken {
  if (typeof text !== 'string' || text.length < MIN_TOKEN || text.length > MAX_TOKEN)
    throw new LoginError('format')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new LoginError('format', { cause })
  }
  if (typeof parsed !== 'object' || parsed === null) throw new LoginError('format')
  const { format, algorithm, unverifiedCertificate, signature } = parsed as Record<string, unknown>
  if (typeof format !== 'string' || !/^web-eid:1(\.\d{1,9})?$/.test(format)) throw new LoginError('format')
  if (!signatureAlgorithms.includes(algorithm as LoginAlgorithm)) throw new LoginError('algorithm')
  return {
    algorithm: algorithm as LoginAlgorithm,
    certificate: fromBase64(unverifiedCertificate),
    signature: fromBase64(signature),
  }
}

function fromBase64(text: unknown): Uint8Array {
  if (typeof text !== 'string' || text === '' || text.length % 4 !== 0) throw new LoginError('format')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new LoginError('format')
  const binary = atob(text)
  // The unused bits of the last character must be zero. Otherwise one signature would have several encodings.
  if (btoa(binary) !== text) throw new LoginError('format')
  return Uint8Array.from(binary, (character) => character.charCodeAt(0))
}
