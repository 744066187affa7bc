/** Attributes with a TypeScript type for each: PKCS#11 v2.40, 4 "Objects". */
import { copyOf, equalBytes, isByteSource } from '@webtoki/apdu'
import { CKA, type CKC, type CKK, type CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** The types of attribute values. */
interface ValueOf {
  readonly boolean: boolean
  /** A CK_ULONG. */
  readonly number: number
  readonly CKO: CKO
  readonly CKK: CKK
  readonly CKC: CKC
  readonly CKM: number
  readonly string: string
  /** CK_DATE as 'YYYY-MM-DD', which no time zone can shift; '' if the date is empty. */
  readonly date: string
  /** Big integers are big-endian without a sign byte; names and keys are DER. */
  readonly bytes: Uint8Array
  /** CKM_*. */
  readonly mechanisms: readonly number[]
}

/** The type of each attribute. Attributes that are not listed are booleans. */
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

/** The type of each attribute's value. */
export type AttributeTypes = {
  readonly [N in keyof typeof CKA as (typeof CKA)[N]]: ValueOf[KindOf<N>]
}

/** Attributes with their values: those of an object, or a template. */
export type Attributes = Partial<AttributeTypes>

/** Returns whether an object has all attributes of the template with the same values. An empty template matches every object. */
export function matches(attributes: Attributes, template: Attributes): boolean {
  return attributeTypesOf(template).every((type) => isSame(attributes[type], template[type]))
}

/** Returns the attribute types that have a value in the template. */
export function attributeTypesOf(template: Attributes): readonly (keyof AttributeTypes)[] {
  const types = Object.keys(template).map(Number) as (keyof AttributeTypes)[]
  return types.filter((type) => template[type] !== undefined)
}

const names: ReadonlyMap<number, keyof typeof CKA> = /* @__PURE__ */ new Map(
  Object.entries(CKA).map(([name, type]) => [type, name as keyof typeof CKA]),
)

/**
 * Copies and checks a template, so that later changes by the caller have no effect. Throws CKR_ARGUMENTS_BAD, and
 * CKR_ATTRIBUTE_TYPE_INVALID or CKR_ATTRIBUTE_VALUE_INVALID with the attribute in the message.
 */
export function templateAtCall(template: Attributes): Attributes {
  // Arrays and maps have no entries named by attribute types, so a search would match every object.
  if (typeof template !== 'object' || template === null || Symbol.iterator in template)
    throw new CryptokiError(CKR.ARGUMENTS_BAD, {
      detail: 'the template must be an object such as { [CKA.CLASS]: CKO.PRIVATE_KEY }',
    })
  const entries = Object.entries(template as Readonly<Record<string, unknown>>)
  return Object.fromEntries(entries.map(([type, value]) => [type, attributeAtCall(type, value)]))
}

function attributeAtCall(type: string, value: unknown): unknown {
  const name = names.get(Number(type))
  if (name === undefined || String(Number(type)) !== type)
    throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID, {
      detail: `"${type}" in the template is not an attribute type; use keys such as [CKA.CLASS]`,
    })
  const kind = kindOf[name] ?? 'boolean'
  const own = valueAtCall(kind, value)
  if (own !== undefined) return own
  throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID, {
    detail: `CKA_${name} in the template must be ${descriptions[kind] ?? 'a number'}`,
  })
}

/** Returns a copy of the value, or undefined if it does not have the type. */
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
  date: "a date such as '2025-12-31', or ''",
  mechanisms: 'an array of mechanism types',
}

function isCkUlong(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isCkDate(value: unknown): boolean {
  if (value === '') return true
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d$/.test(value)) return false
  const time = new Date(value)
  // Date accepts February 31 as a day in March.
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(value)
}

function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  // The order of mechanisms does not matter.
  if (Array.isArray(a) && Array.isArray(b)) {
    const [one, other] = [new Set<unknown>(a), new Set<unknown>(b)]
    return one.size === other.size && [...one].every((each) => other.has(each))
  }
  return a === b
}
