/** The union of all Webtoki errors, by code. */
import {
  type AnyCardError,
  type AnyReaderError,
  isWebtokiError as isAnyWebtokiError,
  type WebtokiError,
} from '@webtoki/apdu/errors'
import type { PinFormatError } from '@webtoki/apdu'
import type { CertificateError, CertificateUseError } from '@webtoki/crypto'
import type { CryptokiError } from '@webtoki/cryptoki'
import type { DocumentError } from '@webtoki/documents'
import type { LoginArgumentError, OriginError } from '@webtoki/login/browser'
import type { LoginError } from '@webtoki/login/server'
import type { PathError, TrustArgumentError } from '@webtoki/trust/path'

type AnyError =
  | AnyCardError
  | AnyReaderError
  | CertificateError
  | CertificateUseError
  | CryptokiError
  | DocumentError
  | LoginArgumentError
  | LoginError
  | OriginError
  | PathError
  | PinFormatError
  | TrustArgumentError

/** The `code` of every Webtoki error. Codes with `ui/` are those of `@webtoki/ui`. */
export type WebtokiErrorCode = AnyError['code'] | 'ui/no-dialog'

/** The error type with the given code. */
export type ErrorOfCode<C extends WebtokiErrorCode> = WebtokiError & {
  readonly code: C
} & (C extends AnyError['code'] ? ClassOf<AnyError, C> : unknown)

type ClassOf<E, C> = E extends { readonly code: infer Code } ? (C extends Code ? E : never) : never

/**
 * True for a Webtoki error with one of the given codes, or with any code if none is given. Works across several copies of a
 * package.
 */
export const isWebtokiError: {
  (error: unknown): error is WebtokiError & { readonly code: WebtokiErrorCode }
  <C extends WebtokiErrorCode>(error: unknown, ...codes: readonly C[]): error is ErrorOfCode<C>
} = isAnyWebtokiError as never
