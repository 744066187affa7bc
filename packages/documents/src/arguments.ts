/** What callers hand in beside the document and the signature. From a page without types anything may come. */
import { type ByteSource, copyOf, isByteSource } from '@webtoki/apdu/bytes'
import { type Signer, signatureAlgorithms } from '@webtoki/trust'
import { DocumentError } from './errors.ts'

/** `argument` has to be `what`. */
export function wrongArgument(argument: string, what: string): DocumentError {
  return new DocumentError('wrong-argument', { detail: `\`${argument}\` has to be ${what}.` })
}

/** Throws DocumentError 'wrong-argument'. */
export function requireOptions(options: unknown, what: string): void {
  if (typeof options !== 'object' || options === null) throw wrongArgument('options', what)
}

/** Throws DocumentError 'wrong-argument' if it is there and no function. */
export function requireFunction(argument: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw wrongArgument(argument, 'a function')
}

/** Copies; none if there is no list. Throws DocumentError 'wrong-argument'. */
export function certificateList(argument: string, list: readonly ByteSource[] = []): readonly Uint8Array[] {
  if (!Array.isArray(list) || !list.every(isByteSource))
    throw wrongArgument(argument, 'a list of certificates in DER, each as bytes')
  return list.map(copyOf)
}

/** A copy; now if there is none. Throws DocumentError 'wrong-argument'. */
export function moment(argument: string, date: Date | undefined): Date {
  if (date === undefined) return new Date()
  const isDate = Object.prototype.toString.call(date) === '[object Date]'
  const copy = new Date(isDate ? date.getTime() : Number.NaN)
  if (Number.isNaN(copy.getTime())) throw wrongArgument(argument, 'a valid Date')
  return copy
}

/** Throws DocumentError 'wrong-argument'. */
export function requireSigner(signer: Signer): void {
  // A signer may be of a class, whose members are not its own.
  const { certificate, chain, algorithm, sign } = (signer ?? {}) as {
    readonly [name in keyof Signer]?: unknown
  }
  const isSigner = isByteSource(certificate) && Array.isArray(chain) && typeof sign === 'function'
  if (!isSigner) throw wrongArgument('signer', 'an object with certificate, chain, algorithm and sign')
  if (!(signatureAlgorithms as readonly unknown[]).includes(algorithm))
    throw wrongArgument('signer.algorithm', `one of ${signatureAlgorithms.join(', ')}`)
}
