/** Flags (CKF) as PKCS#11 v3.0 prints them. One module, so that a bundle holds those that it uses. */

/** Slot: a token is there. */
export const TOKEN_PRESENT = 0x1 as const
/** Slot: its device can be removed. */
export const REMOVABLE_DEVICE = 0x2 as const
/** Slot: it is in hardware. */
export const HW_SLOT = 0x4 as const
/** Session: it may write. */
export const RW_SESSION = 0x2 as const
/** Session: always set, as the standard wants. */
export const SERIAL_SESSION = 0x4 as const
/** Token: it has a random number generator. */
export const RNG = 0x1 as const
/** Token: it cannot be written. */
export const WRITE_PROTECTED = 0x2 as const
/** Token: some functions need a login. */
export const LOGIN_REQUIRED = 0x4 as const
/** Token: the user’s PIN is set. */
export const USER_PIN_INITIALIZED = 0x8 as const
/** Token: a saved state holds all keys that it needs. */
export const RESTORE_KEY_NOT_NEEDED = 0x20 as const
/** Token: it has a clock. */
export const CLOCK_ON_TOKEN = 0x40 as const
/** Token: the PIN is typed on the reader or the token. */
export const PROTECTED_AUTHENTICATION_PATH = 0x100 as const
/** Token: a session takes two operations that make a pair. */
export const DUAL_CRYPTO_OPERATIONS = 0x200 as const
/** Token: it has been initialized. */
export const TOKEN_INITIALIZED = 0x400 as const
/** Token: a wrong user’s PIN was given since the last right one. */
export const USER_PIN_COUNT_LOW = 0x1_0000 as const
/** Token: one wrong user’s PIN more locks it. */
export const USER_PIN_FINAL_TRY = 0x2_0000 as const
/** Token: the user’s PIN is locked. */
export const USER_PIN_LOCKED = 0x4_0000 as const
/** Token: the user’s PIN must be changed. */
export const USER_PIN_TO_BE_CHANGED = 0x8_0000 as const
/** Token: a wrong SO’s PIN was given since the last right one. */
export const SO_PIN_COUNT_LOW = 0x10_0000 as const
/** Token: one wrong SO’s PIN more locks it. */
export const SO_PIN_FINAL_TRY = 0x20_0000 as const
/** Token: the SO’s PIN is locked. */
export const SO_PIN_LOCKED = 0x40_0000 as const
/** Token: the SO’s PIN must be changed. */
export const SO_PIN_TO_BE_CHANGED = 0x80_0000 as const
/** Token: it failed a self-test. */
export const ERROR_STATE = 0x100_0000 as const
/** Mechanism: done by the device. */
export const HW = 0x1 as const
/** Mechanism: C_EncryptInit takes it. */
export const ENCRYPT = 0x100 as const
/** Mechanism: C_DecryptInit takes it. */
export const DECRYPT = 0x200 as const
/** Mechanism: C_DigestInit takes it. */
export const DIGEST = 0x400 as const
/** Mechanism: C_SignInit takes it. */
export const SIGN = 0x800 as const
/** Mechanism: C_SignRecoverInit takes it. */
export const SIGN_RECOVER = 0x1000 as const
/** Mechanism: C_VerifyInit takes it. */
export const VERIFY = 0x2000 as const
/** Mechanism: C_VerifyRecoverInit takes it. */
export const VERIFY_RECOVER = 0x4000 as const
/** Mechanism: C_GenerateKey takes it. */
export const GENERATE = 0x8000 as const
/** Mechanism: C_GenerateKeyPair takes it. */
export const GENERATE_KEY_PAIR = 0x1_0000 as const
/** Mechanism: C_WrapKey takes it. */
export const WRAP = 0x2_0000 as const
/** Mechanism: C_UnwrapKey takes it. */
export const UNWRAP = 0x4_0000 as const
/** Mechanism: C_DeriveKey takes it. */
export const DERIVE = 0x8_0000 as const
/** Mechanism: curves over prime fields. */
export const EC_F_P = 0x10_0000 as const
/** Mechanism: curves by their names. */
export const EC_NAMEDCURVE = 0x80_0000 as const
/** Mechanism: uncompressed points. */
export const EC_UNCOMPRESS = 0x100_0000 as const
