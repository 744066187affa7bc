/** Calls the caller's trust function and validates its result. */
import { type ByteSource, copyOf, equalBytes, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { notChecked } from '@webtoki/trust'
import type { PathMemory } from '@webtoki/trust/path'
import { DocumentError } from './errors.ts'

/**
 * The result of a trust function. The certificate is trusted if it is `true`, or a path in DER that begins with the
 * certificate, such as `verifyPath` returns. With any other value it is not trusted.
 */
export type TrustResult = boolean | readonly Uint8Array[]

/**
 * Decides whether a signer's certificate is trusted. `others` are all other known certificates; `memory` is a cache for
 * `verifyPath`.
 */
export type TrustFunction = (
  certificate: Uint8Array,
  others: readonly Uint8Array[],
  at: Date,
  memory: PathMemory,
) => Promise<TrustResult>

/** Whether the certificate of a signer is trusted. */
export interface Trust {
  readonly trust: 'trusted' | 'untrusted' | 'not-checked'
  /** The error because of which it is not trusted. */
  readonly trustError?: unknown
  /** The path that `trust` resolved to, in DER, the signer's certificate first; empty if it resolved to `true`. */
  readonly path: readonly Uint8Array[]
}

/** Calls `ask` once. Never rejects: errors are in `trustError`. */
export async function evaluateTrust(
  der: Uint8Array,
  others: () => readonly Uint8Array[],
  ask: TrustFunction | typeof notChecked,
  at: Date,
  memory: PathMemory,
): Promise<Trust> {
  if (ask === notChecked) return { trust: 'not-checked', path: [] }
  try {
    const result: unknown = await ask(copyOf(der), others(), at, memory)
    if (result === true) return { trust: 'trusted', path: [] }
    if (isPath(result, der)) return { trust: 'trusted', path: result.map(copyOf) }
    if (result === false) throw new DocumentError('untrusted')
    const received = Array.isArray(result) ? 'another path' : typeof result
    throw new DocumentError('untrusted', {
      cause: new TypeError(
        `\`trust\` has to resolve to true, false or a path that begins with the certificate, not to ${received}.`,
      ),
    })
  } catch (trustError) {
    return { trust: 'untrusted', trustError, path: [] }
  }
}

function isPath(result: unknown, der: Uint8Array): result is readonly ByteSource[] {
  if (!Array.isArray(result) || !result.every(isByteSource)) return false
  const [first] = result
  return first !== undefined && equalBytes(viewOf(first), der)
}
