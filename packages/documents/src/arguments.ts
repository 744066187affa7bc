/** Checks of the arguments of public functions: a caller without TypeScript may pass a value of any type. */
import { type Signer, signerFault } from '@webtoki/trust'
import type { ReadOptions } from './data.ts'
import { DocumentError } from './errors.ts'

/** Returns an error that says "`argument` has to be `what`." */
export function wrongArgument(argument: string, what: string): DocumentError {
  return new DocumentError('wrong-argument', { detail: `\`${argument}\` has to be ${what}.` })
}

/** Checks the options of a function that reads a document. Throws DocumentError 'wrong-argument'. */
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

/** Returns a copy of the date, or the current time if it is undefined. Throws DocumentError 'wrong-argument'. */
export function dateOrNow(argument: string, date: Date | undefined): Date {
  if (date === undefined) return new Date()
  const isDate = Object.prototype.toString.call(date) === '[object Date]'
  const copy = new Date(isDate ? date.getTime() : Number.NaN)
  if (Number.isNaN(copy.getTime())) throw wrongArgument(argument, 'a valid Date')
  return copy
}

/** Throws DocumentError 'wrong-argument' if the value is not a `Signer`. */
export function requireSigner(signer: Signer): void {
  const fault = signerFault(signer)
  if (fault !== undefined) throw wrongArgument(...fault)
}
