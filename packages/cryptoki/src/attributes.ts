/** Attributes, typed one by one: PKCS#11 v2.40, 4 "Objects". */
import { copyOf, equalBytes, isByteSource } from '@webtoki/apdu'
import { CKA, type CKC, type CKK, type CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** The kinds of value that attributes have. */
interface ValueOf {
  readonly boolean: boolean
  /** A CK_ULONG. */
  readonly number: number
  readonly CKO: CKO
  readonly CKK: CKK
  readonly CKC: CKC
  readonly CKM: number
  readonly string: string
  /** CK_DATE as 'YYYY-MM-DD', which has no time zone to be shifted by; '' if there is none. */
  readonly date: string
  /** Big integers are big-endian without a sign byte; names and keys are DER. */
  readonly bytes: Uint8Array
  /** CKM_*. */
  readonly mechanisms: readonly number[]
}

/** The kind of value that each attribute has; what is not listed is a boolean. */
const kinds = {
  CLASS: 'CKO',
  LABEL: 'string',
  UNIQUE_ID: 'string',
  APPLICATION: 'string',
  VALUE: 'bytes',
  OBJECT_ID: 'bytes',
  CERTIFICATE_TYPE: 'CKC',
  ISSUER: 'bytes',
  SERIAL_NUMBER: 'bytes',
  CERTIFICATE_CATEGORY: 'number',
  CHECK_VALUE: 'bytes',
  KEY_TYPE: 'CKK',
  SUBJECT: 'bytes',
  ID: 'bytes',
  START_DATE: 'date',
  END_DATE: 'date',
  MODULUS: 'bytes',
  MODULUS_BITS: 'number',
  PUBLIC_EXPONENT: 'bytes',
  PRIVATE_EXPONENT: 'bytes',
  PRIME_1: 'bytes',
  PRIME_2: 'bytes',
  EXPONENT_1: 'bytes',
  EXPONENT_2: 'bytes',
  COEFFICIENT: 'bytes',
  PUBLIC_KEY_INFO: 'bytes',
  VALUE_LEN: 'number',
  KEY_GEN_MECHANISM: 'CKM',
  EC_PARAMS: 'bytes',
  EC_POINT: 'bytes',
  ALLOWED_MECHANISMS: 'mechanisms',
} as const
const kindOf: Readonly<Partial<Record<keyof typeof CKA, keyof ValueOf>>> = kinds

type KindOf<N extends keyof typeof CKA> = N extends keyof typeof kinds ? (typeof kinds)[N] : 'boolean'

/** What each attribute's value is. */
export type AttributeTypes = {
  readonly [N in keyof typeof CKA as (typeof CKA)[N]]: ValueOf[KindOf<N>]
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

const names: ReadonlyMap<number, keyof typeof CKA> = /* @__PURE__ */ new Map(
  Object.entries(CKA).map(([name, type]) => [type, name as keyof typeof CKA]),
)

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
  const name = names.get(Number(type))
  if (name === undefined || String(Number(type)) !== type)
    throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID, {
      detail: `the template has "${type}", which is not an attribute type; write [CKA.CLASS] and alike`,
    })
  const kind = kindOf[name] ?? 'boolean'
  const own = valueAtCall(kind, value)
  if (own !== undefined) return own
  throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID, {
    detail: `the template's CKA_${name} must be ${descriptions[kind] ?? 'a number'}`,
  })
}

/** The value as it is kept; undefined: it is not of that kind. */
function valueAtCall(kind: keyof ValueOf, value: unknown): unknown {
  switch (kind) {
    case 'boolean':
    case 'string':
      return typeof value === kind ? value : undefined
    case 'bytes':
      return isByteSource(value) ? copyOf(value) : undefined
    case 'date':
      return isCkDate(value) ? value : undefined
    case 'mechanisms': {
      const list = Array.isArray(value) ? [...(value as unknown[])] : undefined
      return list?.every(isCkUlong) ? list : undefined
    }
    default:
      return isCkUlong(value) ? value : undefined
  }
}

const descriptions: Readonly<Partial<Record<keyof ValueOf, string>>> = {
  boolean: 'a boolean',
  string: 'a string',
  bytes: 'a Uint8Array',
  date: "a day such as '2025-12-31', or ''",
  mechanisms: 'an array of mechanism types',
}

function isCkUlong(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isCkDate(value: unknown): boolean {
  if (value === '') return true
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d$/.test(value)) return false
  const time = new Date(value)
  // The 31st of February would be a day in March.
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(value)
}

function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  // Lists of mechanisms have no order.
  if (Array.isArray(a) && Array.isArray(b)) {
    const [one, other] = [new Set<unknown>(a), new Set<unknown>(b)]
    return one.size === other.size && [...one].every((each) => other.has(each))
  }
  return a === b
}
