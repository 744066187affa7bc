/** The attributes that all objects on cards have, independent of the card application: PKCS#11 v3.0, 4.4 to 4.9. */
import type { Attributes } from './attributes.ts'
import { CKF } from './ckf.ts'
import { CKA, CKC, CKK, CKO } from './constants.ts'
import { keyRules } from './key-rules.ts'
import { type MechanismInfo, signMechanisms } from './mechanisms.ts'

/** Returns the attributes that are known without the card. `uniqueId` identifies the object even after a card removal. */
export function fixedAttributes(objectClass: CKO, uniqueId: string): Attributes {
  return {
    [CKA.CLASS]: objectClass,
    [CKA.TOKEN]: true,
    [CKA.MODIFIABLE]: false,
    // A certificate or public key can be copied to a session object, a private key on the card cannot.
    [CKA.COPYABLE]: objectClass !== CKO.PRIVATE_KEY,
    [CKA.DESTROYABLE]: false,
    [CKA.UNIQUE_ID]: uniqueId,
    ...(objectClass === CKO.PRIVATE_KEY ? { [CKA.WRAP_WITH_TRUSTED]: false } : { [CKA.TRUSTED]: false }),
    // Cards store no dates for keys, and those of the certificate do not apply to its key.
    ...(objectClass === CKO.CERTIFICATE
      ? { [CKA.CERTIFICATE_TYPE]: CKC.X_509 }
      : { [CKA.START_DATE]: '', [CKA.END_DATE]: '' }),
  }
}

/** Returns the attributes that permit uses of a key of this class. Public keys have CKA_DERIVE too. */
function usesOf(keyClass: CKO | undefined): readonly (keyof Attributes)[] {
  const own = Object.values(keyRules).filter((rules) => rules.keyClass === keyClass)
  return [...own.map(({ attribute }) => attribute), CKA.DERIVE]
}

/**
 * Adds the attributes that cards do not provide for a key: CKA_ALLOWED_MECHANISMS, which are the mechanisms of the token
 * for its key type and, for a public key, those of software; and the defaults of the standard. Certificates are not changed.
 */
export function withDefaults(
  attributes: Attributes,
  ofToken: ReadonlyMap<number, MechanismInfo>,
): Attributes {
  if (attributes[CKA.KEY_TYPE] === undefined) return attributes
  const isEc = attributes[CKA.KEY_TYPE] === CKK.EC
  const isPublic = attributes[CKA.CLASS] === CKO.PUBLIC_KEY
  const ofCard = [...ofToken].filter(([, { flags }]) => {
    const isDerivation = (flags & CKF.DERIVE) !== 0
    return ((flags & CKF.EC_F_P) !== 0) === isEc && !(isPublic && isDerivation)
  })
  const inSoftware = isPublic
    ? [...signMechanisms].filter(([, { keyType }]) => keyType === (isEc ? 'ec' : 'rsa'))
    : []
  const types = new Set([...ofCard, ...inSoftware].map(([type]) => type))
  return {
    ...Object.fromEntries(usesOf(attributes[CKA.CLASS]).map((use) => [use, false])),
    [CKA.LOCAL]: false,
    [CKA.SUBJECT]: new Uint8Array(0),
    [CKA.ALLOWED_MECHANISMS]: [...types],
    ...attributes,
  }
}
