/** Whether a certificate may sign documents: RFC 5280, 4.2.1.3 and 4.2.1.12. */
import type { Certificate } from 'pkijs'

/** Fitting, or which extension speaks against it. */
export type SigningUse = 'fitting' | 'wrong-key-usage' | 'wrong-extended-key-usage'

const KEY_USAGE = '2.5.29.15'
const EXTENDED_KEY_USAGE = '2.5.29.37'
/** digitalSignature and nonRepudiation, the first two bits. */
const SIGNS = 0xc0
/**
 * Purposes under which nobody signs a document: servers, clients, code, IPsec, time-stamps, OCSP, logon by smartcard.
 * Issuers have purposes of their own for documents, so these are named and not those.
 */
const others: ReadonlySet<string> = new Set([
  ...[1, 2, 3, 5, 6, 7, 8, 9, 17].map((purpose) => `1.3.6.1.5.5.7.3.${purpose}`),
  '1.3.6.1.4.1.311.20.2.2',
])

/** An extension that cannot be read allows nothing. */
export function signingUseOf(certificate: Certificate): SigningUse {
  const usage = certificate.extensions?.find(({ extnID }) => extnID === KEY_USAGE)
  const bits = usage?.parsedValue as { valueBlock?: { valueHexView?: Uint8Array } } | undefined
  if (usage !== undefined && ((bits?.valueBlock?.valueHexView?.[0] ?? 0) & SIGNS) === 0)
    return 'wrong-key-usage'
  return purposesFit(certificate) ? 'fitting' : 'wrong-extended-key-usage'
}

/** Whether the purposes that a certificate names, its own or those that it issues for, leave room for documents. */
export function purposesFit(certificate: Certificate): boolean {
  const extended = certificate.extensions?.find(({ extnID }) => extnID === EXTENDED_KEY_USAGE)
  const purposes = extended?.parsedValue as { keyPurposes?: readonly string[] } | undefined
  return extended === undefined || purposes?.keyPurposes?.some((purpose) => !others.has(purpose)) === true
}
