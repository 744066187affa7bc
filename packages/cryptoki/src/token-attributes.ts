/** What all objects of cards have, whatever their application: PKCS#11 v3.0, 4.4 to 4.9. */
import type { Attributes } from './attributes.ts'
import { CKF } from './ckf.ts'
import { CKA, CKC, CKK, CKO } from './constants.ts'
import { keyRules } from './key-rules.ts'
import { type MechanismInfo, signMechanisms } from './mechanisms.ts'

/** Known before the card is touched. `uniqueId` names the object on its card, also after the card was taken out. */
export function fixedAttributes(objectClass: CKO, uniqueId: string): Attributes {
  return {
    [CKA.CLASS]: objectClass,
    [CKA.TOKEN]: true,
    [CKA.MODIFIABLE]: false,
    // A certificate or public key can be a session object too; a key in the card cannot.
    [CKA.COPYABLE]: objectClass !== CKO.PRIVATE_KEY,
    [CKA.DESTROYABLE]: false,
    [CKA.UNIQUE_ID]: uniqueId,
    ...(objectClass === CKO.PRIVATE_KEY ? { [CKA.WRAP_WITH_TRUSTED]: false } : { [CKA.TRUSTED]: false }),
    // Cards keep no days for their keys: those of the certificate are not the key's.
    ...(objectClass === CKO.CERTIFICATE
      ? { [CKA.CERTIFICATE_TYPE]: CKC.X_509 }
      : { [CKA.START_DATE]: '', [CKA.END_DATE]: '' }),
  }
}

/** The attributes that allow a key of this class its uses; a public key has CKA_DERIVE too. */
function usesOf(keyClass: CKO | undefined): readonly (keyof Attributes)[] {
  const own = Object.values(keyRules).filter((rules) => rules.keyClass === keyClass)
  return [...own.map(({ attribute }) => attribute), CKA.DERIVE]
}

/**
 * Adds what a card does not tell of a key: CKA_ALLOWED_MECHANISMS (what the card does with keys of its type, and for a
 * public key what software does), and the standard's default for the rest. Certificates are left as they are.
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
