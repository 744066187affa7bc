/** Functions that make objects in this page's memory: PKCS#11 v3.0, 5.7 "Object management" and 5.18 "Key management". Loaded when one is called: a login makes none. */
import { toHex } from '@webtoki/apdu'
import { checkChange, checkTemplate } from './attribute-rules.ts'
import type { Attributes } from './attributes.ts'
import { CKA, CKF, CKK, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { CkObject } from './object.ts'
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

const MAX_SECRET_BYTES = 0x1_0000
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
function checkMaking(maker: ObjectMaker, template: Attributes): void {
  checkTemplate('create', template)
  checkPlace(maker, template)
  // It would have to be computed to be compared.
  if (template[CKA.CHECK_VALUE] !== undefined) throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID)
  // No private key is ever in this page's memory.
  const isKnown = defaults.has(template[CKA.CLASS])
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
    const isReadOnly = !session.readWrite && (context.token.flags & CKF.WRITE_PROTECTED) === 0
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
  checkMaking(maker, template)
  const { [CKA.VALUE]: value = nothing, ...rest } = template
  switch (template[CKA.CLASS]) {
    case CKO.SECRET_KEY:
      if (!fits(template, value.length)) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
      return place(maker, { ...withDefaults(rest), [CKA.VALUE_LEN]: value.length, ...notAlways }, value)
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

/** Nobody knows where a key that was handed in has been. */
const notAlways: Attributes = { [CKA.ALWAYS_SENSITIVE]: false, [CKA.NEVER_EXTRACTABLE]: false }

function withDefaults(template: Attributes): Attributes {
  return { ...defaults.get(template[CKA.CLASS]), ...template }
}

/** Whether a key of that type can have so many bytes. */
function fits({ [CKA.KEY_TYPE]: type }: Attributes, bytes: number): boolean {
  return type === CKK.AES ? [16, 24, 32].includes(bytes) : bytes >= 1 && bytes <= MAX_SECRET_BYTES
}
