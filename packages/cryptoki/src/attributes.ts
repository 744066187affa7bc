/** Attributes, typed one by one: PKCS#11 v2.40, 4 "Objects". */
import { copyOf, equalBytes, isByteSource } from '@webtoki/apdu'
import { CKA, type CKC, type CKK, type CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** What each attribute's value is. Big integers are big-endian bytes without a sign byte; names and keys are DER. */
export interface AttributeTypes {
  readonly [CKA.CLASS]: CKO
  readonly [CKA.TOKEN]: boolean
  readonly [CKA.PRIVATE]: boolean
  readonly [CKA.LABEL]: string
  readonly [CKA.APPLICATION]: string
  readonly [CKA.VALUE]: Uint8Array
  readonly [CKA.OBJECT_ID]: Uint8Array
  readonly [CKA.CERTIFICATE_TYPE]: CKC
  readonly [CKA.ISSUER]: Uint8Array
  readonly [CKA.SERIAL_NUMBER]: Uint8Array
  readonly [CKA.TRUSTED]: boolean
  readonly [CKA.CERTIFICATE_CATEGORY]: number
  readonly [CKA.KEY_TYPE]: CKK
  readonly [CKA.SUBJECT]: Uint8Array
  readonly [CKA.ID]: Uint8Array
  readonly [CKA.SENSITIVE]: boolean
  readonly [CKA.ENCRYPT]: boolean
  readonly [CKA.DECRYPT]: boolean
  readonly [CKA.WRAP]: boolean
  readonly [CKA.UNWRAP]: boolean
  readonly [CKA.SIGN]: boolean
  readonly [CKA.SIGN_RECOVER]: boolean
  readonly [CKA.VERIFY]: boolean
  readonly [CKA.VERIFY_RECOVER]: boolean
  readonly [CKA.DERIVE]: boolean
  readonly [CKA.MODULUS]: Uint8Array
  readonly [CKA.MODULUS_BITS]: number
  readonly [CKA.PUBLIC_EXPONENT]: Uint8Array
  readonly [CKA.PUBLIC_KEY_INFO]: Uint8Array
  readonly [CKA.VALUE_LEN]: number
  readonly [CKA.EXTRACTABLE]: boolean
  readonly [CKA.LOCAL]: boolean
  readonly [CKA.NEVER_EXTRACTABLE]: boolean
  readonly [CKA.ALWAYS_SENSITIVE]: boolean
  readonly [CKA.MODIFIABLE]: boolean
  readonly [CKA.COPYABLE]: boolean
  readonly [CKA.DESTROYABLE]: boolean
  readonly [CKA.EC_PARAMS]: Uint8Array
  readonly [CKA.EC_POINT]: Uint8Array
  readonly [CKA.ALWAYS_AUTHENTICATE]: boolean
}

/** Some attributes with their values: an object's own, or a template to search by. */
export type Attributes = Partial<AttributeTypes>

/** Whether the object has every attribute of the template with that value; an empty template fits everything. */
export function matches(attributes: Attributes, template: Attributes): boolean {
  return attributeTypesOf(template).every((type) => isSame(attributes[type], template[type]))
}

/** The attribute types that stand in a template with a value. */
export function attributeTypesOf(template: Attributes): readonly (keyof AttributeTypes)[] {
  const types = Object.keys(template).map(Number) as (keyof AttributeTypes)[]
  return types.filter((type) => template[type] !== undefined)
}

const kinds: ReadonlyMap<number, 'boolean' | 'number' | 'string' | 'bytes'> = /* @__PURE__ */ new Map<
  number,
  'boolean' | 'number' | 'string' | 'bytes'
>([
  [CKA.CLASS, 'number'],
  [CKA.LABEL, 'string'],
  [CKA.APPLICATION, 'string'],
  [CKA.CERTIFICATE_TYPE, 'number'],
  [CKA.CERTIFICATE_CATEGORY, 'number'],
  [CKA.KEY_TYPE, 'number'],
  [CKA.MODULUS_BITS, 'number'],
  [CKA.VALUE_LEN, 'number'],
  ...[
    CKA.VALUE,
    CKA.OBJECT_ID,
    CKA.ISSUER,
    CKA.SERIAL_NUMBER,
    CKA.SUBJECT,
    CKA.ID,
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.PUBLIC_KEY_INFO,
    CKA.EC_PARAMS,
    CKA.EC_POINT,
  ].map((type) => [type, 'bytes'] as const),
])

/** Attribute types by number; all that have no other kind are booleans. */
const types: ReadonlySet<number> = /* @__PURE__ */ new Set<number>(Object.values(CKA))

/**
 * A copy of a template: what its owner writes into it later does not count. Throws CKR_ATTRIBUTE_TYPE_INVALID and
 * CKR_ATTRIBUTE_VALUE_INVALID, which say which attribute.
 */
export function templateAtCall(template: Attributes): Attributes {
  // Lists and maps have no such entries, or others: they would fit every object.
  if (typeof template !== 'object' || template === null || Symbol.iterator in template)
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'the template is not an object of attributes' })
  const entries = Object.entries(template as Readonly<Record<string, unknown>>)
  return Object.fromEntries(entries.map(([type, value]) => [type, attributeAtCall(type, value)]))
}

function attributeAtCall(type: string, value: unknown): unknown {
  if (!types.has(Number(type)) || String(Number(type)) !== type)
    throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID, {
      detail: `the template has "${type}", which is not an attribute type; write [CKA.CLASS] and alike`,
    })
  const kind = kinds.get(Number(type)) ?? 'boolean'
  if (kind === 'bytes' && isByteSource(value)) return copyOf(value)
  if (typeof value === kind && (kind !== 'number' || isCkUlong(value))) return value
  throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID, {
    detail: `the template's ${attributeName(Number(type))} must be ${kind === 'bytes' ? 'a Uint8Array' : `a ${kind}`}`,
  })
}

function isCkUlong(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function attributeName(type: number): string {
  return `CKA_${Object.entries(CKA).find(([, each]) => each === type)?.[0]}`
}

function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  return a === b
}
