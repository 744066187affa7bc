/** A certificate on a card, told so that a person can choose. */
import { certificateUse, holderOf, viewCertificate } from '@webtoki/crypto'
import { sealed } from '@webtoki/apdu'
import { CKA, type CkObject, type Slot } from '@webtoki/cryptoki'

/** What a person uses a key for. */
export const CertificatePurpose = { login: 'login', signing: 'signing' } as const
export type CertificatePurpose = (typeof CertificatePurpose)[keyof typeof CertificatePurpose]

/** One certificate whose private key is on the card. Frozen; each reading of bytes or dates gives a copy. */
export interface CardCertificate {
  readonly slot: Slot
  /** CKA_ID, which key and certificate share. */
  readonly id: Uint8Array
  /** X.509 in DER. */
  readonly der: Uint8Array
  /** The holder's common name, or what else the certificate calls them; control characters are escaped. Empty if it has none. */
  readonly subject: string
  readonly label: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** What the certificate's own extensions and its key allow. */
  readonly purposes: readonly CertificatePurpose[]
  /** The card asks for the PIN for each signature. */
  readonly asksEachTime: boolean
}

/**
 * What a certificate and its key are offered for: what the server and verifiers take (the one table of
 * `@webtoki/crypto`), with a key that signs and that the card keeps behind a PIN. One that signs for any
 * program without asking, such as PIV's 9E, says that the card is there, and nothing of the person.
 */
export function purposesOf(der: Uint8Array, key: CkObject): readonly CertificatePurpose[] {
  if (key.attributes[CKA.SIGN] !== true || key.attributes[CKA.PRIVATE] !== true) return []
  return Object.values(CertificatePurpose).filter((purpose) => certificateUse(der, purpose) === 'fitting')
}

/** Undefined if its key neither logs in nor signs documents, or nobody can tell when it is valid. */
export function describeCertificate(
  slot: Slot,
  certificate: CkObject,
  key: CkObject,
): CardCertificate | undefined {
  const der = certificate.get(CKA.VALUE)
  const view = viewCertificate(der)
  const { notBefore, notAfter } = view ?? {}
  const purposes = purposesOf(der, key)
  if (view === undefined || notBefore === undefined || notAfter === undefined || purposes.length === 0)
    return undefined
  return sealed({
    slot,
    id: certificate.get(CKA.ID),
    der,
    subject: holderOf(view),
    label: certificate.get(CKA.LABEL),
    notBefore,
    notAfter,
    purposes,
    asksEachTime: key.attributes[CKA.ALWAYS_AUTHENTICATE] === true,
  })
}

/** Whether the key asks each time, the better first: the one made for signing does, and one for logging in does not. */
export function inOrderOfFitness(purpose: CertificatePurpose): readonly boolean[] {
  const wantsEachTime = purpose === CertificatePurpose.signing
  return [wantsEachTime, !wantsEachTime]
}

/** The best first. */
export function inOrderFor(
  purpose: CertificatePurpose,
  certificates: readonly CardCertificate[],
): readonly CardCertificate[] {
  const fitting = certificates.filter(({ purposes }) => purposes.includes(purpose))
  return inOrderOfFitness(purpose).flatMap((wanted) =>
    fitting.filter(({ asksEachTime }) => asksEachTime === wanted),
  )
}
