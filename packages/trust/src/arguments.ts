/** What callers hand in. From a program without types anything may come. */
import { type ByteSource, isByteSource } from '@webtoki/apdu/bytes'
import { TrustArgumentError } from './errors.ts'
import { type Signer, signerFault } from './signer.ts'

/** Throws TrustArgumentError. */
export function requireBytes(argument: string, value: unknown): asserts value is ByteSource {
  if (!isByteSource(value)) throw new TrustArgumentError(argument, 'bytes')
}

/** Throws TrustArgumentError. */
export function requireOptions(argument: string, value: unknown): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TrustArgumentError(argument, 'an object')
}

/** Throws TrustArgumentError, which names the first that is wrong. */
export function requireCertificates(argument: string, list: unknown): asserts list is readonly ByteSource[] {
  if (!Array.isArray(list)) throw new TrustArgumentError(argument, 'a list of certificates in DER')
  const wrong = list.findIndex((each) => !isByteSource(each))
  if (wrong >= 0) throw new TrustArgumentError(`${argument}[${wrong}]`, 'a certificate in DER, as bytes')
}

/** A copy. Throws TrustArgumentError: compared with an invalid Date, nothing has expired. */
export function moment(argument: string, date: unknown): Date {
  const isDate = Object.prototype.toString.call(date) === '[object Date]'
  const copy = new Date(isDate ? (date as Date).getTime() : Number.NaN)
  if (Number.isNaN(copy.getTime())) throw new TrustArgumentError(argument, 'a valid Date')
  return copy
}

/** Throws TrustArgumentError. */
export function requireSigner(signer: unknown): asserts signer is Signer {
  const fault = signerFault(signer)
  if (fault !== undefined) throw new TrustArgumentError(...fault)
}
