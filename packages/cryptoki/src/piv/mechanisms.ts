/** The mechanisms of a PIV token for C_GetMechanismInfo: SP 800-78-4, tables 3-1 and 6-2. */
import { CKF } from '../ckf.ts'
import { CKM } from '../constants.ts'
import { cardSignTypes, type MechanismInfo } from '../mechanisms.ts'

/** The host pads and hashes; the card performs the raw private key operation. */
export const pivMechanisms: ReadonlyMap<number, MechanismInfo> = new Map<number, MechanismInfo>([
  ...rsa(CKF.SIGN, cardSignTypes('pkcs1', 'raw-x509', 'pss')),
  ...rsa(CKF.SIGN | CKF.SIGN_RECOVER | CKF.DECRYPT | CKF.UNWRAP, [CKM.RSA_PKCS, CKM.RSA_X_509]),
  ...rsa(CKF.DECRYPT | CKF.UNWRAP, [CKM.RSA_PKCS_OAEP]),
  ...ec(CKF.DERIVE, [CKM.ECDH1_DERIVE, CKM.ECDH1_COFACTOR_DERIVE]),
  ...ec(CKF.SIGN, cardSignTypes('ecdsa')),
])

type Entries = readonly (readonly [number, MechanismInfo])[]

function rsa(flags: number, types: readonly number[]): Entries {
  return types.map((type) => [type, { minKeyBits: 1024, maxKeyBits: 4096, flags }])
}

function ec(flags: number, types: readonly number[]): Entries {
  const all = flags | CKF.EC_F_P | CKF.EC_NAMEDCURVE
  return types.map((type) => [type, { minKeyBits: 256, maxKeyBits: 384, flags: all }])
}
