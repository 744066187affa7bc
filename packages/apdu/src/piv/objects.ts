/** Data objects of the PIV card application: discovery, CHUID and certificates, SP 800-73-4 part 1 clause 3 and appendix A. */
import { copyOf } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv, readTlvHeader } from '../tlv.ts'
import { PivReference } from './constants.ts'

/** What the discovery object says about PINs. */
export interface PivDiscovery {
  /** 5F2F: first byte which PINs there are, second byte which one is preferred; undefined where it is not told. */
  readonly pinUsagePolicy: number | undefined
  /** The reference that VERIFY should use. */
  readonly pinReference: typeof PivReference.APPLICATION_PIN | typeof PivReference.GLOBAL_PIN
}

/** Card holder unique identifier. */
export interface PivChuid {
  /** 16 bytes; undefined where it is absent or all zero, which identifies no card. */
  readonly guid: Uint8Array | undefined
  /** The whole object as the card gave it. */
  readonly object: Uint8Array
}

/** A certificate out of its object. */
export interface PivCertificate {
  /** X.509 in DER, inflated where the card keeps it compressed. */
  readonly der: Uint8Array
  /** The whole object as the card gave it, 53 included: what a cache compares with `readObjectHead`. */
  readonly object: Uint8Array
}

/** Reads the answer to GET DATA for 7E. Throws MalformedError. */
export function decodeDiscovery(object: Uint8Array): PivDiscovery {
  const outer = firstTlv(object)
  // 7E comes bare; some cards wrap it as they wrap the other objects.
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

/** Reads the answer to GET DATA for 5FC102. Throws MalformedError. */
export function decodeChuid(object: Uint8Array): PivChuid {
  const guid = firstTlv(unwrap(object, 'CHUID'), 0x34)?.value
  if (guid === undefined || guid.every((byte) => byte === 0)) return { guid: undefined, object }
  if (guid.length !== 16) throw new MalformedError('CHUID', `a GUID of ${guid.length} bytes`)
  return { guid: copyOf(guid), object }
}

/** Reads the answer to GET DATA for a certificate; undefined where the object is empty. Throws MalformedError. */
export async function decodeCertificate(object: Uint8Array): Promise<PivCertificate | undefined> {
  const content = unwrap(object, 'certificate object')
  const stored = firstTlv(content, 0x70)?.value
  if (stored === undefined || stored.length === 0) return undefined
  return { der: certificateIn(await expanded(stored)), object }
}

/**
 * The bytes themselves tell better than 71 (CertInfo, bit 0 = gzip) whether they are compressed: cards are met that say
 * one and do the other. What expands them is loaded when the first such certificate comes.
 */
async function expanded(stored: Uint8Array): Promise<Uint8Array> {
  return stored[0] === 0x30 ? stored : (await import('./expand.ts')).expand(stored)
}

/** Cuts what a card pads behind the certificate. */
function certificateIn(bytes: Uint8Array): Uint8Array {
  const header = readTlvHeader(bytes)
  const length = header === undefined ? 0 : header.headerBytes + header.valueBytes
  if (header?.tag !== 0x30 || length > bytes.length) {
    throw new MalformedError('certificate', `no whole SEQUENCE in ${bytes.length} bytes`)
  }
  return copyOf(bytes.subarray(0, length))
}

/** What stands in 53. Some cards answer more bytes than the object has (OpenSC, issue 1837). */
function unwrap(object: Uint8Array, what: string): Uint8Array {
  const outer = firstTlv(object)
  if (outer?.tag !== 0x53) throw new MalformedError(what, 'no 53')
  return outer.value
}
