/** A certificate of a card as PKCS#11 attributes: PKCS#11 v3.0, 4.6. */
import { viewCertificate } from '@webtoki/crypto'
import type { Attributes } from './attributes.ts'
import { CKA } from './constants.ts'

/** Value and fields. A certificate is the card's however odd it is: it is shown with what can be read of it. */
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
    // CK_CERTIFICATE_CATEGORY_AUTHORITY, or _TOKEN_USER: the private key is on the card. Else _UNSPECIFIED.
    [CKA.CERTIFICATE_CATEGORY]: isAuthority === undefined ? 0 : isAuthority ? 2 : 1,
  }
}

/** In UTC, as certificates tell time. */
function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10)
}
