/**
 * The attributes of each object class and key type, and the rules for templates: PKCS#11 v3.0, 4.2 to 4.10, and mechanisms
 * 2.1, 2.3, 2.7 and 2.8.
 */
import { type AttributeTypes, type Attributes, attributeTypesOf } from './attributes.ts'
import { CKA, CKC, CKK, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** The function that creates an object. */
export type CreationMethod = 'create' | 'generate' | 'unwrap' | 'derive'

/**
 * The footnotes to an attribute (PKCS#11 v3.0, table 11):
 * - 1, 3, 5: required by C_CreateObject, C_GenerateKey, C_UnwrapKey;
 * - 2, 4, 6: not allowed for C_CreateObject, C_GenerateKey, C_UnwrapKey;
 * - 7: not revealed if the key is sensitive or not extractable;
 * - 8: may be changed;
 * - 10: may be set to true only by the SO;
 * - 11, 12: cannot be changed from true, from false;
 * - 0, which the standard does not have: may be changed only in a copy.
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

/** The attributes for each class and type of key or certificate. */
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

/** Returns the attributes that objects of a class and type can have, or undefined if the combination is unknown. */
export function attributesOfClass(
  objectClass: CKO,
  type: number | undefined,
): ReadonlyMap<keyof AttributeTypes, Footnotes> | undefined {
  const rows = tables.find(([each, of]) => each === objectClass && of === type)?.[2]
  if (rows === undefined) return undefined
  return new Map(Object.entries(rows).map(([name, notes]) => [CKA[name as keyof typeof CKA], notes]))
}

/** The footnotes that make an attribute required or refused in a template. */
const notesOf: Readonly<Record<CreationMethod, { readonly required?: number; readonly refused: number }>> = {
  create: { required: 1, refused: 2 },
  generate: { required: 3, refused: 4 },
  unwrap: { required: 5, refused: 6 },
  // The mechanism sets the same attributes as in a key generation.
  derive: { refused: 4 },
}

/**
 * Checks the template of a new object (4.1.1). Throws CKR_TEMPLATE_INCOMPLETE if a required attribute is missing,
 * CKR_TEMPLATE_INCONSISTENT for an attribute that the class and type do not have, and CKR_ATTRIBUTE_READ_ONLY for one that
 * only the token or the SO sets.
 */
export function checkTemplate(method: CreationMethod, template: Attributes): void {
  const objectClass = template[CKA.CLASS]
  if (objectClass === undefined) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  const rules = attributesOfClass(objectClass, typeIn(template))
  if (rules === undefined) throw new CryptokiError(typeErrorOf(template))
  const { required, refused } = notesOf[method]
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

/** Returns the error for an unknown class and type: the type is missing or the combination is not supported. */
function typeErrorOf(template: Attributes): CKR {
  const isTyped = typeIn(template) !== undefined || template[CKA.CLASS] === CKO.DATA
  return isTyped ? CKR.TEMPLATE_INCONSISTENT : CKR.TEMPLATE_INCOMPLETE
}

/**
 * Checks the template of C_SetAttributeValue or C_CopyObject. Throws CKR_ACTION_PROHIBITED if the object cannot be modified
 * or copied, CKR_ATTRIBUTE_TYPE_INVALID (for a copy CKR_TEMPLATE_INCONSISTENT) for an attribute that the object does not
 * have, and CKR_ATTRIBUTE_READ_ONLY for one that cannot be changed.
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
    const isFixed =
      (notes.includes(11) && object[type] === true) || (notes.includes(12) && object[type] === false)
    if (!isChangeable || (isFixed && template[type] !== object[type]))
      throw new CryptokiError(CKR.ATTRIBUTE_READ_ONLY)
  }
}
