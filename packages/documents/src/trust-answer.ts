/** Whom the caller trusts. */
import { type ByteSource, copyOf, equalBytes, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { notChecked } from '@webtoki/trust'
import type { PathMemory } from '@webtoki/trust/path'
import { DocumentError } from './errors.ts'

/**
 * Whether a certificate is trusted. Yes is `true`, or a path in DER that begins with the certificate, as `verifyPath`
 * resolves to it. Whatever else comes is a no.
 */
export type TrustAnswer = boolean | readonly Uint8Array[]

/** Asked for a signer's certificate. Gets the others that are known, and a memory for `verifyPath`. */
export type AskTrust = (
  certificate: Uint8Array,
  others: readonly Uint8Array[],
  at: Date,
  memory: PathMemory,
) => Promise<TrustAnswer>

/** What came of asking. */
export interface Trust {
  readonly trust: 'trusted' | 'untrusted' | 'not-checked'
  /** Why it is not trusted. */
  readonly trustError?: unknown
  /** The path that `trust` resolved to, in DER, the signer's certificate first; empty if it named none. */
  readonly path: readonly Uint8Array[]
}

/** Asks `ask` once. Never rejects. */
export async function trustIn(
  der: Uint8Array,
  others: () => readonly Uint8Array[],
  ask: AskTrust | typeof notChecked,
  at: Date,
  memory: PathMemory,
): Promise<Trust> {
  if (ask === notChecked) return { trust: 'not-checked', path: [] }
  try {
    const answer: unknown = await ask(copyOf(der), others(), at, memory)
    if (answer === true) return { trust: 'trusted', path: [] }
    if (isPath(answer, der)) return { trust: 'trusted', path: answer.map(copyOf) }
    if (answer === false) throw new DocumentError('untrusted')
    const came = Array.isArray(answer) ? 'another path' : typeof answer
    throw new DocumentError('untrusted', {
      cause: new TypeError(
        `Yes is true, or a path that begins with the certificate; \`trust\` gave ${came}.`,
      ),
    })
  } catch (trustError) {
    return { trust: 'untrusted', trustError, path: [] }
  }
}

function isPath(answer: unknown, der: Uint8Array): answer is readonly ByteSource[] {
  if (!Array.isArray(answer) || !answer.every(isByteSource)) return false
  const [first] = answer
  return first !== undefined && equalBytes(viewOf(first), der)
}
