/** What a site says when it makes its verifier. Whatever would refuse everybody later, or let somebody in, is refused at once. */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { notChecked } from '@webtoki/trust'
import { PathMemory } from '@webtoki/trust/path'
import { LoginArgumentError } from '../argument-error.ts'
import type { NonceStore } from './nonces.ts'

/** Says whether a certificate was revoked. `path` is in DER, leaf first. */
export type RevocationCheck = (path: readonly Uint8Array[]) => Promise<'good' | 'revoked' | 'unknown'>

/** All that could be forgotten is required. */
export interface LoginVerifierOptions {
  /**
   * The site's own, as browsers print it: 'https://example.org' or 'isolated-app://…', no path, no slash at the end. http
   * is for localhost alone.
   */
  readonly origin: string
  /** The issuing CAs that are trusted, in DER; at least one. */
  readonly anchors: readonly ByteSource[]
  readonly intermediates?: readonly ByteSource[] | undefined
  readonly revocation: RevocationCheck | typeof notChecked
  readonly nonces: NonceStore
  /** Certificate policies that are not accepted, as object identifiers. */
  readonly disallowedPolicies?: readonly string[] | undefined
  readonly now?: (() => Date) | undefined
}

/** Options that can be used as they are. */
interface CheckedOptions {
  readonly origin: string
  readonly anchors: readonly Uint8Array[]
  readonly intermediates: readonly Uint8Array[]
  /** Holds the anchors, read. */
  readonly issuers: PathMemory
  readonly revocation: RevocationCheck | typeof notChecked
  readonly nonces: NonceStore
  readonly disallowedPolicies: readonly string[]
  readonly now: () => Date
}

/** Throws LoginArgumentError, which names the option. Copies: what a site said when the verifier was made counts. */
export function checkedOptions(options: LoginVerifierOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw new LoginArgumentError('options', 'an object')
  const { origin, anchors, intermediates = [], revocation, nonces, disallowedPolicies = [] } = options
  const { now = () => new Date() } = options
  if (!isOrigin(origin)) {
    const came = typeof origin === 'string' ? `, not '${origin as string}'` : ''
    throw new LoginArgumentError('origin', `an origin as browsers print it${came}`)
  }
  if (!isSecure(origin))
    throw new LoginArgumentError(
      'origin',
      `https: '${origin}' is reached without encryption, and http is for localhost alone`,
    )
  if (revocation !== notChecked && typeof revocation !== 'function')
    throw new LoginArgumentError(
      'revocation',
      'a function that says whether a certificate was revoked, or notChecked',
    )
  if (!isStore(nonces)) throw new LoginArgumentError('nonces', 'a store with issue, issued and take')
  if (!Array.isArray(anchors) || anchors.length === 0)
    throw new LoginArgumentError(
      'anchors',
      'a list of certificates in DER, at least one: nobody else is let in',
    )
  if (!Array.isArray(intermediates))
    throw new LoginArgumentError('intermediates', 'a list of certificates in DER')
  if (!Array.isArray(disallowedPolicies) || !disallowedPolicies.every(isObjectIdentifier))
    throw new LoginArgumentError('disallowedPolicies', "a list of object identifiers, such as ['1.2.3.4']")
  if (typeof now !== 'function') throw new LoginArgumentError('now', 'a function')
  clock(now)
  const issuers = new PathMemory()
  return {
    origin,
    anchors: anchors.map((der, at) => readable(`anchors[${at}]`, der, issuers)),
    intermediates: intermediates.map((der, at) => readable(`intermediates[${at}]`, der, new PathMemory())),
    issuers,
    revocation,
    nonces,
    disallowedPolicies: [...disallowedPolicies],
    now: () => clock(now),
  }
}

/** Throws LoginArgumentError if it tells no moment: nothing is before or after that, so nothing would be expired. */
function clock(now: () => unknown): Date {
  const at = now()
  if (!(at instanceof Date) || Number.isNaN(at.getTime()))
    throw new LoginArgumentError('now', 'a function that returns a valid Date')
  return at
}

function readable(argument: string, der: ByteSource, memory: PathMemory): Uint8Array {
  try {
    return memory.read(der).der
  } catch (cause) {
    throw new LoginArgumentError(argument, 'an X.509 certificate in DER; PEM has to be decoded first', {
      cause,
    })
  }
}

function isStore(nonces: unknown): boolean {
  const store = (nonces ?? {}) as Partial<Record<keyof NonceStore, unknown>>
  return [store.issue, store.issued, store.take].every((each) => typeof each === 'function')
}

function isObjectIdentifier(text: unknown): boolean {
  return typeof text === 'string' && /^[0-2](\.(0|[1-9]\d*))+$/.test(text)
}

function isOrigin(text: unknown): boolean {
  if (typeof text !== 'string') return false
  // Of this scheme, the platform says 'null'.
  if (/^isolated-app:\/\/[a-z2-7]{56}$/.test(text)) return true
  try {
    return /^https?:/.test(text) && new URL(text).origin === text
  } catch {
    return false
  }
}

/** Browsers trust loopback as they trust https (W3C Secure Contexts, 3.1). */
function isSecure(origin: string): boolean {
  return (
    !origin.startsWith('http:') ||
    /^http:\/\/(localhost|[^/:]+\.localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(origin)
  )
}
