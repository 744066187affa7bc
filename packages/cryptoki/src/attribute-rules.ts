/** Which attributes an object has, and what an application may do with them: PKCS#11 v3.0, 4.2 to 4.10, mechanisms 2.1, 2.3, 2.7 and 2.8. */
import { type AttributeTypes, type Attributes, attributeTypesOf } from './attributes.ts'
import { CKA, CKC, CKK, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** How an object comes into being. */
export type Making = 'create' | 'generate' | 'unwrap' | 'derive'

/**
 * The standard's footnotes to an attribute (v3.0, table 11). Required by C_CreateObject 1, C_GenerateKey 3, C_UnwrapKey 5;
 * not allowed there 2, 4, 6. 7: not told of a sensitive or unextractable key. 8: may be changed. 10: only the SO sets it to
 * true. 11, 12: stays true, stays false. 0 is ours: may be changed in a copy only.
 */
type Footnotes = readonly number[]

type Rows = Readonly<Partial<Record<keyof typeof CKA, Footnotes>>>

const storage: Rows = {
  CLASS: [1],
  TOKEN: [0],
  PRIVATE: [0],
  MODIFIABLE: [0],
  COPYABLE: [0, 12],
  DESTROYABLE: [0],
  LABEL: [8],
  UNIQUE_ID: [2, 4, 6],
}

const key: Rows = {
  ...storage,
  KEY_TYPE: [1, 5],
  ID: [8],
  START_DATE: [8],
  END_DATE: [8],
  DERIVE: [8],
  LOCAL: [2, 4, 6],
  KEY_GEN_MECHANISM: [2, 4, 6],
  ALLOWED_MECHANISMS: [],
}

const publicKey: Rows = {
  ...key,
  SUBJECT: [8],
  ENCRYPT: [8],
  VERIFY: [8],
  VERIFY_RECOVER: [8],
  WRAP: [8],
  TRUSTED: [10],
  PUBLIC_KEY_INFO: [],
}

const confidential: Rows = {
  SENSITIVE: [8, 11],
  EXTRACTABLE: [8, 12],
  ALWAYS_SENSITIVE: [2, 4, 6],
  NEVER_EXTRACTABLE: [2, 4, 6],
  WRAP_WITH_TRUSTED: [8, 11],
}

const privateKey: Rows = {
  ...key,
  ...confidential,
  SUBJECT: [8],
  DECRYPT: [8],
  SIGN: [8],
  SIGN_RECOVER: [8],
  UNWRAP: [8],
  ALWAYS_AUTHENTICATE: [],
  PUBLIC_KEY_INFO: [8],
}

const secretKey: Rows = {
  ...key,
  ...confidential,
  ENCRYPT: [8],
  DECRYPT: [8],
  SIGN: [8],
  VERIFY: [8],
  WRAP: [8],
  UNWRAP: [8],
  CHECK_VALUE: [],
  TRUSTED: [10],
  VALUE: [1, 4, 6, 7],
}

const certificate: Rows = {
  ...storage,
  CERTIFICATE_TYPE: [1],
  TRUSTED: [10],
  CERTIFICATE_CATEGORY: [],
  CHECK_VALUE: [],
  START_DATE: [],
  END_DATE: [],
  PUBLIC_KEY_INFO: [],
  SUBJECT: [1],
  ID: [8],
  ISSUER: [8],
  SERIAL_NUMBER: [8],
  VALUE: [1],
}

const ecPublicKey: Rows = { ...publicKey, EC_PARAMS: [1, 3], EC_POINT: [1, 4] }
const ecPrivateKey: Rows = { ...privateKey, EC_PARAMS: [1, 4, 6], VALUE: [1, 4, 6, 7] }

/** By class, and by type of key or certificate. */
const tables: readonly (readonly [CKO, number | undefined, Rows])[] = [
  [CKO.DATA, undefined, { ...storage, APPLICATION: [], OBJECT_ID: [], VALUE: [] }],
  [CKO.CERTIFICATE, CKC.X_509, certificate],
  [CKO.PUBLIC_KEY, CKK.RSA, { ...publicKey, MODULUS: [1, 4], MODULUS_BITS: [2, 3], PUBLIC_EXPONENT: [1] }],
  [CKO.PUBLIC_KEY, CKK.EC, ecPublicKey],
  [CKO.PUBLIC_KEY, CKK.EC_EDWARDS, ecPublicKey],
  [CKO.PUBLIC_KEY, CKK.EC_MONTGOMERY, ecPublicKey],
  [
    CKO.PRIVATE_KEY,
    CKK.RSA,
    {
      ...privateKey,
      MODULUS: [1, 4, 6],
      PUBLIC_EXPONENT: [1, 4, 6],
      PRIVATE_EXPONENT: [1, 4, 6, 7],
      PRIME_1: [4, 6, 7],
      PRIME_2: [4, 6, 7],
      EXPONENT_1: [4, 6, 7],
      EXPONENT_2: [4, 6, 7],
      COEFFICIENT: [4, 6, 7],
    },
  ],
  [CKO.PRIVATE_KEY, CKK.EC, ecPrivateKey],
  [CKO.PRIVATE_KEY, CKK.EC_EDWARDS, ecPrivateKey],
  [CKO.PRIVATE_KEY, CKK.EC_MONTGOMERY, ecPrivateKey],
  [CKO.SECRET_KEY, CKK.GENERIC_SECRET, { ...secretKey, VALUE_LEN: [2, 3] }],
  [CKO.SECRET_KEY, CKK.AES, { ...secretKey, VALUE_LEN: [2, 3, 6] }],
  [CKO.SECRET_KEY, CKK.DES3, secretKey],
]

/** The attributes of the objects of a class and type; undefined: nothing here knows such objects. */
export function attributesOfClass(
  objectClass: CKO,
  type: number | undefined,
): ReadonlyMap<keyof AttributeTypes, Footnotes> | undefined {
  const rows = tables.find(([each, of]) => each === objectClass && of === type)?.[2]
  if (rows === undefined) return undefined
  return new Map(Object.entries(rows).map(([name, notes]) => [CKA[name as keyof typeof CKA], notes]))
}

/** The footnotes by which an attribute must, or must not, stand in the template. */
const notesOf: Readonly<Record<Making, { readonly required?: number; readonly refused: number }>> = {
  create: { required: 1, refused: 2 },
  generate: { required: 3, refused: 4 },
  unwrap: { required: 5, refused: 6 },
  // The mechanism gives what a generation gives.
  derive: { refused: 4 },
}

/**
 * Whether an object may be made by this template, which has its class and type (4.1.1). Throws CKR_TEMPLATE_INCOMPLETE if
 * one is missing, CKR_TEMPLATE_INCONSISTENT for an attribute of other classes and CKR_ATTRIBUTE_READ_ONLY for one that
 * only the token gives.
 */
export function checkTemplate(making: Making, template: Attributes): void {
  const objectClass = template[CKA.CLASS]
  if (objectClass === undefined) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  const rules = attributesOfClass(objectClass, typeIn(template))
  if (rules === undefined) throw new CryptokiError(refusalOf(template))
  const { required, refused } = notesOf[making]
  for (const type of attributeTypesOf(template)) {
    const notes = rules.get(type)
    if (notes === undefined) throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
    const isForOfficer = notes.includes(10) && template[type] === true
    if (notes.includes(refused) || isForOfficer) throw new CryptokiError(CKR.ATTRIBUTE_READ_ONLY)
  }
  for (const [type, notes] of rules)
    if (required !== undefined && notes.includes(required) && template[type] === undefined)
      throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
}

function typeIn(template: Attributes): number | undefined {
  return template[CKA.CLASS] === CKO.CERTIFICATE ? template[CKA.CERTIFICATE_TYPE] : template[CKA.KEY_TYPE]
}

/** A key or certificate whose type is missing is incomplete; others are of no class and type that is known. */
function refusalOf(template: Attributes): CKR {
  const isTyped = typeIn(template) !== undefined || template[CKA.CLASS] === CKO.DATA
  return isTyped ? CKR.TEMPLATE_INCONSISTENT : CKR.TEMPLATE_INCOMPLETE
}

/**
 * Whether C_SetAttributeValue or C_CopyObject may give an object these attributes. Throws CKR_ACTION_PROHIBITED for an
 * object that cannot be modified or copied, CKR_ATTRIBUTE_TYPE_INVALID for an attribute that it does not have (a copy:
 * CKR_TEMPLATE_INCONSISTENT), and CKR_ATTRIBUTE_READ_ONLY.
 */
export function checkChange(how: 'set' | 'copy', template: Attributes, object: Attributes): void {
  const permission = how === 'set' ? CKA.MODIFIABLE : CKA.COPYABLE
  if (object[permission] === false) throw new CryptokiError(CKR.ACTION_PROHIBITED)
  const rules = attributesOfClass(object[CKA.CLASS] as CKO, typeIn(object))
  for (const type of attributeTypesOf(template)) {
    const notes = rules?.get(type)
    if (notes === undefined)
      throw new CryptokiError(how === 'set' ? CKR.ATTRIBUTE_TYPE_INVALID : CKR.TEMPLATE_INCONSISTENT)
    const isChangeable = notes.includes(8) || (how === 'copy' && notes.includes(0))
    const isStuck =
      (notes.includes(11) && object[type] === true) || (notes.includes(12) && object[type] === false)
    if (!isChangeable || (isStuck && template[type] !== object[type]))
      throw new CryptokiError(CKR.ATTRIBUTE_READ_ONLY)
  }
}
