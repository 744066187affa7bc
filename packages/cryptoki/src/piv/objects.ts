/** The objects that a PIV slot shows: certificate, public key, private key; ids and labels as OpenSC gives them. */
import { mainSlots, type PivSlot } from '@webtoki/apdu/piv'
import { type KeyUsage, viewCertificate } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { certificateKey } from '../certificate.ts'
import { certificateAttributes } from '../certificate-attributes.ts'
import { CKA, CKK, CKO } from '../constants.ts'
import { fixedAttributes } from '../token-attributes.ts'
import { publicKeyAttributes } from './public-key.ts'

/** The slots that this driver shows. The twenty retired ones hold keys for old mail. */
export const shownSlots: readonly PivSlot[] = mainSlots

/** CKA_ID: 01 to 04 in the order 9A, 9C, 9D, 9E. */
export function idOf(slot: PivSlot): Uint8Array {
  return Uint8Array.of(shownSlots.indexOf(slot) + 1)
}

/** The three kinds of object that a slot may show. */
export type PivObjectKind = 'certificate' | 'public-key' | 'private-key'

const classes: Readonly<Record<PivObjectKind, CKO>> = {
  certificate: CKO.CERTIFICATE,
  'public-key': CKO.PUBLIC_KEY,
  'private-key': CKO.PRIVATE_KEY,
}

/**
 * What is known of an object before the card is touched. Its CKA_UNIQUE_ID names its place on the card with that GUID; on
 * cards without a GUID it is unique on the card alone.
 */
export function knownAttributes(slot: PivSlot, kind: PivObjectKind, guid: string | undefined): Attributes {
  const uniqueId = `${guid ?? 'piv'}-${slot.key.toString(16)}-${kind}`
  return {
    ...fixedAttributes(classes[kind], uniqueId),
    // Whether a private key is private, its PIN policy tells.
    ...(kind !== 'private-key' && { [CKA.PRIVATE]: false }),
    [CKA.ID]: idOf(slot),
    [CKA.LABEL]:
      kind === 'certificate' ? `Certificate for ${slot.name}` : `${slot.name} ${kind.replace('-', ' ')}`,
  }
}

/** All attributes; undefined where the certificate tells nothing of the key that this driver could use. */
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
 * What a key may be used for: KeyUsage if the certificate has it (RFC 5280, 4.2.1.3), else what SP 800-73-4 part 1, 3.2
 * means the slot for. A key that enciphers keys or data decrypts and unwraps: applications differ in what they call it.
 */
function usageAttributes(
  slot: PivSlot,
  kind: 'public-key' | 'private-key',
  isRsa: boolean,
  keyUsage: readonly KeyUsage[] | undefined,
): Attributes {
  const usual: readonly KeyUsage[] =
    slot.key === 0x9d ? ['keyEncipherment', 'keyAgreement'] : ['digitalSignature']
  const isFor = (...usages: readonly KeyUsage[]): boolean =>
    usages.some((usage) => (keyUsage ?? usual).includes(usage))
  const signs = isFor('digitalSignature', 'nonRepudiation')
  const enciphers = isRsa && isFor('keyEncipherment', 'dataEncipherment')
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
    [CKA.DERIVE]: !isRsa && isFor('keyAgreement'),
  }
}
