/** A certificate of a card as PKCS#11 attributes: PKCS#11 v3.0, 4.6. */
import type { Attributes } from './attributes.ts'
import { type CertificateFields, decodeX509 } from './certificate.ts'
import { CKA } from './constants.ts'

/** Value and fields. A certificate that cannot be read is still the card's: it is shown with its value alone. */
export function certificateAttributes(der: Uint8Array): Attributes {
  let fields: CertificateFields
  try {
    fields = decodeX509(der)
  } catch {
    return { [CKA.VALUE]: der }
  }
  return {
    [CKA.VALUE]: der,
    [CKA.SUBJECT]: fields.subject,
    [CKA.ISSUER]: fields.issuer,
    [CKA.SERIAL_NUMBER]: fields.serialNumber,
    [CKA.PUBLIC_KEY_INFO]: fields.publicKeyInfo,
    [CKA.START_DATE]: dayOf(fields.notBefore),
    [CKA.END_DATE]: dayOf(fields.notAfter),
    // CK_CERTIFICATE_CATEGORY_AUTHORITY, or _TOKEN_USER: the private key is on the card.
    [CKA.CERTIFICATE_CATEGORY]: fields.isAuthority ? 2 : 1,
  }
}

/** In UTC, as certificates tell time. */
function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10)
}
