/**
 * The objects of a PIV slot: certificate, public key and private key, with the ids and labels that OpenSC uses.
 * https://github.com/OpenSC/OpenSC/blob/0.27.1/src/libopensc/pkcs15-piv.c#L349-L353
 */
import { mainSlots, type PivSlot } from '@webtoki/apdu/piv'
import { type KeyUsage, viewCertificate } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { certificateKey } from '../certificate.ts'
import { certificateAttributes } from '../certificate-attributes.ts'
import { CKA, CKK, CKO } from '../constants.ts'
import { fixedAttributes } from '../token-attributes.ts'
import { publicKeyAttributes } from './public-key.ts'

/** The slots that this driver presents. The twenty retired slots, which hold keys for old mail, are left out. */
export const visibleSlots: readonly PivSlot[] = mainSlots

/** Returns CKA_ID: 01 to 04 for the slots 9A, 9C, 9D and 9E. */
export function idOf(slot: PivSlot): Uint8Array {
  return Uint8Array.of(visibleSlots.indexOf(slot) + 1)
}

/** The kinds of object in a slot. */
export type PivObjectKind = 'certificate' | 'public-key' | 'private-key'

const classes: Readonly<Record<PivObjectKind, CKO>> = {
  certificate: CKO.CERTIFICATE,
  'public-key': CKO.PUBLIC_KEY,
  'private-key': CKO.PRIVATE_KEY,
}

/**
 * Returns the attributes of an object that are known without reading it from the card. CKA_UNIQUE_ID consists of the
 * card's GUID, the slot and the kind; on cards without a GUID it is unique only within the card.
 */
export function knownAttributes(slot: PivSlot, kind: PivObjectKind, guid: string | undefined): Attributes {
  const uniqueId = `${guid ?? 'piv'}-${slot.key.toString(16)}-${kind}`
  return {
    ...fixedAttributes(classes[kind], uniqueId),
    // CKA_PRIVATE of a private key follows from its PIN policy.
    ...(kind !== 'private-key' && { [CKA.PRIVATE]: false }),
    [CKA.ID]: idOf(slot),
    [CKA.LABEL]:
      kind === 'certificate' ? `Certificate for ${slot.name}` : `${slot.name} ${kind.replace('-', ' ')}`,
  }
}

/** Returns all attributes, or undefined for a key whose certificate contains no public key that this driver supports. */
export function allAttributes(
  slot: PivSlot,
  kind: PivObjectKind,
  known: Attributes,
  der: Uint8Array,
): Attributes | undefined {
  if (kind === 'certificate') return { ...known, ...certificateAttributes(der) }
  const view = viewCertificate(der)
  const publicKey = view && certificateKey(view.publicKeyInfo)
  if (view === undefined || publicKey === undefined) return undefined
  const isRsa = publicKey.kind === 'rsa'
  const key = {
    ...known,
    ...publicKeyAttributes(publicKey),
    [CKA.KEY_TYPE]: isRsa ? CKK.RSA : CKK.EC,
    [CKA.SUBJECT]: view.subjectDer,
    [CKA.PUBLIC_KEY_INFO]: view.publicKeyInfo,
    ...usageAttributes(slot, kind, isRsa, view.keyUsage),
    [CKA.LOCAL]: false,
  }
  if (kind === 'public-key') return key
  return {
    ...key,
    [CKA.SENSITIVE]: true,
    [CKA.ALWAYS_SENSITIVE]: true,
    [CKA.EXTRACTABLE]: false,
    [CKA.NEVER_EXTRACTABLE]: true,
  }
}

/**
 * Returns the permitted uses of a key: KeyUsage if the certificate has it (RFC 5280, 4.2.1.3), otherwise the purpose of the
 * slot (SP 800-73-4 part 1, 3.2). Both keyEncipherment and dataEncipherment allow decrypting and unwrapping, because
 * applications use either function for both.
 */
function usageAttributes(
  slot: PivSlot,
  kind: 'public-key' | 'private-key',
  isRsa: boolean,
  keyUsage: readonly KeyUsage[] | undefined,
): Attributes {
  const defaultUsages: readonly KeyUsage[] =
    slot.key === 0x9d ? ['keyEncipherment', 'keyAgreement'] : ['digitalSignature']
  const allows = (...usages: readonly KeyUsage[]): boolean =>
    usages.some((usage) => (keyUsage ?? defaultUsages).includes(usage))
  const signs = allows('digitalSignature', 'nonRepudiation')
  const enciphers = isRsa && allows('keyEncipherment', 'dataEncipherment')
  if (kind === 'public-key') {
    return {
      [CKA.VERIFY]: signs,
      [CKA.VERIFY_RECOVER]: signs && isRsa,
      [CKA.ENCRYPT]: enciphers,
      [CKA.WRAP]: enciphers,
      [CKA.DERIVE]: false,
    }
  }
  return {
    [CKA.SIGN]: signs,
    [CKA.SIGN_RECOVER]: signs && isRsa,
    [CKA.DECRYPT]: enciphers,
    [CKA.UNWRAP]: enciphers,
    [CKA.DERIVE]: !isRsa && allows('keyAgreement'),
  }
}
