/** Reads signature files in DER, PEM (RFC 7468, 9) or base64, from bytes, text or a Blob. */
import { type ByteSource, copyOf, isByteSource, keyOf, viewOf } from '@webtoki/apdu/bytes'
import { MAX_FILE_MEBIBYTES } from './cms/signed-data.ts'
import { type BlobLike, isBlob, piecesOf } from './data.ts'
import { DocumentError } from './errors.ts'

/** A signature in DER, PEM or base64. A string is PEM or base64. An array is copied at the call. */
export type SignatureData = ByteSource | BlobLike | string

const MAX_BYTES = MAX_FILE_MEBIBYTES * 1024 * 1024

/** Returns the BER bytes. Rejects with DocumentError 'wrong-argument', 'too-complex', 'unreadable' and 'malformed'. */
export async function readSignatureFile(data: SignatureData): Promise<Uint8Array> {
  if (typeof data === 'string') return fromText(data)
  const bytes = isByteSource(data) ? withinLimit(viewOf(data)) : await fromBlob(data)
  // A ContentInfo starts with 0x30, the tag of a SEQUENCE. PEM and base64 of a ContentInfo never start with that byte,
  // the digit 0.
  return bytes[0] === 0x30 ? copyOf(bytes) : fromText(keyOf(bytes))
}

function withinLimit(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_BYTES) throw new DocumentError('too-complex', { limit: `${MAX_FILE_MEBIBYTES} MiB` })
  return bytes
}

async function fromBlob(data: unknown): Promise<Uint8Array> {
  if (!isBlob(data))
    throw new DocumentError('wrong-argument', {
      detail: '`signature` has to be bytes, a File or Blob, or a string of PEM or base64.',
    })
  if (data.size > MAX_BYTES) throw new DocumentError('too-complex', { limit: `${MAX_FILE_MEBIBYTES} MiB` })
  const bytes = new Uint8Array(data.size)
  let at = 0
  for await (const piece of piecesOf(data)) {
    // The Blob has more bytes than its size: the file has grown, or the object is not a real Blob.
    if (at + piece.length > bytes.length) throw new DocumentError('unreadable')
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

const PEM = /-----BEGIN (CMS|PKCS7|PKCS #7 SIGNED DATA)-----([^-]*)-----END \1-----/

/** Throws DocumentError 'malformed' and 'too-complex'. */
function fromText(text: string): Uint8Array {
  if (text.length > 2 * MAX_BYTES)
    throw new DocumentError('too-complex', { limit: `${MAX_FILE_MEBIBYTES} MiB` })
  const base64 = (PEM.exec(text)?.[2] ?? text.replace(/^\u00ef\u00bb\u00bf|^\ufeff/, '')).replaceAll(
    /\s/g,
    '',
  )
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0)
    throw new DocumentError('malformed', { detail: 'It is not DER, PEM or base64.' })
  return withinLimit(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0)))
}
