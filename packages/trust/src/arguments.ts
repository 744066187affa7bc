/** Checks of the arguments of public functions: a caller without TypeScript may pass a value of any type. */
import { type ByteSource, isByteSource } from '@webtoki/apdu/bytes'
import { TrustArgumentError } from './errors.ts'
import { type Signer, signerFault } from './signer.ts'

/** Throws TrustArgumentError if the value is not a byte source. */
export function requireBytes(argument: string, value: unknown): asserts value is ByteSource {
  if (!isByteSource(value)) throw new TrustArgumentError(argument, 'bytes')
}

/** Throws TrustArgumentError if the value is not an object. */
export function requireOptions(argument: string, value: unknown): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TrustArgumentError(argument, 'an object')
}

/** Throws TrustArgumentError, which names the first entry that is not bytes. */
export function requireCertificates(argument: string, list: unknown): asserts list is readonly ByteSource[] {
  if (!Array.isArray(list)) throw new TrustArgumentError(argument, 'a list of certificates in DER')
  const wrongIndex = list.findIndex((each) => !isByteSource(each))
  if (wrongIndex >= 0)
    throw new TrustArgumentError(`${argument}[${wrongIndex}]`, 'a certificate in DER, as bytes')
}

/**
 * Returns a copy. Throws TrustArgumentError if the date is invalid: every comparison with it is false, so nothing would
 * be expired.
 */
export function requireDate(argument: string, date: unknown): Date {
  const isDate = Object.prototype.toString.call(date) === '[object Date]'
  const copy = new Date(isDate ? (date as Date).getTime() : Number.NaN)
  if (Number.isNaN(copy.getTime())) throw new TrustArgumentError(argument, 'a valid Date')
  return copy
}

/** Throws TrustArgumentError if the value is not a `Signer`. */
export function requireSigner(signer: unknown): asserts signer is Signer {
  const fault = signerFault(signer)
  if (fault !== undefined) throw new TrustArgumentError(...fault)
}
