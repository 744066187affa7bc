/** Flags (CKF_*) of PKCS#11 v3.0, as separate exports, so that a bundle contains only those it uses. */

/** Slot: a token is present. */
export const TOKEN_PRESENT = 0x1 as const
/** Slot: the reader supports removable devices. */
export const REMOVABLE_DEVICE = 0x2 as const
/** Slot: it is a hardware slot. */
export const HW_SLOT = 0x4 as const
/** Session: it is read/write. */
export const RW_SESSION = 0x2 as const
/** Session: always set, as the standard requires. */
export const SERIAL_SESSION = 0x4 as const
/** Token: it has a random number generator. */
export const RNG = 0x1 as const
/** Token: it is write-protected. */
export const WRITE_PROTECTED = 0x2 as const
/** Token: some functions require a login. */
export const LOGIN_REQUIRED = 0x4 as const
/** Token: the user PIN has been initialized. */
export const USER_PIN_INITIALIZED = 0x8 as const
/** Token: a saved operation state contains all keys that it needs. */
export const RESTORE_KEY_NOT_NEEDED = 0x20 as const
/** Token: it has a clock. */
export const CLOCK_ON_TOKEN = 0x40 as const
/** Token: the PIN is entered on the reader or the token. */
export const PROTECTED_AUTHENTICATION_PATH = 0x100 as const
/** Token: a session supports dual operations. */
export const DUAL_CRYPTO_OPERATIONS = 0x200 as const
/** Token: it has been initialized. */
export const TOKEN_INITIALIZED = 0x400 as const
/** Token: a wrong user PIN was entered since the last correct one. */
export const USER_PIN_COUNT_LOW = 0x1_0000 as const
/** Token: the next wrong user PIN locks it. */
export const USER_PIN_FINAL_TRY = 0x2_0000 as const
/** Token: the user PIN is locked. */
export const USER_PIN_LOCKED = 0x4_0000 as const
/** Token: the user PIN must be changed. */
export const USER_PIN_TO_BE_CHANGED = 0x8_0000 as const
/** Token: a wrong SO PIN was entered since the last correct one. */
export const SO_PIN_COUNT_LOW = 0x10_0000 as const
/** Token: the next wrong SO PIN locks it. */
export const SO_PIN_FINAL_TRY = 0x20_0000 as const
/** Token: the SO PIN is locked. */
export const SO_PIN_LOCKED = 0x40_0000 as const
/** Token: the SO PIN must be changed. */
export const SO_PIN_TO_BE_CHANGED = 0x80_0000 as const
/** Token: it failed a self-test. */
export const ERROR_STATE = 0x100_0000 as const
/** Mechanism: performed by the device. */
export const HW = 0x1 as const
/** Mechanism: C_EncryptInit supports it. */
export const ENCRYPT = 0x100 as const
/** Mechanism: C_DecryptInit supports it. */
export const DECRYPT = 0x200 as const
/** Mechanism: C_DigestInit supports it. */
export const DIGEST = 0x400 as const
/** Mechanism: C_SignInit supports it. */
export const SIGN = 0x800 as const
/** Mechanism: C_SignRecoverInit supports it. */
export const SIGN_RECOVER = 0x1000 as const
/** Mechanism: C_VerifyInit supports it. */
export const VERIFY = 0x2000 as const
/** Mechanism: C_VerifyRecoverInit supports it. */
export const VERIFY_RECOVER = 0x4000 as const
/** Mechanism: C_GenerateKey supports it. */
export const GENERATE = 0x8000 as const
/** Mechanism: C_GenerateKeyPair supports it. */
export const GENERATE_KEY_PAIR = 0x1_0000 as const
/** Mechanism: C_WrapKey supports it. */
export const WRAP = 0x2_0000 as const
/** Mechanism: C_UnwrapKey supports it. */
export const UNWRAP = 0x4_0000 as const
/** Mechanism: C_DeriveKey supports it. */
export const DERIVE = 0x8_0000 as const
/** Mechanism: curves over prime fields. */
export const EC_F_P = 0x10_0000 as const
/** Mechanism: named curves. */
export const EC_NAMEDCURVE = 0x80_0000 as const
/** Mechanism: uncompressed points. */
export const EC_UNCOMPRESS = 0x100_0000 as const
