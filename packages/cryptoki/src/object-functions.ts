/**
 * The functions that create session objects in the page's memory: PKCS#11 v3.0, 5.7 "Object management" and 5.18 "Key
 * management". Loaded on first use, because a login creates no objects.
 */
import { expand } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, copyOf, toHex } from '@webtoki/apdu'
import { checkChange, checkTemplate, type CreationMethod } from './attribute-rules.ts'
import type { Attributes } from './attributes.ts'
import { CKA, CKD, CKK, CKM, CKO, CKR } from './constants.ts'
import { CryptokiError, isCryptokiError } from './errors.ts'
import type { RequestedKeyUse } from './init.ts'
import type { KeyPurpose } from './key-use.ts'
import type { KeyWork } from './key-work.ts'
import { checkParameters, parameterError, type RawMechanism } from './mechanisms.ts'
import type { CkObject } from './object.ts'
import type { Progress } from './progress.ts'
import { keySizes } from './software/mechanisms.ts'
import { SessionObject } from './software/session-object.ts'
import type { ContextSession, TokenContext } from './token-context.ts'

/** The session in which an object is created. */
export interface ObjectMaker {
  readonly context: TokenContext
  readonly session: ContextSession
  /** Returns whether private objects are visible and may be created. */
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

/** The defaults of attributes that a template does not contain. */
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

/** Checks whether an object can be created from the template at this moment. Throws the errors of `checkTemplate` and more. */
function checkCreation(maker: ObjectMaker, how: CreationMethod, template: Attributes): void {
  checkTemplate(how, template)
  checkStorage(maker, template)
  // CKA_CHECK_VALUE is not supported: it would have to be computed for the comparison.
  if (template[CKA.CHECK_VALUE] !== undefined) throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID)
  // Private keys never exist in the page's memory.
  const isSupported =
    how === 'create' ? defaults.has(template[CKA.CLASS]) : template[CKA.CLASS] === CKO.SECRET_KEY
  if (!isSupported || unsupportedTypes.has(template[CKA.KEY_TYPE]))
    throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
}

const unsupportedTypes: ReadonlySet<CKK | undefined> = /* @__PURE__ */ new Set<CKK | undefined>([
  CKK.DES3,
  CKK.EC_MONTGOMERY,
])

/** Refuses token objects, because the card cannot be written, and private objects without a login. */
function checkStorage(maker: ObjectMaker, attributes: Attributes): void {
  const { context, session } = maker
  if (attributes[CKA.TOKEN] === true) {
    const isReadOnly = !session.readWrite && !context.isWriteProtected
    throw new CryptokiError(isReadOnly ? CKR.SESSION_READ_ONLY : CKR.TOKEN_WRITE_PROTECTED)
  }
  if (attributes[CKA.PRIVATE] === true && !maker.showsPrivate())
    throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
}

/** Adds the object. Checks session and login again, because they may have ended since the call. */
function addObject(maker: ObjectMaker, attributes: Attributes, value?: Uint8Array): CkObject {
  maker.check()
  checkStorage(maker, attributes)
  const own = { ...attributes, [CKA.TOKEN]: false, [CKA.UNIQUE_ID]: toHex(maker.randomBytes(16)) }
  return maker.context.create(new SessionObject(own, value), maker.session)
}

/** C_CreateObject. Rejects with the errors of `checkTemplate`, CKR_ATTRIBUTE_VALUE_INVALID and those of the key. */
export async function createObject(maker: ObjectMaker, template: Attributes): Promise<CkObject> {
  checkCreation(maker, 'create', template)
  const { [CKA.VALUE]: value = nothing, ...rest } = template
  switch (template[CKA.CLASS]) {
    case CKO.SECRET_KEY:
      if (!isKeyLength(template, value.length)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
      return addSecretKey(maker, rest, value)
    case CKO.PUBLIC_KEY: {
      const { importedPublicKey } = await import('./software/imported-public-key.ts')
      return addObject(maker, { ...withDefaults(template), ...importedPublicKey(template) })
    }
    case CKO.DATA:
      return addObject(maker, withDefaults(rest), value)
    default:
      return addObject(maker, withDefaults(template))
  }
}

/** C_CopyObject. A private key on the card cannot be copied. */
export function copyObject(maker: ObjectMaker, object: CkObject, template: Attributes): CkObject {
  const own = object.attributes
  checkChange('copy', template, own)
  const copy = { ...own, ...template }
  checkStorage(maker, copy)
  const isLessPrivate = own[CKA.PRIVATE] === true && copy[CKA.PRIVATE] === false
  if (isLessPrivate || own[CKA.CLASS] === CKO.PRIVATE_KEY) throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  const value = object.sourceFor(maker.context, CKR.OBJECT_HANDLE_INVALID).software?.value()
  if (value === undefined) return addObject(maker, copy)
  const { [CKA.VALUE]: _, ...rest } = copy
  try {
    return addObject(maker, rest, value)
  } finally {
    value.fill(0)
  }
}

/** C_GenerateKey. */
export function generateKey(maker: ObjectMaker, mechanism: RawMechanism, template: Attributes): CkObject {
  const keyType = generatedKeyTypes.get(mechanism.type)
  if (keyType === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkParameters(mechanism)
  const { [CKA.VALUE_LEN]: bytes = 0, ...rest } = secretTemplate(maker, 'generate', template, keyType)
  if (!isKeyLength(rest, bytes)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  // The card's generator is not used, because its bytes would cross the USB cable in clear.
  const value = maker.randomBytes(bytes)
  try {
    const local = { [CKA.LOCAL]: true, [CKA.KEY_GEN_MECHANISM]: mechanism.type }
    return addSecretKey(maker, { ...rest, ...local }, value, neverExported)
  } finally {
    value.fill(0)
  }
}

const generatedKeyTypes: ReadonlyMap<number, CKK> = /* @__PURE__ */ new Map<number, CKK>([
  [CKM.AES_KEY_GEN, CKK.AES],
  [CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET],
])

/** The arguments of a single-part key function, copied at the call. */
export interface KeyCall extends RequestedKeyUse {
  readonly template: Attributes
}

/** Translates errors about the handle, type or size of a wrapping or unwrapping key, for which other return values exist. */
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

/** The key that C_WrapKey wraps, copied at the call. */
export interface KeyToWrap {
  readonly attributes: Attributes
  /** Undefined if the value is not in the page's memory. */
  readonly value: Uint8Array | undefined
}

/** C_WrapKey. Rejects with CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE, CKR_KEY_SIZE_RANGE. */
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
    zeroPaddedMechanisms.has(type) ? BLOCK_BYTES * Math.ceil(value.length / BLOCK_BYTES) : value.length,
  )
  padded.set(value)
  try {
    return await runToEnd(work, padded, progress)
  } catch (error) {
    throw isCryptokiError(error, CKR.DATA_LEN_RANGE) ? new CryptokiError(CKR.KEY_SIZE_RANGE) : error
  } finally {
    padded.fill(0)
  }
}

const BLOCK_BYTES = 16

/** These mechanisms pad a wrapped key with zeros to whole blocks (PKCS#11 v3.0 mechanisms, 2.10.4 and 2.10.5). */
const zeroPaddedMechanisms: ReadonlySet<number> = /* @__PURE__ */ new Set([CKM.AES_ECB, CKM.AES_CBC])

/**
 * C_UnwrapKey. Every fault within the wrapped bytes gives CKR_WRAPPED_KEY_INVALID: a caller who can submit wrapped keys
 * could otherwise recover a key from the difference between a wrong padding and a wrong length.
 */
export async function unwrapKey(
  maker: ObjectMaker,
  work: KeyWork,
  { mechanism: { type }, template }: KeyCall,
  wrapped: Uint8Array,
  progress: Progress,
): Promise<CkObject> {
  // The standard does not allow CKA_VALUE_LEN for an AES key here, but only it states the length of a zero-padded key.
  const { [CKA.VALUE_LEN]: bytes, ...rest } = template
  const own = secretTemplate(maker, 'unwrap', rest)
  const isTooLong = type === CKM.RSA_X_509 && (bytes ?? 0) > work.outputBytes('final', wrapped.length)
  if (bytes !== undefined && (isTooLong || !isKeyLength(own, bytes)))
    throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  if (type === CKM.RSA_X_509 && bytes === undefined) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  const value = await runToEnd(work, wrapped, progress).catch((error: unknown) => {
    const rv = isCryptokiError(error) ? unwrapErrors.get(error.rv) : undefined
    throw rv === undefined ? error : new CryptokiError(rv)
  })
  // Computed in any case, so that the time does not reveal whether it is used.
  const rejected = type === CKM.RSA_PKCS ? implicitRejectionKey(maker, own, wrapped, bytes) : undefined
  try {
    progress.check()
    const key = keyBytesOf(value, type, bytes)
    const isKey = isKeyLength(own, key.length) && key.length === (bytes ?? key.length)
    if (!isKey && rejected === undefined) throw new CryptokiError(CKR.WRAPPED_KEY_INVALID)
    const placed = isKey || rejected === undefined ? key : rejected
    return addSecretKey(maker, { [CKA.EXTRACTABLE]: true, ...own }, placed)
  } finally {
    value.fill(0)
    rejected?.fill(0)
  }
}

/** Removes the zeros after a key that was padded to whole blocks, or before one that was encrypted as a number. */
function keyBytesOf(value: Uint8Array, type: number, bytes: number | undefined): Uint8Array {
  if (bytes === undefined || bytes > value.length) return value
  if (zeroPaddedMechanisms.has(type)) return value.subarray(0, bytes)
  return type === CKM.RSA_X_509 ? value.subarray(-bytes) : value
}

const aesKeyBytes = [16, 24, 32] as const

let rejectionSecret: Uint8Array | undefined

/**
 * Returns the key for an unwrapped value of a wrong length. RSA PKCS#1 v1.5 with implicit rejection gives a message of
 * pseudo-random length for a wrong padding, which seldom fits a key. An error would reveal that the padding was wrong
 * (Bleichenbacher 1998), so the result is a secret key instead, always the same for the same wrapped bytes.
 */
function implicitRejectionKey(
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

/** C_DeriveKey by ECDH (PKCS#11 v3.0 mechanisms, 2.3.20). Checks all arguments before it uses the base key. */
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
  if (bytes !== undefined && (isTooLong || !isKeyLength(rest, bytes)))
    throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  const shared = await runToEnd(work, nothing, progress)
  let value: Uint8Array = nothing
  try {
    value = await deriveSecret(shared, ecdh, bytes)
    progress.check()
    return addSecretKey(maker, rest, value, baseKey.attributes)
  } finally {
    shared.fill(0)
    value.fill(0)
  }
}

/** Runs the operation over all of the data and returns the complete output. */
async function runToEnd(work: KeyWork, data: Uint8Array, progress: Progress): Promise<Uint8Array> {
  const first = await work.update(data)
  const last = await work.final(progress)
  const output = concatBytes(first, last)
  first.fill(0)
  last.fill(0)
  return output
}

/**
 * Returns the checked template of a secret key that is generated, unwrapped or derived. The class may be missing, and the
 * key type if the mechanism determines it.
 */
function secretTemplate(
  maker: ObjectMaker,
  how: CreationMethod,
  template: Attributes,
  keyType?: CKK,
): Attributes {
  const own = {
    [CKA.CLASS]: CKO.SECRET_KEY,
    ...(keyType === undefined ? {} : { [CKA.KEY_TYPE]: keyType }),
    ...template,
  }
  if (keyType !== undefined && own[CKA.KEY_TYPE] !== keyType)
    throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  checkCreation(maker, how, own)
  return own
}

/**
 * Adds a secret key. `origin` states CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE of the key that the value comes from;
 * both are false for a value that came from outside.
 */
function addSecretKey(
  maker: ObjectMaker,
  template: Attributes,
  value: Uint8Array,
  origin: Attributes = {},
): CkObject {
  const own = withDefaults(template)
  return addObject(
    maker,
    {
      ...own,
      [CKA.VALUE_LEN]: value.length,
      [CKA.ALWAYS_SENSITIVE]: origin[CKA.ALWAYS_SENSITIVE] === true && own[CKA.SENSITIVE] === true,
      [CKA.NEVER_EXTRACTABLE]: origin[CKA.NEVER_EXTRACTABLE] === true && own[CKA.EXTRACTABLE] === false,
    },
    value,
  )
}

const neverExported: Attributes = { [CKA.ALWAYS_SENSITIVE]: true, [CKA.NEVER_EXTRACTABLE]: true }

function withDefaults(template: Attributes): Attributes {
  return { ...defaults.get(template[CKA.CLASS]), ...template }
}

/** Returns whether a key of that type may have that length. */
function isKeyLength({ [CKA.KEY_TYPE]: type }: Attributes, bytes: number): boolean {
  return type === CKK.AES ? [16, 24, 32].includes(bytes) : bytes >= 1 && bytes <= MAX_SECRET_BYTES
}
