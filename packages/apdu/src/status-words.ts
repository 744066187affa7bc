/** Status words by name, ISO/IEC 7816-4:2013 clause 5.1.3, tables 5 and 6. */

/** Status words that have one meaning each. Families (61xx, 63Cx, 6Cxx) are read by functions. */
export const SW = {
  OK: 0x9000,
  FILE_DEACTIVATED: 0x6283,
  END_OF_FILE: 0x6282,
  WARNING: 0x6300,
  EXECUTION_ERROR: 0x6400,
  MEMORY_FAILURE: 0x6581,
  WRONG_LENGTH: 0x6700,
  CHANNEL_NOT_SUPPORTED: 0x6881,
  SECURE_MESSAGING_NOT_SUPPORTED: 0x6882,
  LAST_CHAIN_COMMAND_EXPECTED: 0x6883,
  CHAINING_NOT_SUPPORTED: 0x6884,
  SECURITY_STATUS_NOT_SATISFIED: 0x6982,
  AUTHENTICATION_BLOCKED: 0x6983,
  REFERENCE_DATA_NOT_USABLE: 0x6984,
  CONDITIONS_NOT_SATISFIED: 0x6985,
  COMMAND_NOT_ALLOWED: 0x6986,
  WRONG_DATA: 0x6a80,
  FUNCTION_NOT_SUPPORTED: 0x6a81,
  NOT_FOUND: 0x6a82,
  RECORD_NOT_FOUND: 0x6a83,
  NOT_ENOUGH_MEMORY: 0x6a84,
  WRONG_P1_P2: 0x6a86,
  REFERENCED_DATA_NOT_FOUND: 0x6a88,
  OUTSIDE_OF_FILE: 0x6b00,
  INS_NOT_SUPPORTED: 0x6d00,
  CLA_NOT_SUPPORTED: 0x6e00,
  UNKNOWN: 0x6f00,
} as const
export type SW = (typeof SW)[keyof typeof SW]

const meanings: ReadonlyMap<number, string> = /* @__PURE__ */ new Map([
  [SW.OK, 'no error'],
  [SW.FILE_DEACTIVATED, 'the selected file is deactivated'],
  [SW.END_OF_FILE, 'the end was reached before Le bytes'],
  [SW.WARNING, 'warning, or verification failed'],
  [SW.EXECUTION_ERROR, 'execution error'],
  [SW.MEMORY_FAILURE, 'memory failure'],
  [SW.WRONG_LENGTH, 'wrong length'],
  [SW.CHANNEL_NOT_SUPPORTED, 'logical channel not supported'],
  [SW.SECURE_MESSAGING_NOT_SUPPORTED, 'secure messaging not supported'],
  [SW.LAST_CHAIN_COMMAND_EXPECTED, 'the last command of the chain was expected'],
  [SW.CHAINING_NOT_SUPPORTED, 'command chaining not supported'],
  [SW.SECURITY_STATUS_NOT_SATISFIED, 'security status not satisfied'],
  [SW.AUTHENTICATION_BLOCKED, 'authentication method blocked'],
  [SW.REFERENCE_DATA_NOT_USABLE, 'reference data not usable'],
  [SW.CONDITIONS_NOT_SATISFIED, 'conditions of use not satisfied'],
  [SW.COMMAND_NOT_ALLOWED, 'command not allowed'],
  [SW.WRONG_DATA, 'wrong data'],
  [SW.FUNCTION_NOT_SUPPORTED, 'function not supported'],
  [SW.NOT_FOUND, 'file or application not found'],
  [SW.RECORD_NOT_FOUND, 'record not found'],
  [SW.NOT_ENOUGH_MEMORY, 'not enough memory'],
  [SW.WRONG_P1_P2, 'wrong P1 P2'],
  [SW.REFERENCED_DATA_NOT_FOUND, 'referenced data not found'],
  [SW.OUTSIDE_OF_FILE, 'wrong P1 P2'],
  [SW.INS_NOT_SUPPORTED, 'instruction not supported'],
  [SW.CLA_NOT_SUPPORTED, 'class not supported'],
  [SW.UNKNOWN, 'no precise diagnosis'],
])

/** What SW1 alone tells, where the exact word is not known. */
const families: ReadonlyMap<number, string> = /* @__PURE__ */ new Map([
  [0x62, 'warning, memory unchanged'],
  [0x63, 'warning, memory changed'],
  [0x64, 'execution error, memory unchanged'],
  [0x65, 'execution error, memory changed'],
  [0x66, 'security issue'],
  [0x68, 'function of the class byte not supported'],
  [0x69, 'command not allowed'],
  [0x6a, 'wrong parameters'],
])

/** The meaning in words, such as 'security status not satisfied'; never empty. */
export function describeStatus(sw: number): string {
  const exact = meanings.get(sw)
  if (exact !== undefined) return exact
  const tries = triesLeftFromStatus(sw)
  if (tries !== undefined) return `verification failed, ${tries} ${tries === 1 ? 'try' : 'tries'} left`
  const sw1 = sw >> 8
  const sw2 = sw & 0xff
  if (sw1 === 0x61) return `${sw2 === 0 ? '256 or more' : sw2} bytes still available`
  if (sw1 === 0x6c) return `wrong Le, ${sw2 || 256} bytes available`
  return families.get(sw1) ?? 'unknown status'
}

/** The tries that 63Cx tells; undefined for every other status word. */
export function triesLeftFromStatus(sw: number): number | undefined {
  return (sw & 0xfff0) === 0x63c0 ? sw & 0x0f : undefined
}

/** Not executed, the state of the card is unchanged (64xx): a busy card, which says nothing of what it has. */
export function isNotExecuted(sw: number): boolean {
  return sw >> 8 === 0x64
}
