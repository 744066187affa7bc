/**
 * Status words with exactly one meaning, ISO/IEC 7816-4:2013 clause 5.1.3. Separate exports, so that a bundle contains
 * only those it uses.
 */

/** Normal processing, no further qualification. */
export const OK = 0x9000
/** The selected file is deactivated. */
export const FILE_DEACTIVATED = 0x6283
/** End of file or record before Ne bytes. */
export const END_OF_FILE = 0x6282
/** Non-volatile memory has changed; after VERIFY, a wrong PIN. */
export const WARNING = 0x6300
/** Execution error; memory has not changed. */
export const EXECUTION_ERROR = 0x6400
/** Memory failure. */
export const MEMORY_FAILURE = 0x6581
/** Wrong length. */
export const WRONG_LENGTH = 0x6700
/** The logical channel is not supported. */
export const CHANNEL_NOT_SUPPORTED = 0x6881
/** Secure messaging is not supported. */
export const SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
/** The last command of the chain is expected. */
export const LAST_CHAIN_COMMAND_EXPECTED = 0x6883
/** Command chaining is not supported. */
export const CHAINING_NOT_SUPPORTED = 0x6884
/** Security status is not satisfied. */
export const SECURITY_STATUS_NOT_SATISFIED = 0x6982
/** The authentication method is blocked. */
export const AUTHENTICATION_BLOCKED = 0x6983
/** Reference data is not usable. */
export const REFERENCE_DATA_NOT_USABLE = 0x6984
/** Conditions of use are not satisfied. */
export const CONDITIONS_NOT_SATISFIED = 0x6985
/** The command is not allowed; no current EF. */
export const COMMAND_NOT_ALLOWED = 0x6986
/** Incorrect parameters in the data field. */
export const WRONG_DATA = 0x6a80
/** The function is not supported. */
export const FUNCTION_NOT_SUPPORTED = 0x6a81
/** File or application not found. */
export const NOT_FOUND = 0x6a82
/** Record not found. */
export const RECORD_NOT_FOUND = 0x6a83
/** Not enough memory in the file. */
export const NOT_ENOUGH_MEMORY = 0x6a84
/** Incorrect P1 or P2. */
export const WRONG_P1_P2 = 0x6a86
/** Referenced data not found. */
export const REFERENCED_DATA_NOT_FOUND = 0x6a88
/** Wrong P1 or P2; an offset outside of the file. */
export const OUTSIDE_OF_FILE = 0x6b00
/** The instruction code is not supported or is invalid. */
export const INS_NOT_SUPPORTED = 0x6d00
/** The class is not supported. */
export const CLA_NOT_SUPPORTED = 0x6e00
/** No precise diagnosis. */
export const UNKNOWN = 0x6f00
