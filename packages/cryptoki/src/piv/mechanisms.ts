/** What a PIV token can do, as C_GetMechanismInfo tells it: SP 800-78-4, tables 3-1 and 6-2. */
import { CKF, CKM } from '../constants.ts'
import type { MechanismInfo } from '../mechanisms.ts'

const rsa: MechanismInfo = { minKeyBits: 1024, maxKeyBits: 4096, flags: CKF.SIGN }
const ecdsa: MechanismInfo = {
  minKeyBits: 256,
  maxKeyBits: 384,
  flags: CKF.SIGN | CKF.EC_F_P | CKF.EC_NAMEDCURVE,
}

/** Padding and hashing happen on the host, the private key's operation on the card. */
export const pivMechanisms: ReadonlyMap<number, MechanismInfo> = new Map<number, MechanismInfo>([
  ...[
    CKM.RSA_PKCS,
    CKM.RSA_X_509,
    CKM.SHA1_RSA_PKCS,
    CKM.SHA256_RSA_PKCS,
    CKM.SHA384_RSA_PKCS,
    CKM.SHA512_RSA_PKCS,
    CKM.RSA_PKCS_PSS,
    CKM.SHA1_RSA_PKCS_PSS,
    CKM.SHA256_RSA_PKCS_PSS,
    CKM.SHA384_RSA_PKCS_PSS,
    CKM.SHA512_RSA_PKCS_PSS,
  ].map((type): [number, MechanismInfo] => [type, rsa]),
  ...[CKM.ECDSA, CKM.ECDSA_SHA1, CKM.ECDSA_SHA256, CKM.ECDSA_SHA384, CKM.ECDSA_SHA512].map(
    (type): [number, MechanismInfo] => [type, ecdsa],
  ),
])
