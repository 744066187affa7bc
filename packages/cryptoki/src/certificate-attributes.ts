/** Conversion of a card's certificate to PKCS#11 attributes: PKCS#11 v3.0, 4.6. */
import { viewCertificate } from '@webtoki/crypto'
import type { Attributes } from './attributes.ts'
import { CKA } from './constants.ts'

/** Returns the value and the fields of a certificate. A malformed certificate gives only the attributes that can be read. */
export function certificateAttributes(der: Uint8Array): Attributes {
  const view = viewCertificate(der)
  if (view === undefined) return { [CKA.VALUE]: der }
  const { notBefore, notAfter, isAuthority } = view
  return {
    [CKA.VALUE]: der,
    [CKA.SUBJECT]: view.subjectDer,
    [CKA.ISSUER]: view.issuerDer,
    [CKA.SERIAL_NUMBER]: view.serialNumberDer,
    [CKA.PUBLIC_KEY_INFO]: view.publicKeyInfo,
    ...(notBefore && { [CKA.START_DATE]: dayOf(notBefore) }),
    ...(notAfter && { [CKA.END_DATE]: dayOf(notAfter) }),
    // CK_CERTIFICATE_CATEGORY_AUTHORITY (2), _TOKEN_USER (1, the private key is on the card) or _UNSPECIFIED (0).
    [CKA.CERTIFICATE_CATEGORY]: isAuthority === undefined ? 0 : isAuthority ? 2 : 1,
  }
}

/** Returns the date in UTC, the time zone of certificates. */
function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10)
}
