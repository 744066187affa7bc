/** What a key must be for each of its uses. */
import type { AttributeTypes } from './attributes.ts'
import { CKF } from './ckf.ts'
import { CKA, CKO } from './constants.ts'
import type { KeyOperationType, KeyPurpose } from './key-use.ts'

/** Of one use. */
export interface KeyRules {
  /** The attribute that allows it. */
  readonly attribute: keyof AttributeTypes
  /** The flag of a mechanism that has it. */
  readonly flag: number
  /** Whose part it is; a secret key takes both. */
  readonly keyClass: CKO
}

const [own, open] = [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY]
/** By use. */
export const keyRules: Readonly<Record<KeyPurpose, KeyRules>> = {
  encrypt: { attribute: CKA.ENCRYPT, flag: CKF.ENCRYPT, keyClass: open },
  decrypt: { attribute: CKA.DECRYPT, flag: CKF.DECRYPT, keyClass: own },
  sign: { attribute: CKA.SIGN, flag: CKF.SIGN, keyClass: own },
  'sign-recover': { attribute: CKA.SIGN_RECOVER, flag: CKF.SIGN_RECOVER, keyClass: own },
  verify: { attribute: CKA.VERIFY, flag: CKF.VERIFY, keyClass: open },
  'verify-recover': { attribute: CKA.VERIFY_RECOVER, flag: CKF.VERIFY_RECOVER, keyClass: open },
  wrap: { attribute: CKA.WRAP, flag: CKF.WRAP, keyClass: open },
  unwrap: { attribute: CKA.UNWRAP, flag: CKF.UNWRAP, keyClass: own },
  derive: { attribute: CKA.DERIVE, flag: CKF.DERIVE, keyClass: own },
}

const calls: ReadonlySet<string> = /* @__PURE__ */ new Set<KeyPurpose>(['wrap', 'unwrap', 'derive'])

/** Whether it is one of the six kinds of operation that take a key. */
export function isKeyOperation(type: string): type is KeyOperationType {
  return Object.hasOwn(keyRules, type) && !calls.has(type)
}
