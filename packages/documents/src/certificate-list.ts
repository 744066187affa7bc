/** Converts lists of certificates in DER or PEM (RFC 7468, 5) to DER. A PEM bundle contains several certificates. */
import { type ByteSource, copyOf, isByteSource, keyOf, viewOf } from '@webtoki/apdu/bytes'
import { wrongArgument } from './arguments.ts'
import type { DocumentError } from './errors.ts'

/** A certificate in DER, or one or more in PEM. A string is PEM. */
export type CertificateData = ByteSource | string

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g
const LABELS: readonly unknown[] = ['CERTIFICATE', 'X509 CERTIFICATE']

/**
 * Returns copies in DER, and an empty list if `list` is undefined. It does not parse the certificates. Throws
 * DocumentError 'wrong-argument', which names the entry and the PEM block that is damaged.
 */
export function certificateList(
  argument: string,
  list: readonly CertificateData[] = [],
): readonly Uint8Array[] {
  const refusal = (why: string): DocumentError =>
    wrongArgument(argument, `a list of certificates in DER or PEM${why}`)
  if (!Array.isArray(list)) throw refusal('')
  return list.flatMap((each: unknown, at) => {
    if (typeof each !== 'string' && !isByteSource(each))
      throw refusal(`; entry ${at} is neither bytes nor text`)
    const text = typeof each === 'string' ? each : keyOf(viewOf(each))
    // DER starts with 0x30, the tag of a SEQUENCE, which is the digit 0 in ASCII.
    if (typeof each !== 'string' && (text.startsWith('0') || !text.includes('-----BEGIN ')))
      return [copyOf(each)]
    return blocksIn(text, (why) => refusal(`; in entry ${at}, ${why}`))
  })
}

/** Skips blocks of other types, such as private keys, which a bundle may contain. */
function blocksIn(text: string, refusal: (why: string) => DocumentError): readonly Uint8Array[] {
  const blocks = [...text.matchAll(BLOCK)]
  if (!blocks.some(([, label]) => LABELS.includes(label)))
    throw refusal('no PEM block is a complete CERTIFICATE')
  return blocks.flatMap(([, label, body = ''], at) => {
    if (!LABELS.includes(label)) return []
    const base64 = body.replaceAll(/\s/g, '')
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0)
      throw refusal(`block ${at + 1} of ${blocks.length} is not base64`)
    return [Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))]
  })
}
