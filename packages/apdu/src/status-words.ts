/** Names and meanings of status words, ISO/IEC 7816-4:2013 clause 5.1.3, tables 5 and 6. */

import * as words from './sw.ts'

/** Status words with exactly one meaning. Functions read the families 61xx, 63Cx and 6Cxx. */
export * as SW from './sw.ts'
/** A status word of `SW`. */
export type SW = (typeof words)[keyof typeof words]

const meanings: ReadonlyMap<number, string> = /* @__PURE__ */ new Map([
  [words.OK, 'no error'],
  [words.FILE_DEACTIVATED, 'the selected file is deactivated'],
  [words.END_OF_FILE, 'the end was reached before Le bytes'],
  [words.WARNING, 'warning, or verification failed'],
  [words.EXECUTION_ERROR, 'execution error'],
  [words.MEMORY_FAILURE, 'memory failure'],
  [words.WRONG_LENGTH, 'wrong length'],
  [words.CHANNEL_NOT_SUPPORTED, 'logical channel not supported'],
  [words.SECURE_MESSAGING_NOT_SUPPORTED, 'secure messaging not supported'],
  [words.LAST_CHAIN_COMMAND_EXPECTED, 'the last command of the chain was expected'],
  [words.CHAINING_NOT_SUPPORTED, 'command chaining not supported'],
  [words.SECURITY_STATUS_NOT_SATISFIED, 'security status not satisfied'],
  [words.AUTHENTICATION_BLOCKED, 'authentication method blocked'],
  [words.REFERENCE_DATA_NOT_USABLE, 'reference data not usable'],
  [words.CONDITIONS_NOT_SATISFIED, 'conditions of use not satisfied'],
  [words.COMMAND_NOT_ALLOWED, 'command not allowed'],
  [words.WRONG_DATA, 'wrong data'],
  [words.FUNCTION_NOT_SUPPORTED, 'function not supported'],
  [words.NOT_FOUND, 'file or application not found'],
  [words.RECORD_NOT_FOUND, 'record not found'],
  [words.NOT_ENOUGH_MEMORY, 'not enough memory'],
  [words.WRONG_P1_P2, 'wrong P1 P2'],
  [words.REFERENCED_DATA_NOT_FOUND, 'referenced data not found'],
  [words.OUTSIDE_OF_FILE, 'wrong P1 P2'],
  [words.INS_NOT_SUPPORTED, 'instruction not supported'],
  [words.CLA_NOT_SUPPORTED, 'class not supported'],
  [words.UNKNOWN, 'no precise diagnosis'],
])

/** The meaning of SW1 alone, for words that `meanings` lacks. */
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

/** Describes a status word in English, such as 'security status not satisfied'. Never empty. */
export function describeStatus(sw: number): string {
  const exact = meanings.get(sw)
  if (exact !== undefined) return exact
  const tries = triesLeftFromStatus(sw)
  if (tries !== undefined) return `verification failed, ${tries} ${tries === 1 ? 'attempt' : 'attempts'} left`
  const sw1 = sw >> 8
  const sw2 = sw & 0xff
  if (sw1 === 0x61) return `${sw2 === 0 ? '256 or more' : sw2} bytes still available`
  if (sw1 === 0x6c) return `wrong Le, ${sw2 || 256} bytes available`
  return families.get(sw1) ?? 'unknown status'
}

/** Returns the attempts left that 63Cx reports, or undefined for every other status word. */
export function triesLeftFromStatus(sw: number): number | undefined {
  return (sw & 0xfff0) === 0x63c0 ? sw & 0x0f : undefined
}

/**
 * Returns true for 64xx: the card did not execute the command, for example because it is busy, so the response says
 * nothing about its contents.
 */
export function isNotExecuted(sw: number): boolean {
  return sw >> 8 === 0x64
}
