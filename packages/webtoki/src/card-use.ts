/** What is done with a card that is there: finding a certificate, and signing with its key. Loaded when it is first wanted. */
import { equalBytes } from '@webtoki/apdu'
import {
  CKA,
  CKO,
  CKR,
  CryptokiError,
  isCryptokiError,
  type OperationEvent,
  type Session,
} from '@webtoki/cryptoki'
import { requireCertificateUse } from '@webtoki/crypto'
import type { Signer } from '@webtoki/trust'
import { cardSigner } from '@webtoki/webcrypto'
import { type CardCertificate, type CertificatePurpose, purposesOf } from './card-certificate.ts'

export { checkLogin, createLoginToken } from '@webtoki/login/browser'
export { CertificateFinder } from './search.ts'

/** How its signatures are made, and who is told. */
export interface SignerOptions {
  readonly signal?: AbortSignal | undefined
  readonly rsa?: 'RS256' | 'PS256' | undefined
  readonly for?: string | undefined
  readonly onEvent: (event: OperationEvent<unknown>) => void
}

/** A signer by the key of this certificate. Rejects with CKR_DEVICE_REMOVED if another card is in the reader by now. */
export async function signerFor(
  session: Session,
  certificate: CardCertificate,
  purpose: CertificatePurpose,
  { signal, ...options }: SignerOptions,
): Promise<Signer> {
  const signer = await cardSigner(session, { ...options, id: certificate.id }).catch((error: unknown) => {
    if (isCryptokiError(error, CKR.KEY_HANDLE_INVALID)) return undefined
    throw error
  })
  // Another card may be in the reader by now, and its key go by the same identifier: nobody chose that one.
  if (signer === undefined || !equalBytes(signer.certificate, certificate.der)) {
    throw new CryptokiError(CKR.DEVICE_REMOVED, { detail: 'another card is in the reader now' })
  }
  await checkUse(purpose, session, certificate)
  if (signal === undefined) return signer
  const sign: Signer['sign'] = (bytes, { signal: own = signal } = {}) =>
    signer.sign(bytes, { signal: AbortSignal.any([signal, own as AbortSignal]) })
  return { ...signer, sign }
}

/** Somebody may have chosen it for the other purpose, or without our list. The card's own objects say what it is for. */
async function checkUse(
  purpose: CertificatePurpose,
  session: Session,
  { id, der }: CardCertificate,
): Promise<void> {
  const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: id }
  const [key] = await session.findObjects(template)
  if (key !== undefined && purposesOf(der, key).includes(purpose)) return
  requireCertificateUse(der, purpose)
  throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED, {
    detail: 'the key signs without a PIN, or not at all',
  })
}
