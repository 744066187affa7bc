/** Constants of PKCS#11 v3.0 (pkcs11t.h), grouped by prefix: `CKM.RSA_PKCS` is CKM_RSA_PKCS. */

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
  SHA_1_HMAC: 0x0221,
  SHA256: 0x0250,
  SHA256_HMAC: 0x0251,
  SHA224: 0x0255,
  SHA224_HMAC: 0x0256,
  SHA384: 0x0260,
  SHA384_HMAC: 0x0261,
  SHA512: 0x0270,
  SHA512_HMAC: 0x0271,
  SHA3_256: 0x02b0,
  SHA3_256_HMAC: 0x02b1,
  SHA3_224: 0x02b5,
  SHA3_224_HMAC: 0x02b6,
  SHA3_384: 0x02c0,
  SHA3_384_HMAC: 0x02c1,
  SHA3_512: 0x02d0,
  SHA3_512_HMAC: 0x02d1,
  GENERIC_SECRET_KEY_GEN: 0x0350,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDSA_SHA1: 0x1042,
  ECDSA_SHA224: 0x1043,
  ECDSA_SHA256: 0x1044,
  ECDSA_SHA384: 0x1045,
  ECDSA_SHA512: 0x1046,
  ECDH1_DERIVE: 0x1050,
  ECDH1_COFACTOR_DERIVE: 0x1051,
  EDDSA: 0x1057,
  AES_KEY_GEN: 0x1080,
  AES_ECB: 0x1081,
  AES_CBC: 0x1082,
  AES_CBC_PAD: 0x1085,
  AES_CTR: 0x1086,
  AES_GCM: 0x1087,
  AES_KEY_WRAP: 0x2109,
  AES_KEY_WRAP_KWP: 0x210b,
} as const
export type CKM = (typeof CKM)[keyof typeof CKM]

/** Attribute types. */
export const CKA = {
  CLASS: 0x0000,
  TOKEN: 0x0001,
  PRIVATE: 0x0002,
  LABEL: 0x0003,
  UNIQUE_ID: 0x0004,
  APPLICATION: 0x0010,
  VALUE: 0x0011,
  OBJECT_ID: 0x0012,
  CERTIFICATE_TYPE: 0x0080,
  ISSUER: 0x0081,
  SERIAL_NUMBER: 0x0082,
  TRUSTED: 0x0086,
  CERTIFICATE_CATEGORY: 0x0087,
  CHECK_VALUE: 0x0090,
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
  START_DATE: 0x0110,
  END_DATE: 0x0111,
  MODULUS: 0x0120,
  MODULUS_BITS: 0x0121,
  PUBLIC_EXPONENT: 0x0122,
  PRIVATE_EXPONENT: 0x0123,
  PRIME_1: 0x0124,
  PRIME_2: 0x0125,
  EXPONENT_1: 0x0126,
  EXPONENT_2: 0x0127,
  COEFFICIENT: 0x0128,
  PUBLIC_KEY_INFO: 0x0129,
  VALUE_LEN: 0x0161,
  EXTRACTABLE: 0x0162,
  LOCAL: 0x0163,
  NEVER_EXTRACTABLE: 0x0164,
  ALWAYS_SENSITIVE: 0x0165,
  KEY_GEN_MECHANISM: 0x0166,
  MODIFIABLE: 0x0170,
  COPYABLE: 0x0171,
  DESTROYABLE: 0x0172,
  EC_PARAMS: 0x0180,
  EC_POINT: 0x0181,
  ALWAYS_AUTHENTICATE: 0x0202,
  WRAP_WITH_TRUSTED: 0x0210,
  ALLOWED_MECHANISMS: 0x4000_0600,
} as const
export type CKA = (typeof CKA)[keyof typeof CKA]

declare const kind: unique symbol

/**
 * Tags each constant with its group, because equal numbers mean different things: the compiler refuses CKO_PRIVATE_KEY (3)
 * for CKK_EC (3). Plain numbers are accepted.
 */
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

const certificateTypes = { X_509: 0 } as const

/** Certificate types. */
export const CKC: ConstantsOf<'CKC', typeof certificateTypes> = certificateTypes
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

/** Key derivation functions of ECDH. */
export const CKD = {
  NULL: 1,
  SHA1_KDF: 2,
  SHA224_KDF: 5,
  SHA256_KDF: 6,
  SHA384_KDF: 7,
  SHA512_KDF: 8,
} as const
export type CKD = (typeof CKD)[keyof typeof CKD]

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
  NEED_TO_CREATE_THREADS: 0x009,
  CANT_LOCK: 0x00a,
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
  AEAD_DECRYPT_FAILED: 0x042,
  FUNCTION_CANCELED: 0x050,
  FUNCTION_NOT_PARALLEL: 0x051,
  FUNCTION_NOT_SUPPORTED: 0x054,
  KEY_HANDLE_INVALID: 0x060,
  KEY_SIZE_RANGE: 0x062,
  KEY_TYPE_INCONSISTENT: 0x063,
  KEY_NOT_NEEDED: 0x064,
  KEY_CHANGED: 0x065,
  KEY_NEEDED: 0x066,
  KEY_INDIGESTIBLE: 0x067,
  KEY_FUNCTION_NOT_PERMITTED: 0x068,
  KEY_NOT_WRAPPABLE: 0x069,
  KEY_UNEXTRACTABLE: 0x06a,
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
  UNWRAPPING_KEY_HANDLE_INVALID: 0x0f0,
  UNWRAPPING_KEY_SIZE_RANGE: 0x0f1,
  UNWRAPPING_KEY_TYPE_INCONSISTENT: 0x0f2,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_NOT_LOGGED_IN: 0x101,
  USER_PIN_NOT_INITIALIZED: 0x102,
  USER_TYPE_INVALID: 0x103,
  USER_ANOTHER_ALREADY_LOGGED_IN: 0x104,
  USER_TOO_MANY_TYPES: 0x105,
  WRAPPED_KEY_INVALID: 0x110,
  WRAPPED_KEY_LEN_RANGE: 0x112,
  WRAPPING_KEY_HANDLE_INVALID: 0x113,
  WRAPPING_KEY_SIZE_RANGE: 0x114,
  WRAPPING_KEY_TYPE_INCONSISTENT: 0x115,
  RANDOM_SEED_NOT_SUPPORTED: 0x120,
  RANDOM_NO_RNG: 0x121,
  DOMAIN_PARAMS_INVALID: 0x130,
  CURVE_NOT_SUPPORTED: 0x140,
  BUFFER_TOO_SMALL: 0x150,
  SAVED_STATE_INVALID: 0x160,
  INFORMATION_SENSITIVE: 0x170,
  STATE_UNSAVEABLE: 0x180,
  CRYPTOKI_NOT_INITIALIZED: 0x190,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
  MUTEX_BAD: 0x1a0,
  MUTEX_NOT_LOCKED: 0x1a1,
  NEW_PIN_MODE: 0x1b0,
  NEXT_OTP: 0x1b1,
  EXCEEDED_MAX_ITERATIONS: 0x1b5,
  FIPS_SELF_TEST_FAILED: 0x1b6,
  LIBRARY_LOAD_FAILED: 0x1b7,
  PIN_TOO_WEAK: 0x1b8,
  PUBLIC_KEY_INVALID: 0x1b9,
  FUNCTION_REJECTED: 0x200,
  TOKEN_RESOURCE_EXCEEDED: 0x201,
  OPERATION_CANCEL_FAILED: 0x202,
  KEY_EXHAUSTED: 0x203,
} as const
export type CKR = (typeof CKR)[keyof typeof CKR]

const names: ReadonlyMap<number, string> = /* @__PURE__ */ namesOf('CKR', CKR)

/** Returns the name of a return value, such as 'CKR_OPERATION_ACTIVE', or the number in hex if `CKR` does not contain it. */
export function ckrName(rv: number): string {
  return names.get(rv) ?? inHex('CKR', rv)
}

/** Returns the name of a mechanism, such as 'CKM_ECDSA', or the number in hex if `CKM` does not contain it. */
export function ckmName(type: number): string {
  return namesOf('CKM', CKM).get(type) ?? inHex('CKM', type)
}

/** Returns the name of an attribute, such as 'CKA_LABEL', or the number in hex if `CKA` does not contain it. */
export function ckaName(type: number): string {
  return namesOf('CKA', CKA).get(type) ?? inHex('CKA', type)
}

function namesOf(kind: string, constants: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(constants).map(([name, number]) => [number, `${kind}_${name}`]))
}

function inHex(kind: string, number: number): string {
  return `${kind} 0x${number.toString(16).padStart(8, '0')}`
}
