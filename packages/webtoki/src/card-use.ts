/** Uses a card: finds a certificate and signs with its key. Loaded on first use. */
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

/** Options of the signatures, and the listener for their events. */
export interface SignerOptions {
  readonly signal?: AbortSignal | undefined
  readonly rsa?: 'RS256' | 'PS256' | undefined
  readonly for?: string | undefined
  readonly onEvent: (event: OperationEvent<unknown>) => void
}

/** Creates a signer for the key of a certificate. Rejects with CKR_DEVICE_REMOVED if the reader now holds another card. */
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
  // Another card may be in the reader now, with a key of the same CKA_ID that nobody chose.
  if (signer === undefined || !equalBytes(signer.certificate, certificate.der)) {
    throw new CryptokiError(CKR.DEVICE_REMOVED, { detail: 'another card is in the reader now' })
  }
  await checkUse(purpose, session, certificate)
  if (signal === undefined) return signer
  const sign: Signer['sign'] = (bytes, { signal: own = signal } = {}) =>
    signer.sign(bytes, { signal: AbortSignal.any([signal, own as AbortSignal]) })
  return { ...signer, sign }
}

/** Checks the purpose again from the card's objects: the caller may have chosen the certificate for another purpose or without `certificates()`. */
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
