/** A certificate on a card, told so that a person can choose. */
import { CKA, type CkObject, decodeX509, type Slot } from '@webtoki/cryptoki'

/** What a person uses a key for. */
export const CertificatePurpose = { login: 'login', signing: 'signing' } as const
export type CertificatePurpose = (typeof CertificatePurpose)[keyof typeof CertificatePurpose]

/** One certificate whose private key is on the card. */
export interface CardCertificate {
  readonly slot: Slot
  /** CKA_ID, which key and certificate share. */
  readonly id: Uint8Array
  /** X.509 in DER. */
  readonly der: Uint8Array
  /** The holder's common name; empty where the certificate has none. */
  readonly subject: string
  readonly label: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** What the certificate's own extensions allow. */
  readonly purposes: readonly CertificatePurpose[]
  /** The card asks for the PIN for each signature. */
  readonly asksEachTime: boolean
}

const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'
const SMARTCARD_LOGON = '1.3.6.1.4.1.311.20.2.2'

/** Undefined where the certificate cannot be read, or its key neither logs in nor signs. */
export function describeCertificate(
  slot: Slot,
  certificate: CkObject,
  key: CkObject,
): CardCertificate | undefined {
  const der = certificate.get(CKA.VALUE)
  const fields = decodeX509(der)
  if (key.attributes[CKA.SIGN] !== true) return undefined
  const { keyUsage, extendedKeyUsage } = fields
  // As the server has it (login/server): what it would refuse is not offered.
  const mayLogIn =
    keyUsage?.includes('digitalSignature') === true &&
    (extendedKeyUsage === undefined || extendedKeyUsage.includes(CLIENT_AUTHENTICATION))
  // One that is for logins alone makes signatures that verifiers refuse.
  const maySign =
    (keyUsage === undefined ||
      keyUsage.includes('nonRepudiation') ||
      keyUsage.includes('digitalSignature')) &&
    (extendedKeyUsage === undefined ||
      extendedKeyUsage.some((purpose) => purpose !== CLIENT_AUTHENTICATION && purpose !== SMARTCARD_LOGON))
  const purposes: CertificatePurpose[] = []
  if (mayLogIn) purposes.push(CertificatePurpose.login)
  if (maySign) purposes.push(CertificatePurpose.signing)
  if (purposes.length === 0) return undefined
  return {
    slot,
    id: certificate.get(CKA.ID),
    der,
    subject: fields.subjectCommonName ?? '',
    label: certificate.get(CKA.LABEL),
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    purposes,
    asksEachTime: key.attributes[CKA.ALWAYS_AUTHENTICATE] === true,
  }
}

/** The best first: for signing the key that was made for it, which asks each time; for logging in one that does not. */
export function inOrderFor(
  purpose: CertificatePurpose,
  certificates: readonly CardCertificate[],
): readonly CardCertificate[] {
  const fitting = certificates.filter(({ purposes }) => purposes.includes(purpose))
  const wantsEachTime = purpose === CertificatePurpose.signing
  return [
    ...fitting.filter(({ asksEachTime }) => asksEachTime === wantsEachTime),
    ...fitting.filter(({ asksEachTime }) => asksEachTime !== wantsEachTime),
  ]
}
