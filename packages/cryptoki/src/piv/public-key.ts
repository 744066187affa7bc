/** Conversion of a certificate's public key to PKCS#11 attributes: PKCS#11 v2.40 mechanisms, 2.1.2 and 2.3.3. */
import { encodeTlv } from '@webtoki/apdu'
import { encodeOid } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import type { CertificateKey } from '../certificate.ts'
import { CKA } from '../constants.ts'

/** Returns the attributes of the key value, without class, key type and permitted uses. */
export function publicKeyAttributes(key: CertificateKey): Attributes {
  if (key.kind === 'rsa') {
    return {
      [CKA.MODULUS]: key.modulus,
      [CKA.PUBLIC_EXPONENT]: key.exponent,
      [CKA.MODULUS_BITS]: key.bits,
    }
  }
  return {
    [CKA.EC_PARAMS]: encodeOid(key.curve.oid),
    // CKA_EC_POINT is the DER OCTET STRING of the point.
    [CKA.EC_POINT]: encodeTlv(0x04, key.point),
  }
}
