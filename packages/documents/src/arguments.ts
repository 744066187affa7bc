/** What callers hand in beside the document and the signature. From a page without types anything may come. */
import { type Signer, signerFault } from '@webtoki/trust'
import type { ReadOptions } from './data.ts'
import { DocumentError } from './errors.ts'

/** `argument` has to be `what`. */
export function wrongArgument(argument: string, what: string): DocumentError {
  return new DocumentError('wrong-argument', { detail: `\`${argument}\` has to be ${what}.` })
}

/** Options of whatever reads a document. Throws DocumentError 'wrong-argument'. */
export function requireOptions(
  options: ReadOptions & { readonly digest?: unknown },
  what = 'an object',
): void {
  if (typeof options !== 'object' || options === null) throw wrongArgument('options', what)
  const { digest, onProgress, signal } = options
  for (const [argument, value] of Object.entries({ digest, onProgress }))
    if (value !== undefined && typeof value !== 'function') throw wrongArgument(argument, 'a function')
  if (signal !== undefined && typeof (signal as typeof signal | null)?.addEventListener !== 'function')
    throw wrongArgument('signal', 'an AbortSignal')
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
  const fault = signerFault(signer)
  if (fault !== undefined) throw wrongArgument(...fault)
}
