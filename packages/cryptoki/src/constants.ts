/** Constants as PKCS#11 v2.40 prints them (pkcs11t.h), without their prefix: `CKM.RSA_PKCS` is CKM_RSA_PKCS. */

/** Mechanisms. */
export const CKM = {
  RSA_PKCS_KEY_PAIR_GEN: 0x0000,
  RSA_PKCS: 0x0001,
  RSA_X_509: 0x0003,
  SHA1_RSA_PKCS: 0x0006,
  RSA_PKCS_OAEP: 0x0009,
  RSA_PKCS_PSS: 0x000d,
  SHA1_RSA_PKCS_PSS: 0x000e,
  SHA256_RSA_PKCS: 0x0040,
  SHA384_RSA_PKCS: 0x0041,
  SHA512_RSA_PKCS: 0x0042,
  SHA256_RSA_PKCS_PSS: 0x0043,
  SHA384_RSA_PKCS_PSS: 0x0044,
  SHA512_RSA_PKCS_PSS: 0x0045,
  SHA224_RSA_PKCS: 0x0046,
  SHA224_RSA_PKCS_PSS: 0x0047,
  SHA_1: 0x0220,
  SHA256: 0x0250,
  SHA224: 0x0255,
  SHA384: 0x0260,
  SHA512: 0x0270,
  SHA3_256: 0x02b0,
  SHA3_224: 0x02b5,
  SHA3_384: 0x02c0,
  SHA3_512: 0x02d0,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDSA_SHA1: 0x1042,
  ECDSA_SHA224: 0x1043,
  ECDSA_SHA256: 0x1044,
  ECDSA_SHA384: 0x1045,
  ECDSA_SHA512: 0x1046,
  ECDH1_DERIVE: 0x1050,
  ECDH1_COFACTOR_DERIVE: 0x1051,
  AES_KEY_GEN: 0x1080,
  AES_ECB: 0x1081,
  AES_CBC: 0x1082,
  AES_CBC_PAD: 0x1085,
  AES_CTR: 0x1086,
} as const
export type CKM = (typeof CKM)[keyof typeof CKM]

/** Attribute types. */
export const CKA = {
  CLASS: 0x0000,
  TOKEN: 0x0001,
  PRIVATE: 0x0002,
  LABEL: 0x0003,
  APPLICATION: 0x0010,
  VALUE: 0x0011,
  OBJECT_ID: 0x0012,
  CERTIFICATE_TYPE: 0x0080,
  ISSUER: 0x0081,
  SERIAL_NUMBER: 0x0082,
  TRUSTED: 0x0086,
  CERTIFICATE_CATEGORY: 0x0087,
  KEY_TYPE: 0x0100,
  SUBJECT: 0x0101,
  ID: 0x0102,
  SENSITIVE: 0x0103,
  ENCRYPT: 0x0104,
  DECRYPT: 0x0105,
  WRAP: 0x0106,
  UNWRAP: 0x0107,
  SIGN: 0x0108,
  SIGN_RECOVER: 0x0109,
  VERIFY: 0x010a,
  VERIFY_RECOVER: 0x010b,
  DERIVE: 0x010c,
  MODULUS: 0x0120,
  MODULUS_BITS: 0x0121,
  PUBLIC_EXPONENT: 0x0122,
  PUBLIC_KEY_INFO: 0x0129,
  VALUE_LEN: 0x0161,
  EXTRACTABLE: 0x0162,
  LOCAL: 0x0163,
  NEVER_EXTRACTABLE: 0x0164,
  ALWAYS_SENSITIVE: 0x0165,
  MODIFIABLE: 0x0170,
  COPYABLE: 0x0171,
  DESTROYABLE: 0x0172,
  EC_PARAMS: 0x0180,
  EC_POINT: 0x0181,
  ALWAYS_AUTHENTICATE: 0x0202,
} as const
export type CKA = (typeof CKA)[keyof typeof CKA]

declare const kind: unique symbol

/** Small numbers mean different things: the types refuse CKO_PRIVATE_KEY (3) as the mechanism CKM_RSA_X_509 (3). Plain numbers are taken. */
type ConstantsOf<K extends string, T extends Readonly<Record<string, number>>> = {
  readonly [N in keyof T]: number & { readonly [kind]?: readonly [K, T[N]] }
}

const objectClasses = {
  DATA: 0,
  CERTIFICATE: 1,
  PUBLIC_KEY: 2,
  PRIVATE_KEY: 3,
  SECRET_KEY: 4,
} as const

/** Object classes. */
export const CKO: ConstantsOf<'CKO', typeof objectClasses> = objectClasses
export type CKO = (typeof CKO)[keyof typeof CKO]

const keyTypes = {
  RSA: 0x00,
  EC: 0x03,
  GENERIC_SECRET: 0x10,
  DES3: 0x15,
  AES: 0x1f,
  EC_EDWARDS: 0x40,
  EC_MONTGOMERY: 0x41,
} as const

/** Key types. */
export const CKK: ConstantsOf<'CKK', typeof keyTypes> = keyTypes
export type CKK = (typeof CKK)[keyof typeof CKK]

/** Certificate types. */
export const CKC = { X_509: 0 } as const
export type CKC = (typeof CKC)[keyof typeof CKC]

/** Mask generation functions of PSS and OAEP. */
export const CKG = {
  MGF1_SHA1: 1,
  MGF1_SHA256: 2,
  MGF1_SHA384: 3,
  MGF1_SHA512: 4,
  MGF1_SHA224: 5,
} as const
export type CKG = (typeof CKG)[keyof typeof CKG]

/** User types. */
export const CKU = { SO: 0, USER: 1, CONTEXT_SPECIFIC: 2 } as const
export type CKU = (typeof CKU)[keyof typeof CKU]

/** Session states. */
export const CKS = {
  RO_PUBLIC_SESSION: 0,
  RO_USER_FUNCTIONS: 1,
  RW_PUBLIC_SESSION: 2,
  RW_USER_FUNCTIONS: 3,
  RW_SO_FUNCTIONS: 4,
} as const
export type CKS = (typeof CKS)[keyof typeof CKS]

/** Flags of tokens, then of mechanisms. Equal bits mean different things in the two. */
export const CKF = {
  RNG: 0x1,
  WRITE_PROTECTED: 0x2,
  LOGIN_REQUIRED: 0x4,
  USER_PIN_INITIALIZED: 0x8,
  RESTORE_KEY_NOT_NEEDED: 0x20,
  PROTECTED_AUTHENTICATION_PATH: 0x100,
  DUAL_CRYPTO_OPERATIONS: 0x200,
  TOKEN_INITIALIZED: 0x400,
  USER_PIN_COUNT_LOW: 0x1_0000,
  USER_PIN_FINAL_TRY: 0x2_0000,
  USER_PIN_LOCKED: 0x4_0000,
  USER_PIN_TO_BE_CHANGED: 0x8_0000,
  HW: 0x1,
  ENCRYPT: 0x100,
  DECRYPT: 0x200,
  DIGEST: 0x400,
  SIGN: 0x800,
  SIGN_RECOVER: 0x1000,
  VERIFY: 0x2000,
  VERIFY_RECOVER: 0x4000,
  EC_F_P: 0x10_0000,
  EC_NAMEDCURVE: 0x80_0000,
} as const
export type CKF = (typeof CKF)[keyof typeof CKF]

/** Return values. */
export const CKR = {
  OK: 0x000,
  CANCEL: 0x001,
  HOST_MEMORY: 0x002,
  SLOT_ID_INVALID: 0x003,
  GENERAL_ERROR: 0x005,
  FUNCTION_FAILED: 0x006,
  ARGUMENTS_BAD: 0x007,
  NO_EVENT: 0x008,
  ATTRIBUTE_READ_ONLY: 0x010,
  ATTRIBUTE_SENSITIVE: 0x011,
  ATTRIBUTE_TYPE_INVALID: 0x012,
  ATTRIBUTE_VALUE_INVALID: 0x013,
  ACTION_PROHIBITED: 0x01b,
  DATA_INVALID: 0x020,
  DATA_LEN_RANGE: 0x021,
  DEVICE_ERROR: 0x030,
  DEVICE_MEMORY: 0x031,
  DEVICE_REMOVED: 0x032,
  ENCRYPTED_DATA_INVALID: 0x040,
  ENCRYPTED_DATA_LEN_RANGE: 0x041,
  FUNCTION_CANCELED: 0x050,
  FUNCTION_NOT_PARALLEL: 0x051,
  FUNCTION_NOT_SUPPORTED: 0x054,
  KEY_HANDLE_INVALID: 0x060,
  KEY_SIZE_RANGE: 0x062,
  KEY_TYPE_INCONSISTENT: 0x063,
  KEY_FUNCTION_NOT_PERMITTED: 0x068,
  MECHANISM_INVALID: 0x070,
  MECHANISM_PARAM_INVALID: 0x071,
  OBJECT_HANDLE_INVALID: 0x082,
  OPERATION_ACTIVE: 0x090,
  OPERATION_NOT_INITIALIZED: 0x091,
  PIN_INCORRECT: 0x0a0,
  PIN_INVALID: 0x0a1,
  PIN_LEN_RANGE: 0x0a2,
  PIN_EXPIRED: 0x0a3,
  PIN_LOCKED: 0x0a4,
  SESSION_CLOSED: 0x0b0,
  SESSION_COUNT: 0x0b1,
  SESSION_HANDLE_INVALID: 0x0b3,
  SESSION_PARALLEL_NOT_SUPPORTED: 0x0b4,
  SESSION_READ_ONLY: 0x0b5,
  SESSION_EXISTS: 0x0b6,
  SESSION_READ_ONLY_EXISTS: 0x0b7,
  SESSION_READ_WRITE_SO_EXISTS: 0x0b8,
  SIGNATURE_INVALID: 0x0c0,
  SIGNATURE_LEN_RANGE: 0x0c1,
  TEMPLATE_INCOMPLETE: 0x0d0,
  TEMPLATE_INCONSISTENT: 0x0d1,
  TOKEN_NOT_PRESENT: 0x0e0,
  TOKEN_NOT_RECOGNIZED: 0x0e1,
  TOKEN_WRITE_PROTECTED: 0x0e2,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_NOT_LOGGED_IN: 0x101,
  USER_PIN_NOT_INITIALIZED: 0x102,
  USER_TYPE_INVALID: 0x103,
  USER_ANOTHER_ALREADY_LOGGED_IN: 0x104,
  USER_TOO_MANY_TYPES: 0x105,
  RANDOM_SEED_NOT_SUPPORTED: 0x120,
  RANDOM_NO_RNG: 0x121,
  BUFFER_TOO_SMALL: 0x150,
  SAVED_STATE_INVALID: 0x160,
  STATE_UNSAVEABLE: 0x180,
  CRYPTOKI_NOT_INITIALIZED: 0x190,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
  FUNCTION_REJECTED: 0x200,
  OPERATION_CANCEL_FAILED: 0x202,
} as const
export type CKR = (typeof CKR)[keyof typeof CKR]

const names: ReadonlyMap<number, string> = /* @__PURE__ */ new Map(
  Object.entries(CKR).map(([name, rv]) => [rv, `CKR_${name}`]),
)

/** The standard's name, such as 'CKR_OPERATION_ACTIVE'; the number in hex where it is not one of `CKR`. */
export function ckrName(rv: number): string {
  return names.get(rv) ?? `CKR 0x${rv.toString(16).padStart(8, '0')}`
}
