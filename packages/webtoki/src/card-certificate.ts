/** Describes the certificates of a card so that a person can choose one. */
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
 * Why a verifier would refuse the certificate, or why its key cannot sign: it was not valid when it was read, its RSA key
 * is shorter than 2048 bits, or Webtoki does not support the key's algorithm or curve.
 */
export type CertificateFault = 'expired' | 'not-yet-valid' | 'weak-key' | 'key-not-supported'

/** A certificate whose private key is on the card. Frozen; byte and date properties return copies. */
export interface CardCertificate {
  readonly slot: Slot
  /** CKA_ID, shared by the key and its certificate. */
  readonly id: Uint8Array
  /** X.509 in DER. */
  readonly der: Uint8Array
  /** The holder's common name, or another name from the certificate. Control characters are escaped. Empty if there is none. */
  readonly subject: string
  readonly label: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** The purposes that the certificate's extensions and its key allow. */
  readonly purposes: readonly CertificatePurpose[]
  /** True if the card requires the PIN for each signature. */
  readonly asksEachTime: boolean
  /** Undefined if no fault is known. A certificate with a fault is listed last and used only if there is no other. */
  readonly fault?: CertificateFault | undefined
}

/**
 * The purposes for which a certificate is offered: those that servers and verifiers accept (`certificateUse` of
 * `@webtoki/crypto`), provided that the key signs and requires the PIN. A key that signs without a PIN, such as PIV's 9E,
 * proves that the card is present, but not who uses it.
 */
export function purposesOf(der: Uint8Array, key: CkObject): readonly CertificatePurpose[] {
  return key.attributes[CKA.SIGN] === true && key.attributes[CKA.PRIVATE] === true ? purposesIn(der) : []
}

function purposesIn(der: Uint8Array): readonly CertificatePurpose[] {
  return Object.values(CertificatePurpose).filter((purpose) => certificateUse(der, purpose) === 'fitting')
}

/** Describes a certificate. Returns undefined if it fits no purpose. Throws CertificateError if its validity cannot be read. */
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
 * Describes a certificate without a visible key, because Webtoki does not support the key's algorithm. Returns undefined if
 * it is a CA certificate or fits no purpose. Throws CertificateError if it cannot be read.
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

/** Values of `asksEachTime`, the preferred one first: keys made for signing require the PIN each time, keys for login do not. */
export function inOrderOfFitness(purpose: CertificatePurpose): readonly boolean[] {
  const isSigning = purpose === CertificatePurpose.signing
  return [isSigning, !isSigning]
}

const byFault: readonly CardCertificate['fault'][] = [
  undefined,
  'expired',
  'not-yet-valid',
  'weak-key',
  'key-not-supported',
]

/** Sorts the certificates that fit the purpose, best first: without a fault first, then by what the key was made for. */
export function inOrderFor(
  purpose: CertificatePurpose,
  certificates: readonly CardCertificate[],
): readonly CardCertificate[] {
  const fitting = certificates.filter(({ purposes }) => purposes.includes(purpose))
  return byFault.flatMap((fault) =>
    inOrderOfFitness(purpose).flatMap((asksEachTime) =>
      fitting.filter((each) => each.fault === fault && each.asksEachTime === asksEachTime),
    ),
  )
}
