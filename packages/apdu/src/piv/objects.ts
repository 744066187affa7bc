/**
 * Data objects of the PIV card application: discovery, CHUID and certificates, SP 800-73-4 part 1 clause 3 and appendix
 * A.
 */
import { copyOf } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv, readTlvHeader } from '../tlv.ts'
import { PivReference } from './constants.ts'

/** What the discovery object states about PINs. */
export interface PivDiscovery {
  /** 5F2F: the first byte names the PINs, the second the preferred one. Undefined if the object does not state it. */
  readonly pinUsagePolicy: number | undefined
  /** The reference that VERIFY should use. */
  readonly pinReference: typeof PivReference.APPLICATION_PIN | typeof PivReference.GLOBAL_PIN
}

/** Card holder unique identifier. */
export interface PivChuid {
  /** 16 bytes; undefined if it is absent or all zero, because it then identifies no card. */
  readonly guid: Uint8Array | undefined
  /** The whole object as the card sent it. */
  readonly object: Uint8Array
}

/** The content of a certificate object. */
export interface PivCertificate {
  /** X.509 certificate in DER, inflated if the card stores it compressed. */
  readonly der: Uint8Array
  /** The whole object as the card sent it, including tag 53. A cache compares it with `readObjectHead`. */
  readonly object: Uint8Array
}

/** Decodes the response data of GET DATA for 7E. Throws MalformedError. */
export function decodeDiscovery(object: Uint8Array): PivDiscovery {
  const outer = firstTlv(object)
  // The standard has a bare 7E. Some cards wrap it in 53 like the other objects.
  const content = outer?.tag === 0x53 ? firstTlv(outer.value, 0x7e) : outer
  if (content?.tag !== 0x7e) throw new MalformedError('discovery object', 'no 7E')
  const [available, preferred] = firstTlv(content.value, 0x5f2f)?.value ?? []
  if (available === undefined || preferred === undefined) {
    return { pinUsagePolicy: undefined, pinReference: PivReference.APPLICATION_PIN }
  }
  const hasApplicationPin = (available & 0x40) !== 0
  const hasGlobalPin = (available & 0x20) !== 0
  const usesGlobalPin = hasGlobalPin && (preferred === 0x20 || !hasApplicationPin)
  return {
    pinUsagePolicy: (available << 8) | preferred,
    pinReference: usesGlobalPin ? PivReference.GLOBAL_PIN : PivReference.APPLICATION_PIN,
  }
}

/** Decodes the response data of GET DATA for 5FC102. Throws MalformedError. */
export function decodeChuid(object: Uint8Array): PivChuid {
  const guid = firstTlv(unwrap(object, 'CHUID'), 0x34)?.value
  if (guid === undefined || guid.every((byte) => byte === 0)) return { guid: undefined, object }
  if (guid.length !== 16) throw new MalformedError('CHUID', `a GUID of ${guid.length} bytes instead of 16`)
  return { guid: copyOf(guid), object }
}

/**
 * Decodes the response data of GET DATA for a certificate. Resolves to undefined if the object is empty. Rejects with
 * MalformedError.
 */
export async function decodeCertificate(object: Uint8Array): Promise<PivCertificate | undefined> {
  const content = unwrap(object, 'certificate object')
  const stored = firstTlv(content, 0x70)?.value
  if (stored === undefined || stored.length === 0) return undefined
  return { der: certificateIn(await expanded(stored)), object }
}

/**
 * Detects compression from the bytes and not from 71 (CertInfo, bit 0 = gzip), because some cards set it wrongly. The
 * decompression is loaded on the first compressed certificate.
 */
async function expanded(stored: Uint8Array): Promise<Uint8Array> {
  return stored[0] === 0x30 ? stored : (await import('./expand.ts')).expand(stored)
}

/** Removes the padding that some cards add after the certificate. */
function certificateIn(bytes: Uint8Array): Uint8Array {
  const header = readTlvHeader(bytes)
  const length = header === undefined ? 0 : header.headerBytes + header.valueBytes
  if (header?.tag !== 0x30 || length > bytes.length) {
    throw new MalformedError('certificate', `no whole SEQUENCE in ${bytes.length} bytes`)
  }
  return copyOf(bytes.subarray(0, length))
}

/**
 * Returns the content of 53. Some cards return more bytes than the object has
 * (https://github.com/OpenSC/OpenSC/issues/1837).
 */
function unwrap(object: Uint8Array, what: string): Uint8Array {
  const outer = firstTlv(object)
  if (outer?.tag !== 0x53) throw new MalformedError(what, 'no 53')
  return outer.value
}
