/** The main entry: readers, cards, certificates and logins in one object. Documents have a separate entry. */
export { PinFormatError, type PinLimits, pinOf } from '@webtoki/apdu'
export type {
  CardSlot,
  Presence,
  ReaderProblem,
  ReaderSource,
  ReaderSupport,
  SlotSource,
} from '@webtoki/apdu'
export * from '@webtoki/apdu/errors'
export { CertificateError, CertificateUseError } from '@webtoki/crypto'
export {
  CKR,
  CryptokiError,
  type CryptokiErrorCode,
  isCryptokiError,
  type ObjectCache,
  type PinPurpose,
  type PinRequest,
  type PinSource,
  type Slot,
  type TokenDriver,
} from '@webtoki/cryptoki'
export { LoginArgumentError, OriginError } from '@webtoki/login/browser'
export type { Signer } from '@webtoki/trust'
export type { Activity, ActivityPhase } from './activity.ts'
export { type CardCertificate, type CertificateFault, CertificatePurpose } from './card-certificate.ts'
export { type ErrorOfCode, isWebtokiError, type WebtokiErrorCode } from './errors.ts'
export type { AnySource } from './readers.ts'
export { type SearchOptions, type UseOptions, Webtoki, type WebtokiOptions } from './webtoki.ts'
