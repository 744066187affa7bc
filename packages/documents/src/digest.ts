/** Computes digests of a document in constant memory. */
import { type HashName, hashes } from '@webtoki/crypto'
import { hashNow } from '@webtoki/crypto/hash-now'
import { copyOf, isByteSource } from '@webtoki/apdu/bytes'
import { claimOnce, isSingleUse } from '@webtoki/apdu/source'
import { requireOptions, wrongArgument } from './arguments.ts'
import { documentAtCall, type DocumentData, piecesOf, type ReadOptions } from './data.ts'
import { DocumentError } from './errors.ts'

export type { HashName }

/** The hashes that `options.digest` may be called with. A site's worker need not implement others, which are rare. */
const externalHashes = ['SHA-256', 'SHA-384', 'SHA-512'] as const
type ExternalHash = (typeof externalHashes)[number]

/** Hashes a document elsewhere, for example in a worker. Resolves to the digest of 32, 48 or 64 bytes. */
export type DigestFunction = (
  name: ExternalHash,
  data: DocumentData,
  options: ReadOptions,
) => Promise<Uint8Array>

/**
 * Calls the site's function and checks the length of its result: an empty digest must not be signed, or match an empty
 * messageDigest attribute. Rejects with DocumentError 'unreadable'.
 */
async function digestExternally(
  digest: DigestFunction,
  name: ExternalHash,
  data: DocumentData,
  options: ReadOptions,
): Promise<Uint8Array> {
  const digested: unknown = await digest(name, data, options)
  if (isByteSource(digested) && digested.byteLength === hashes[name].bytes) return copyOf(digested)
  throw new DocumentError('unreadable', {
    cause: new TypeError(`\`digest\` has to resolve to the ${hashes[name].bytes} bytes of ${name}.`),
  })
}

/**
 * Computes the digests of a document for all `names`, reading it once. Rejects with DocumentError 'wrong-argument',
 * 'already-read', 'unreadable' and 'cancelled'.
 */
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
  data: DocumentData,
  options: ReadOptions,
): Promise<Readonly<Record<N, Uint8Array>>> {
  // Claims the source before the first await, so that a concurrent call cannot read it too.
  const pieces = piecesOf(data, options)
  const { createLongDigest } = await import('@webtoki/crypto/streaming-digest')
  const hashers = await Promise.all(names.map(async (name) => [name, await createLongDigest(name)] as const))
  for await (const piece of pieces) for (const [, hasher] of hashers) hasher.update(piece)
  return Object.fromEntries(hashers.map(([name, hasher]) => [name, hasher.digest()])) as Record<N, Uint8Array>
}

/**
 * Computes digests of a document that `documentAtCall` returned. If `options.digest` is present, it is called once for
 * each hash, unless one of the hashes is not SHA-256, SHA-384 or SHA-512; then all digests are computed here.
 */
export async function digestsOf<N extends HashName>(
  names: readonly N[],
  data: DocumentData,
  options: ReadOptions & { readonly digest?: DigestFunction | undefined },
): Promise<Readonly<Record<N, Uint8Array>>> {
  const { digest } = options
  const isOneTime = isSingleUse(data)
  // A source that can be read only once cannot be passed on for a second hash.
  const requested: readonly HashName[] = names
  if (digest === undefined || !requested.every(isExternalHash) || (isOneTime && names.length > 1))
    return digestPieces(names, data, options)
  const digests: Partial<Record<HashName, Uint8Array>> = {}
  try {
    for (const name of requested) digests[name] = await digestExternally(digest, name, data, options)
  } finally {
    if (isOneTime) claimOnce(data)
  }
  return digests as Record<N, Uint8Array>
}

function isExternalHash(name: HashName): name is ExternalHash {
  return (externalHashes as readonly HashName[]).includes(name)
}

/** Hashes a short input in one step. */
export function hash(name: HashName, bytes: Uint8Array): Uint8Array {
  return hashNow(name, bytes)
}
