/** A certificate on a card, told so that a person can choose. */
import { CertificateError, certificateUse, holderOf, viewCertificate } from '@webtoki/crypto'
import { sealed } from '@webtoki/apdu'
import { CKA, type CkObject, type Slot } from '@webtoki/cryptoki'
import { canSignWith } from '@webtoki/webcrypto'

/** CK_CERTIFICATE_CATEGORY_AUTHORITY (PKCS#11 v2.40, 4.6.2). */
const CATEGORY_AUTHORITY = 2

/** What a person uses a key for. */
export const CertificatePurpose = { login: 'login', signing: 'signing' } as const
export type CertificatePurpose = (typeof CertificatePurpose)[keyof typeof CertificatePurpose]

/**
 * Why a verifier will not accept it, or nothing can be signed with it: it was not valid when it was read, its RSA key is
 * shorter than 2048 bits, or the key is of an algorithm or on a curve that is not known here.
 */
export type CertificateFault = 'expired' | 'not-yet-valid' | 'weak-key' | 'key-not-supported'

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
  /** Undefined: none is known. Those with a fault come last, and are taken only if there is no other. */
  readonly fault?: CertificateFault | undefined
}

/**
 * What a certificate and its key are offered for: what the server and verifiers take (the one table of
 * `@webtoki/crypto`), with a key that signs and that the card keeps behind a PIN. One that signs for any
 * program without asking, such as PIV's 9E, says that the card is there, and nothing of the person.
 */
export function purposesOf(der: Uint8Array, key: CkObject): readonly CertificatePurpose[] {
  return key.attributes[CKA.SIGN] === true && key.attributes[CKA.PRIVATE] === true ? purposesIn(der) : []
}

function purposesIn(der: Uint8Array): readonly CertificatePurpose[] {
  return Object.values(CertificatePurpose).filter((purpose) => certificateUse(der, purpose) === 'fitting')
}

/** Undefined if its key neither logs in nor signs documents, or nobody can tell when it is valid. */
export function describeCertificate(
  slot: Slot,
  certificate: CkObject,
  key: CkObject,
): CardCertificate | undefined {
  const asksEachTime = key.attributes[CKA.ALWAYS_AUTHENTICATE] === true
  const fault = faultOf(key)
  return described(slot, certificate, { purposes: (der) => purposesOf(der, key), asksEachTime, fault })
}

/**
 * One whose key the card does not show, for it is of an algorithm that is not known here. Undefined if it is an
 * authority's, or is for neither purpose. Throws CertificateError if it cannot be read.
 */
export function describeWithoutKey(slot: Slot, certificate: CkObject): CardCertificate | undefined {
  if (certificate.attributes[CKA.CERTIFICATE_CATEGORY] === CATEGORY_AUTHORITY) return undefined
  return described(slot, certificate, {
    purposes: purposesIn,
    asksEachTime: false,
    fault: 'key-not-supported',
  })
}

function described(
  slot: Slot,
  certificate: CkObject,
  of: Pick<CardCertificate, 'asksEachTime' | 'fault'> & {
    readonly purposes: (der: Uint8Array) => readonly CertificatePurpose[]
  },
): CardCertificate | undefined {
  const der = certificate.get(CKA.VALUE)
  const view = viewCertificate(der)
  const { notBefore, notAfter } = view ?? {}
  if (view === undefined || notBefore === undefined || notAfter === undefined) throw new CertificateError()
  const purposes = of.purposes(der)
  if (purposes.length === 0) return undefined
  const now = Date.now()
  const outOfTime =
    now > notAfter.getTime() ? 'expired' : now < notBefore.getTime() ? 'not-yet-valid' : undefined
  return sealed({
    slot,
    id: certificate.get(CKA.ID),
    der,
    subject: holderOf(view),
    label: certificate.get(CKA.LABEL),
    notBefore,
    notAfter,
    purposes,
    asksEachTime: of.asksEachTime,
    fault: of.fault ?? outOfTime,
  })
}

function faultOf(key: CkObject): CertificateFault | undefined {
  if (!canSignWith(key)) return 'key-not-supported'
  return (key.attributes[CKA.MODULUS_BITS] ?? 2048) < 2048 ? 'weak-key' : undefined
}

/** Whether the key asks each time, the better first: the one made for signing does, and one for logging in does not. */
export function inOrderOfFitness(purpose: CertificatePurpose): readonly boolean[] {
  const wantsEachTime = purpose === CertificatePurpose.signing
  return [wantsEachTime, !wantsEachTime]
}

const byFault: readonly CardCertificate['fault'][] = [
  undefined,
  'expired',
  'not-yet-valid',
  'weak-key',
  'key-not-supported',
]

/** The best first: what can be accepted before what cannot, and then by what the key was made for. */
export function inOrderFor(
  purpose: CertificatePurpose,
  certificates: readonly CardCertificate[],
): readonly CardCertificate[] {
  const fitting = certificates.filter(({ purposes }) => purposes.includes(purpose))
  return byFault.flatMap((fault) =>
    inOrderOfFitness(purpose).flatMap((wanted) =>
      fitting.filter((each) => each.fault === fault && each.asksEachTime === wanted),
    ),
  )
}
