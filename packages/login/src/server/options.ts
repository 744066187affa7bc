/**
 * The options of `createLoginVerifier`. Options that would refuse every login or skip a check are refused when it is
 * called.
 */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { notChecked } from '@webtoki/trust'
import { PathMemory } from '@webtoki/trust/path'
import { LoginArgumentError } from '../argument-error.ts'
import type { NonceStore } from './nonces.ts'

/** Returns the revocation status of a certificate. `path` is in DER, leaf first, anchor last. */
export type RevocationCheck = (path: readonly Uint8Array[]) => Promise<'good' | 'revoked' | 'unknown'>

/** The options of a verifier. Every option whose omission would skip a check is required. */
export interface LoginVerifierOptions {
  /**
   * The origin of the site as `location.origin` has it: 'https://example.org' or 'isolated-app://…', without a path or
   * a trailing slash. http is allowed for localhost only.
   */
  readonly origin: string
  /** The trusted issuing CAs, in DER; at least one. */
  readonly anchors: readonly ByteSource[]
  /** CA certificates between the anchors and the users' certificates, in DER. */
  readonly intermediates?: readonly ByteSource[] | undefined
  /** The revocation check, or `notChecked` to accept revoked certificates. */
  readonly revocation: RevocationCheck | typeof notChecked
  /** `memoryNonceStore()` or the site's own store. */
  readonly nonces: NonceStore
  /** Object identifiers of certificate policies that are refused. */
  readonly disallowedPolicies?: readonly string[] | undefined
  /** Returns the current time; default: the system clock. */
  readonly now?: (() => Date) | undefined
}

/** Options after validation, with copies of all certificates. */
interface CheckedOptions {
  readonly origin: string
  readonly anchors: readonly Uint8Array[]
  readonly intermediates: readonly Uint8Array[]
  /** A cache that contains the parsed anchors. */
  readonly issuers: PathMemory
  readonly revocation: RevocationCheck | typeof notChecked
  readonly nonces: NonceStore
  readonly disallowedPolicies: readonly string[]
  readonly now: () => Date
}

/**
 * Validates and copies the options, so that later changes by the caller have no effect. Throws LoginArgumentError,
 * which names the option.
 */
export function checkedOptions(options: LoginVerifierOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw new LoginArgumentError('options', 'an object')
  const { origin, anchors, intermediates = [], revocation, nonces, disallowedPolicies = [] } = options
  const { now = () => new Date() } = options
  if (!isOrigin(origin)) {
    const received = typeof origin === 'string' ? `, not '${origin as string}'` : ''
    throw new LoginArgumentError('origin', `an origin as in location.origin${received}`)
  }
  if (!isSecure(origin))
    throw new LoginArgumentError(
      'origin',
      `https: '${origin}' is not encrypted, and http is allowed for localhost only`,
    )
  if (revocation !== notChecked && typeof revocation !== 'function')
    throw new LoginArgumentError('revocation', 'a function that returns the revocation status, or notChecked')
  if (!isStore(nonces)) throw new LoginArgumentError('nonces', 'a store with issue, issued and take')
  if (!Array.isArray(anchors) || anchors.length === 0)
    throw new LoginArgumentError(
      'anchors',
      'a list of at least one certificate in DER; otherwise every login is refused',
    )
  if (!Array.isArray(intermediates))
    throw new LoginArgumentError('intermediates', 'a list of certificates in DER')
  if (!Array.isArray(disallowedPolicies) || !disallowedPolicies.every(isObjectIdentifier))
    throw new LoginArgumentError('disallowedPolicies', "a list of object identifiers, such as ['1.2.3.4']")
  if (typeof now !== 'function') throw new LoginArgumentError('now', 'a function')
  currentTime(now)
  const issuers = new PathMemory()
  return {
    origin,
    anchors: anchors.map((der, at) => readCertificate(`anchors[${at}]`, der, issuers)),
    intermediates: intermediates.map((der, at) =>
      readCertificate(`intermediates[${at}]`, der, new PathMemory()),
    ),
    issuers,
    revocation,
    nonces,
    disallowedPolicies: [...disallowedPolicies],
    now: () => currentTime(now),
  }
}

/**
 * Throws LoginArgumentError if `now` returns an invalid Date: every comparison with it is false, so nothing would be
 * expired.
 */
function currentTime(now: () => unknown): Date {
  const at = now()
  if (!(at instanceof Date) || Number.isNaN(at.getTime()))
    throw new LoginArgumentError('now', 'a function that returns a valid Date')
  return at
}

function readCertificate(argument: string, der: ByteSource, memory: PathMemory): Uint8Array {
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
  // For this scheme, `URL.origin` is 'null'.
  if (/^isolated-app:\/\/[a-z2-7]{56}$/.test(text)) return true
  try {
    return /^https?:/.test(text) && new URL(text).origin === text
  } catch {
    return false
  }
}

/** Like browsers, treats loopback addresses as secure (W3C Secure Contexts, 3.1). */
function isSecure(origin: string): boolean {
  return (
    !origin.startsWith('http:') ||
    /^http:\/\/(localhost|[^/:]+\.localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(origin)
  )
}
