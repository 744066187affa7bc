/** A certificate of a card as PKCS#11 attributes: PKCS#11 v2.40, 4.6.3. */
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
  }
}
