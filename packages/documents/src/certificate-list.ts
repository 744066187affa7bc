/** Certificates as people hand them in: DER, or PEM (RFC 7468, 5), whose bundles have several blocks. */
import { type ByteSource, copyOf, isByteSource, keyOf, viewOf } from '@webtoki/apdu/bytes'
import { wrongArgument } from './arguments.ts'
import type { DocumentError } from './errors.ts'

/** DER or PEM. A string is PEM. */
export type CertificateData = ByteSource | string

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g
const LABELS: readonly unknown[] = ['CERTIFICATE', 'X509 CERTIFICATE']

/**
 * Copies in DER; none if there is no list. Whether they can be read as X.509 is not judged. Throws DocumentError
 * 'wrong-argument', which names the entry, and the block of PEM that is damaged.
 */
export function certificateList(
  argument: string,
  list: readonly CertificateData[] = [],
): readonly Uint8Array[] {
  const refused = (why: string): DocumentError =>
    wrongArgument(argument, `a list of certificates in DER or PEM${why}`)
  if (!Array.isArray(list)) throw refused('')
  return list.flatMap((each: unknown, at) => {
    if (typeof each !== 'string' && !isByteSource(each))
      throw refused(`; entry ${at} is neither bytes nor text`)
    const text = typeof each === 'string' ? each : keyOf(viewOf(each))
    // DER begins with the byte of a SEQUENCE, which is a digit in ASCII.
    if (typeof each !== 'string' && (text.startsWith('0') || !text.includes('-----BEGIN ')))
      return [copyOf(each)]
    return blocksIn(text, (why) => refused(`; of entry ${at}, ${why}`))
  })
}

/** Keys and the like, which bundles may have beside certificates, are stepped over. */
function blocksIn(text: string, refused: (why: string) => DocumentError): readonly Uint8Array[] {
  const blocks = [...text.matchAll(BLOCK)]
  if (!blocks.some(([, label]) => LABELS.includes(label)))
    throw refused('no block is a CERTIFICATE from its BEGIN to its END')
  return blocks.flatMap(([, label, body = ''], at) => {
    if (!LABELS.includes(label)) return []
    const base64 = body.replaceAll(/\s/g, '')
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0)
      throw refused(`block ${at + 1} of ${blocks.length} is not base64`)
    return [Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))]
  })
}
