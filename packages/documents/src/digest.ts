/** A document's digest, in constant memory. */
import { type HashName, hashes } from '@webtoki/crypto'
import { hashNow } from '@webtoki/crypto/hash-now'
import { copyOf, isByteSource } from '@webtoki/apdu/bytes'
import { claimOnce, isThereOnce } from '@webtoki/apdu/source'
import { requireOptions, wrongArgument } from './arguments.ts'
import { documentAtCall, type DocumentData, piecesOf, type ReadOptions } from './data.ts'
import { DocumentError } from './errors.ts'

export type { HashName }

/** The hashes of signatures that are made here: others are rare, and a site's worker need not have them. */
const elsewhere = ['SHA-256', 'SHA-384', 'SHA-512'] as const
type ElsewhereHash = (typeof elsewhere)[number]

/** Hashes a document in another place, such as a worker. Resolves to the digest: 32, 48 or 64 bytes. */
export type DigestElsewhere = (
  name: ElsewhereHash,
  data: DocumentData,
  options: ReadOptions,
) => Promise<Uint8Array>

/**
 * Asks the site's function. What is not a digest is refused before anybody signs it, or compares it with an attribute
 * that a signer left empty. Rejects with DocumentError 'unreadable'.
 */
async function digestElsewhere(
  digest: DigestElsewhere,
  name: ElsewhereHash,
  data: DocumentData,
  options: ReadOptions,
): Promise<Uint8Array> {
  const answer: unknown = await digest(name, data, options)
  if (isByteSource(answer) && answer.byteLength === hashes[name].bytes) return copyOf(answer)
  throw new DocumentError('unreadable', {
    cause: new TypeError(`\`digest\` has to resolve to the ${hashes[name].bytes} bytes of ${name}.`),
  })
}

/** One reading for several hashes. Rejects with DocumentError 'wrong-argument', 'already-read', 'unreadable' and 'cancelled'. */
export async function digestDocument<N extends HashName>(
  names: readonly N[],
  data: DocumentData,
  options: ReadOptions = {},
): Promise<Readonly<Record<N, Uint8Array>>> {
  requireOptions(options)
  if (!Array.isArray(names) || !names.every((name) => Object.hasOwn(hashes, name)))
    throw wrongArgument('names', `a list of hashes: ${Object.keys(hashes).join(', ')}`)
  return digestPieces(names, documentAtCall(data), options)
}

async function digestPieces<N extends HashName>(
  names: readonly N[],
  own: DocumentData,
  options: ReadOptions,
): Promise<Readonly<Record<N, Uint8Array>>> {
  // Claimed before anything is waited for.
  const pieces = piecesOf(own, options)
  const { createLongDigest } = await import('@webtoki/crypto/streaming-digest')
  const hashers = await Promise.all(names.map(async (name) => [name, await createLongDigest(name)] as const))
  for await (const piece of pieces) for (const [, hasher] of hashers) hasher.update(piece)
  return Object.fromEntries(hashers.map(([name, hasher]) => [name, hasher.digest()])) as Record<N, Uint8Array>
}

/**
 * The same of a document that `documentAtCall` has let pass, by `options.digest` if there is one, which is asked once for
 * each hash. If one of them is not SHA-2 of 256 bits or more, all are made here.
 */
export async function digestsOf<N extends HashName>(
  names: readonly N[],
  data: DocumentData,
  options: ReadOptions & { readonly digest?: DigestElsewhere | undefined },
): Promise<Readonly<Record<N, Uint8Array>>> {
  const { digest } = options
  const once = isThereOnce(data)
  // What can be read one time only cannot be handed over for a second hash.
  const asked: readonly HashName[] = names
  if (digest === undefined || !asked.every(isElsewhere) || (once && names.length > 1))
    return digestPieces(names, data, options)
  const digests: Partial<Record<HashName, Uint8Array>> = {}
  try {
    for (const name of asked) digests[name] = await digestElsewhere(digest, name, data, options)
  } finally {
    if (once) claimOnce(data)
  }
  return digests as Record<N, Uint8Array>
}

function isElsewhere(name: HashName): name is ElsewhereHash {
  return (elsewhere as readonly HashName[]).includes(name)
}

/** A digest of something small. */
export function hash(name: HashName, bytes: Uint8Array): Uint8Array {
  return hashNow(name, bytes)
}
