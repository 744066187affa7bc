/** The front door: readers, cards, certificates and logins in one object. Documents have an entry of their own. */
export type { CardSlot, Presence } from '@webtoki/apdu'
export type { ReaderProblem } from '@webtoki/ccid'
export { CKR, CryptokiError, type PinRequest, type PinSource } from '@webtoki/cryptoki'
export { CertificateUseError } from '@webtoki/crypto'
export type { Activity, ActivityPhase } from './activity.ts'
export { type CardCertificate, CertificatePurpose } from './card-certificate.ts'
export { Webtoki, type WebtokiOptions, type UseOptions } from './webtoki.ts'
