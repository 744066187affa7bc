/** Functions that make objects in this page's memory: PKCS#11 v3.0, 5.7 "Object management" and 5.18 "Key management". Loaded when one is called: a login makes none. */
import { expand } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, copyOf, toHex } from '@webtoki/apdu'
import { checkChange, checkTemplate, type Making } from './attribute-rules.ts'
import type { Attributes } from './attributes.ts'
import { CKA, CKD, CKK, CKM, CKO, CKR } from './constants.ts'
import { CryptokiError, isCryptokiError } from './errors.ts'
import type { WantedUse } from './init.ts'
import type { KeyPurpose } from './key-use.ts'
import type { KeyWork } from './key-work.ts'
import { checkParameters, parameterError, type RawMechanism } from './mechanisms.ts'
import type { CkObject } from './object.ts'
import type { Progress } from './progress.ts'
import { keySizes } from './software/mechanisms.ts'
import { SessionObject } from './software/session-object.ts'
import type { ContextSession, TokenContext } from './token-context.ts'

/** The session that an object is made in. */
export interface ObjectMaker {
  readonly context: TokenContext
  readonly session: ContextSession
  /** Whether private objects can be seen and made. */
  showsPrivate(): boolean
  /** Throws if the session has ended. */
  check(): void
  randomBytes(bytes: number): Uint8Array
}

const MAX_SECRET_BYTES = keySizes.hmac.maxKeyBits / 8
const nothing = new Uint8Array(0)

const storage: Attributes = {
  [CKA.PRIVATE]: false,
  [CKA.LABEL]: '',
  [CKA.MODIFIABLE]: true,
  [CKA.COPYABLE]: true,
  [CKA.DESTROYABLE]: true,
}
const key: Attributes = {
  ...storage,
  [CKA.ID]: nothing,
  [CKA.START_DATE]: '',
  [CKA.END_DATE]: '',
  [CKA.DERIVE]: false,
  [CKA.LOCAL]: false,
}

/** What a template leaves open. */
const defaults: ReadonlyMap<CKO | undefined, Attributes> = /* @__PURE__ */ new Map<
  CKO | undefined,
  Attributes
>([
  [CKO.DATA, { ...storage, [CKA.APPLICATION]: '', [CKA.OBJECT_ID]: nothing }],
  [
    CKO.CERTIFICATE,
    {
      ...storage,
      [CKA.TRUSTED]: false,
      [CKA.CERTIFICATE_CATEGORY]: 0,
      [CKA.START_DATE]: '',
      [CKA.END_DATE]: '',
      [CKA.ID]: nothing,
      [CKA.ISSUER]: nothing,
      [CKA.SERIAL_NUMBER]: nothing,
    },
  ],
  [
    CKO.PUBLIC_KEY,
    {
      ...key,
      [CKA.SUBJECT]: nothing,
      [CKA.ENCRYPT]: false,
      [CKA.VERIFY]: false,
      [CKA.VERIFY_RECOVER]: false,
      [CKA.WRAP]: false,
      [CKA.TRUSTED]: false,
    },
  ],
  [
    CKO.SECRET_KEY,
    {
      ...key,
      [CKA.SENSITIVE]: true,
      [CKA.EXTRACTABLE]: false,
      [CKA.ENCRYPT]: false,
      [CKA.DECRYPT]: false,
      [CKA.SIGN]: false,
      [CKA.VERIFY]: false,
      [CKA.WRAP]: false,
      [CKA.UNWRAP]: false,
      [CKA.TRUSTED]: false,
      [CKA.WRAP_WITH_TRUSTED]: false,
    },
  ],
])

/** Whether such an object can be made here, and now. Throws as `checkTemplate` does. */
function checkMaking(maker: ObjectMaker, how: Making, template: Attributes): void {
  checkTemplate(how, template)
  checkPlace(maker, template)
  // It would have to be computed to be compared.
  if (template[CKA.CHECK_VALUE] !== undefined) throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID)
  // No private key is ever in this page's memory.
  const isKnown =
    how === 'create' ? defaults.has(template[CKA.CLASS]) : template[CKA.CLASS] === CKO.SECRET_KEY
  if (!isKnown || unusedTypes.has(template[CKA.KEY_TYPE])) throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
}

const unusedTypes: ReadonlySet<CKK | undefined> = /* @__PURE__ */ new Set<CKK | undefined>([
  CKK.DES3,
  CKK.EC_MONTGOMERY,
])

/** Nothing can be made on the card, and a private object only for the user. */
function checkPlace(maker: ObjectMaker, attributes: Attributes): void {
  const { context, session } = maker
  if (attributes[CKA.TOKEN] === true) {
    const isReadOnly = !session.readWrite && !context.isWriteProtected
    throw new CryptokiError(isReadOnly ? CKR.SESSION_READ_ONLY : CKR.TOKEN_WRITE_PROTECTED)
  }
  if (attributes[CKA.PRIVATE] === true && !maker.showsPrivate())
    throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
}

/** Session and login count as they are now: they may have ended since the call. */
function place(maker: ObjectMaker, attributes: Attributes, value?: Uint8Array): CkObject {
  maker.check()
  checkPlace(maker, attributes)
  const own = { ...attributes, [CKA.TOKEN]: false, [CKA.UNIQUE_ID]: toHex(maker.randomBytes(16)) }
  return maker.context.create(new SessionObject(own, value), maker.session)
}

/** C_CreateObject. */
export async function createObject(maker: ObjectMaker, template: Attributes): Promise<CkObject> {
  checkMaking(maker, 'create', template)
  const { [CKA.VALUE]: value = nothing, ...rest } = template
  switch (template[CKA.CLASS]) {
    case CKO.SECRET_KEY:
      if (!fits(template, value.length)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
      return placeSecret(maker, rest, value)
    case CKO.PUBLIC_KEY: {
      const { importedPublicKey } = await import('./software/imported-public-key.ts')
      return place(maker, { ...withDefaults(template), ...importedPublicKey(template) })
    }
    case CKO.DATA:
      return place(maker, withDefaults(rest), value)
    default:
      return place(maker, withDefaults(template))
  }
}

/** C_CopyObject. The private half of a card's key pair has no copy here. */
export function copyObject(maker: ObjectMaker, object: CkObject, template: Attributes): CkObject {
  const own = object.attributes
  checkChange('copy', template, own)
  const copy = { ...own, ...template }
  checkPlace(maker, copy)
  const isLessPrivate = own[CKA.PRIVATE] === true && copy[CKA.PRIVATE] === false
  if (isLessPrivate || own[CKA.CLASS] === CKO.PRIVATE_KEY) throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  const value = object.sourceFor(maker.context, CKR.OBJECT_HANDLE_INVALID).software?.value()
  if (value === undefined) return place(maker, copy)
  const { [CKA.VALUE]: _, ...rest } = copy
  try {
    return place(maker, rest, value)
  } finally {
    value.fill(0)
  }
}

/** C_GenerateKey. */
export function generateKey(maker: ObjectMaker, mechanism: RawMechanism, template: Attributes): CkObject {
  const keyType = generated.get(mechanism.type)
  if (keyType === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkParameters(mechanism)
  const { [CKA.VALUE_LEN]: bytes = 0, ...rest } = secretTemplate(maker, 'generate', template, keyType)
  if (!fits(rest, bytes)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  // Not the card's generator: its bytes would come over the wire.
  const value = maker.randomBytes(bytes)
  try {
    const local = { [CKA.LOCAL]: true, [CKA.KEY_GEN_MECHANISM]: mechanism.type }
    return placeSecret(maker, { ...rest, ...local }, value, neverOutside)
  } finally {
    value.fill(0)
  }
}

const generated: ReadonlyMap<number, CKK> = /* @__PURE__ */ new Map<number, CKK>([
  [CKM.AES_KEY_GEN, CKK.AES],
  [CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET],
])

/** What a function of one call is asked to do with a key, as it was at the call. */
export interface KeyCall extends WantedUse {
  readonly template: Attributes
}

/** Errors of the handle, type and size of a key that wraps or unwraps have names of their own. */
export function keyError(purpose: KeyPurpose, error: unknown): unknown {
  const rv = isCryptokiError(error) ? keyErrors[purpose]?.get(error.rv) : undefined
  return rv === undefined ? error : new CryptokiError(rv)
}

const keyErrors: Readonly<Partial<Record<KeyPurpose, ReadonlyMap<CKR, CKR>>>> = {
  wrap: /* @__PURE__ */ new Map([
    [CKR.KEY_HANDLE_INVALID, CKR.WRAPPING_KEY_HANDLE_INVALID],
    [CKR.KEY_TYPE_INCONSISTENT, CKR.WRAPPING_KEY_TYPE_INCONSISTENT],
    [CKR.KEY_SIZE_RANGE, CKR.WRAPPING_KEY_SIZE_RANGE],
  ]),
  unwrap: /* @__PURE__ */ new Map([
    [CKR.KEY_HANDLE_INVALID, CKR.UNWRAPPING_KEY_HANDLE_INVALID],
    [CKR.KEY_TYPE_INCONSISTENT, CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT],
    [CKR.KEY_SIZE_RANGE, CKR.UNWRAPPING_KEY_SIZE_RANGE],
  ]),
}

/** The key of C_WrapKey, as it was at the call. */
export interface KeyToWrap {
  readonly attributes: Attributes
  /** Undefined: the value is not here. */
  readonly value: Uint8Array | undefined
}

/** C_WrapKey. */
export async function wrapKey(
  work: KeyWork,
  { mechanism: { type }, key: wrappingKey }: KeyCall,
  { attributes, value }: KeyToWrap,
  progress: Progress,
): Promise<Uint8Array> {
  const isKey = attributes[CKA.CLASS] === CKO.SECRET_KEY || attributes[CKA.CLASS] === CKO.PRIVATE_KEY
  if (isKey && attributes[CKA.EXTRACTABLE] !== true) throw new CryptokiError(CKR.KEY_UNEXTRACTABLE)
  const isTrusted = attributes[CKA.WRAP_WITH_TRUSTED] !== true || wrappingKey.attributes[CKA.TRUSTED] === true
  if (!isKey || !isTrusted || value === undefined) throw new CryptokiError(CKR.KEY_NOT_WRAPPABLE)
  const padded = new Uint8Array(
    zeroPads.has(type) ? BLOCK_BYTES * Math.ceil(value.length / BLOCK_BYTES) : value.length,
  )
  padded.set(value)
  try {
    return await used(work, padded, progress)
  } catch (error) {
    throw isCryptokiError(error, CKR.DATA_LEN_RANGE) ? new CryptokiError(CKR.KEY_SIZE_RANGE) : error
  } finally {
    padded.fill(0)
  }
}

const BLOCK_BYTES = 16

/** They fill the last block of a key with zeros (PKCS#11 v3.0 mechanisms, 2.10.4 and 2.10.5). */
const zeroPads: ReadonlySet<number> = /* @__PURE__ */ new Set([CKM.AES_ECB, CKM.AES_CBC])

/**
 * C_UnwrapKey. Whatever is wrong within the wrapped bytes is CKR_WRAPPED_KEY_INVALID, and no more is told: who may try
 * unwrapping would learn the key from the difference between a wrong padding and a wrong length.
 */
export async function unwrapKey(
  maker: ObjectMaker,
  work: KeyWork,
  { mechanism: { type }, template }: KeyCall,
  wrapped: Uint8Array,
  progress: Progress,
): Promise<CkObject> {
  // The standard names no length for an AES key that is unwrapped; with zeros after it, its length has to be told.
  const { [CKA.VALUE_LEN]: bytes, ...rest } = template
  const own = secretTemplate(maker, 'unwrap', rest)
  const isTooLong = type === CKM.RSA_X_509 && (bytes ?? 0) > work.outputBytes('final', wrapped.length)
  if (bytes !== undefined && (isTooLong || !fits(own, bytes)))
    throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  if (type === CKM.RSA_X_509 && bytes === undefined) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  const value = await used(work, wrapped, progress).catch((error: unknown) => {
    const rv = isCryptokiError(error) ? unwrapErrors.get(error.rv) : undefined
    throw rv === undefined ? error : new CryptokiError(rv)
  })
  // Made in any case: time tells nothing either.
  const rejected = type === CKM.RSA_PKCS ? rejectedKey(maker, own, wrapped, bytes) : undefined
  try {
    progress.check()
    const key = partOf(value, type, bytes)
    const isKey = fits(own, key.length) && key.length === (bytes ?? key.length)
    if (!isKey && rejected === undefined) throw new CryptokiError(CKR.WRAPPED_KEY_INVALID)
    const placed = isKey || rejected === undefined ? key : rejected
    return placeSecret(maker, { [CKA.EXTRACTABLE]: true, ...own }, placed)
  } finally {
    value.fill(0)
    rejected?.fill(0)
  }
}

/** Zeros stand after a key that fills no blocks, and before one that was encrypted as a number. */
function partOf(value: Uint8Array, type: number, bytes: number | undefined): Uint8Array {
  if (bytes === undefined || bytes > value.length) return value
  if (zeroPads.has(type)) return value.subarray(0, bytes)
  return type === CKM.RSA_X_509 ? value.subarray(-bytes) : value
}

const aesKeyBytes = [16, 24, 32] as const

let rejectionSecret: Uint8Array | undefined

/**
 * What RSA PKCS#1 v1.5 gives for a wrong padding has a random length, which is seldom a key's. An error would tell that, and
 * with it whether the padding was right (Bleichenbacher): such bytes become a key that nobody else has, always the same.
 */
function rejectedKey(
  maker: ObjectMaker,
  { [CKA.KEY_TYPE]: type }: Attributes,
  wrapped: Uint8Array,
  bytes: number | undefined,
): Uint8Array {
  rejectionSecret ??= copyOf(maker.randomBytes(32))
  const seed = hmac(sha256, rejectionSecret, wrapped)
  const usual = type === CKK.AES ? aesKeyBytes[(seed[0] as number) % aesKeyBytes.length] : undefined
  return expand(sha256, seed, undefined, bytes ?? usual ?? 16)
}

const unwrapErrors: ReadonlyMap<CKR, CKR> = /* @__PURE__ */ new Map([
  [CKR.ENCRYPTED_DATA_INVALID, CKR.WRAPPED_KEY_INVALID],
  [CKR.ENCRYPTED_DATA_LEN_RANGE, CKR.WRAPPED_KEY_LEN_RANGE],
  [CKR.DATA_INVALID, CKR.WRAPPED_KEY_INVALID],
  [CKR.DATA_LEN_RANGE, CKR.WRAPPED_KEY_LEN_RANGE],
])

/** C_DeriveKey, of a shared secret (PKCS#11 v3.0 mechanisms, 2.3.20). What can be refused is, before the base key is used. */
export async function deriveKey(
  maker: ObjectMaker,
  work: KeyWork,
  { mechanism: { ecdh }, key: baseKey, template }: KeyCall,
  progress: Progress,
): Promise<CkObject> {
  const { [CKA.VALUE_LEN]: bytes, ...rest } = secretTemplate(maker, 'derive', template)
  const { checkKdf, deriveSecret } = await import('./software/ecdh.ts')
  if (ecdh === undefined) throw parameterError('ecdh')
  checkKdf(ecdh)
  const isWhole = rest[CKA.KEY_TYPE] === CKK.GENERIC_SECRET && ecdh.kdf === CKD.NULL
  if (bytes === undefined && !isWhole) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  const isTooLong = ecdh.kdf === CKD.NULL && (bytes ?? 0) > work.outputBytes('final', 0)
  if (bytes !== undefined && (isTooLong || !fits(rest, bytes)))
    throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  const shared = await used(work, nothing, progress)
  let value: Uint8Array = nothing
  try {
    value = await deriveSecret(shared, ecdh, bytes)
    progress.check()
    return placeSecret(maker, rest, value, baseKey.attributes)
  } finally {
    shared.fill(0)
    value.fill(0)
  }
}

/** All of a key's work at once. */
async function used(work: KeyWork, data: Uint8Array, progress: Progress): Promise<Uint8Array> {
  const first = await work.update(data)
  const last = await work.final(progress)
  const output = concatBytes(first, last)
  first.fill(0)
  last.fill(0)
  return output
}

/** The template of a secret key that is generated, unwrapped or derived: its class need not be told, and its type not twice. */
function secretTemplate(maker: ObjectMaker, how: Making, template: Attributes, keyType?: CKK): Attributes {
  const own = {
    [CKA.CLASS]: CKO.SECRET_KEY,
    ...(keyType === undefined ? {} : { [CKA.KEY_TYPE]: keyType }),
    ...template,
  }
  if (keyType !== undefined && own[CKA.KEY_TYPE] !== keyType)
    throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  checkMaking(maker, how, own)
  return own
}

/** `past`: what has always been true of the key that it comes from. */
function placeSecret(
  maker: ObjectMaker,
  template: Attributes,
  value: Uint8Array,
  past: Attributes = {},
): CkObject {
  const own = withDefaults(template)
  return place(
    maker,
    {
      ...own,
      [CKA.VALUE_LEN]: value.length,
      [CKA.ALWAYS_SENSITIVE]: past[CKA.ALWAYS_SENSITIVE] === true && own[CKA.SENSITIVE] === true,
      [CKA.NEVER_EXTRACTABLE]: past[CKA.NEVER_EXTRACTABLE] === true && own[CKA.EXTRACTABLE] === false,
    },
    value,
  )
}

const neverOutside: Attributes = { [CKA.ALWAYS_SENSITIVE]: true, [CKA.NEVER_EXTRACTABLE]: true }

function withDefaults(template: Attributes): Attributes {
  return { ...defaults.get(template[CKA.CLASS]), ...template }
}

/** Whether a key of that type can have so many bytes. */
function fits({ [CKA.KEY_TYPE]: type }: Attributes, bytes: number): boolean {
  return type === CKK.AES ? [16, 24, 32].includes(bytes) : bytes >= 1 && bytes <= MAX_SECRET_BYTES
}
