/** The results of C_GetMechanismList, C_GetMechanismInfo and C_GetTokenInfo (PKCS#11 v3.0, 5.5), derived from a token. */
import { sealed } from '@webtoki/apdu'
import { CKF } from './ckf.ts'
import { CKK, CKM } from './constants.ts'
import { FEW_TRIES } from './few-tries.ts'
import { keyRules } from './key-rules.ts'
import { digestMechanisms, type MechanismInfo } from './mechanisms.ts'
import { keySizes, type SoftwareMechanism, softwareMechanism } from './software/mechanisms.ts'
import type { Token, TokenDescription, TokenInfo } from './token.ts'

/** Returns the mechanisms of the token, and those that software adds for digests, public keys and session keys. */
export function mechanismsOf(token: Token): ReadonlyMap<number, MechanismInfo> {
  const all = new Map<number, MechanismInfo>()
  for (const type of digestMechanisms.keys())
    all.set(type, { minKeyBits: 0, maxKeyBits: 0, flags: CKF.DIGEST })
  for (const type of Object.values(CKM)) {
    const software = softwareMechanism(type)
    if (software !== undefined) all.set(type, infoOf(software))
  }
  all.set(CKM.AES_KEY_GEN, infoOf({ ...keySizes.aes, purposes: [] }, CKF.GENERATE))
  all.set(CKM.GENERIC_SECRET_KEY_GEN, infoOf({ ...keySizes.hmac, purposes: [] }, CKF.GENERATE))
  for (const [type, info] of token.mechanisms)
    all.set(type, { ...info, flags: info.flags | (all.get(type)?.flags ?? 0) })
  return all
}

const curveFlags: Partial<Record<CKK, number>> = {
  [CKK.EC]: CKF.EC_F_P | CKF.EC_NAMEDCURVE,
  [CKK.EC_EDWARDS]: CKF.EC_NAMEDCURVE,
}

function infoOf(
  { keyType, minKeyBits, maxKeyBits, purposes }: SoftwareMechanism,
  initialFlags: number = curveFlags[keyType] ?? 0,
): MechanismInfo {
  const flags = purposes.reduce((all, each) => all | keyRules[each].flag, initialFlags)
  return { minKeyBits, maxKeyBits, flags }
}

/** CK_TOKEN_INFO. */
export function tokenInfoOf(
  token: Token,
  description: TokenDescription,
  known: {
    readonly usesPinPad: boolean
    readonly dual: boolean
    readonly sessions: readonly { readonly readWrite: boolean }[]
  },
): TokenInfo {
  const { format } = token.pins.user
  return sealed({
    ...description,
    flags: flagsOf(token, known),
    minPinBytes: format.minBytes,
    maxPinBytes: format.maxBytes,
    sessions: known.sessions.length,
    readWriteSessions: known.sessions.filter(({ readWrite }) => readWrite).length,
    maxSessions: Infinity,
    maxReadWriteSessions: Infinity,
    hardwareVersion: null,
    firmwareVersion: null,
    publicMemory: null,
    privateMemory: null,
  })
}

/** CKF_* of CK_TOKEN_INFO. */
function flagsOf(
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
