/** What a token can do, as C_GetMechanismList and C_GetTokenInfo tell it: derived from what is there. */
import { CKF } from './constants.ts'
import { FEW_TRIES } from './few-tries.ts'
import { aesMechanisms, digestMechanisms, type MechanismInfo, signMechanisms } from './mechanisms.ts'
import type { Token } from './token.ts'

/** Sizes that verification in software takes, in bits. */
const verifiable = {
  rsa: { minKeyBits: 512, maxKeyBits: 16_384, flags: CKF.VERIFY },
  ec: { minKeyBits: 256, maxKeyBits: 521, flags: CKF.VERIFY | CKF.EC_F_P | CKF.EC_NAMEDCURVE },
} as const

/** The token's own mechanisms, and what software does beside every token: digests, verification, session keys. */
export function mechanismsOf(token: Token): ReadonlyMap<number, MechanismInfo> {
  const all = new Map<number, MechanismInfo>()
  for (const [type, { keyType }] of signMechanisms) all.set(type, verifiable[keyType])
  for (const type of digestMechanisms.keys())
    all.set(type, { minKeyBits: 0, maxKeyBits: 0, flags: CKF.DIGEST })
  for (const type of aesMechanisms)
    all.set(type, { minKeyBits: 128, maxKeyBits: 256, flags: CKF.ENCRYPT | CKF.DECRYPT })
  for (const [type, info] of token.mechanisms)
    all.set(type, { ...info, flags: info.flags | (all.get(type)?.flags ?? 0) })
  return all
}

/** CKF_* of CK_TOKEN_INFO. */
export function flagsOf(
  token: Token,
  { usesPinPad, dual }: { readonly usesPinPad: boolean; readonly dual: boolean },
): number {
  return (
    token.flags |
    CKF.RNG |
    CKF.LOGIN_REQUIRED |
    CKF.USER_PIN_INITIALIZED |
    CKF.TOKEN_INITIALIZED |
    (dual ? CKF.DUAL_CRYPTO_OPERATIONS : 0) |
    (usesPinPad ? CKF.PROTECTED_AUTHENTICATION_PATH : 0) |
    triesFlags(token.pins.user.triesLeft)
  )
}

function triesFlags(triesLeft: number | undefined): number {
  if (triesLeft === undefined || triesLeft > FEW_TRIES) return 0
  if (triesLeft === 0) return CKF.USER_PIN_LOCKED
  return triesLeft === 1 ? CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY : CKF.USER_PIN_COUNT_LOW
}
