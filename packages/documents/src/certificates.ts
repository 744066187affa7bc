/**
 * The certificates of a signature file and of the option `certificates`, indexed for the search of a signer's
 * certificate.
 */
import type { Name, ReadCertificate } from '@webtoki/crypto'
import { keyOf } from '@webtoki/apdu/bytes'
import type { Pace } from '@webtoki/apdu/pace'
import type { PathMemory } from '@webtoki/trust/path'
import type { SignerIdentifier } from './cms/signer-info.ts'

/** A certificate that cannot be parsed. It is ignored and does not affect the others. */
export interface UnreadableCertificate {
  /** Whether it is from the signature file or from the option `certificates`. */
  readonly from: 'file' | 'options'
  /** Its index there, from 0. Each PEM block has its own index. */
  readonly index: number
  /** The parser's error for developers, for example `not a Validity`. */
  readonly reason: string
}

/** Parsed certificates without duplicates. */
export interface Certificates {
  readonly unreadable: readonly UnreadableCertificate[]
  readonly all: readonly ReadCertificate[]
  readonly byIssuerAndSerial: ReadonlyMap<string, ReadCertificate>
  readonly bySubjectKey: ReadonlyMap<string, ReadCertificate>
}

/** Parses and indexes certificates. If two have the same identifier, the index has the first. */
export async function certificatesOf(
  ders: Readonly<Record<UnreadableCertificate['from'], readonly Uint8Array[]>>,
  memory: PathMemory,
  pace: Pace,
): Promise<Certificates> {
  const all = new Set<ReadCertificate>()
  const byIssuerAndSerial = new Map<string, ReadCertificate>()
  const bySubjectKey = new Map<string, ReadCertificate>()
  const unreadable: UnreadableCertificate[] = []
  for (const { der, from, index } of [
    ...withPositions('file', ders.file),
    ...withPositions('options', ders.options),
  ]) {
    if (pace.isDue) await pace.turn()
    try {
      const read = memory.read(der)
      if (all.has(read)) continue
      all.add(read)
      const name = issuerAndSerial(read.issuer, read.serialNumber)
      // The first of two with the same identifier; the signature file comes before the options.
      if (!byIssuerAndSerial.has(name)) byIssuerAndSerial.set(name, read)
      const identifier = read.extensions.get(SUBJECT_KEY_IDENTIFIER)?.value
      // The content of an OCTET STRING of less than 128 bytes, whose header has two bytes.
      const id = identifier === undefined ? undefined : keyOf(identifier.subarray(2))
      if (id !== undefined && !bySubjectKey.has(id)) bySubjectKey.set(id, read)
    } catch (error) {
      unreadable.push({ from, index, reason: reasonOf(error) })
    }
  }
  return { all: [...all], byIssuerAndSerial, bySubjectKey, unreadable }
}

function withPositions(from: UnreadableCertificate['from'], ders: readonly Uint8Array[]) {
  return ders.map((der, index) => ({ der, from, index }))
}

/** Returns the message of the innermost cause, which is the parser's error. */
function reasonOf(error: unknown): string {
  let innermost = error
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause
  return innermost instanceof Error ? innermost.message : String(innermost)
}

const SUBJECT_KEY_IDENTIFIER = '2.5.29.14'

function issuerAndSerial(issuer: Name, serialNumber: Uint8Array): string {
  return `${keyOf(serialNumber)} ${issuer.key}`
}

/** Returns the certificate of a signer. */
export function certificateNamed(
  identifier: SignerIdentifier,
  { byIssuerAndSerial, bySubjectKey }: Certificates,
): ReadCertificate | undefined {
  if ('subjectKeyIdentifier' in identifier) return bySubjectKey.get(keyOf(identifier.subjectKeyIdentifier))
  return byIssuerAndSerial.get(issuerAndSerial(identifier.issuer, identifier.serialNumber))
}

/** RFC 5280, 4.1.2.5: the validity includes notBefore and notAfter. */
export function isValidAt({ notBefore, notAfter }: ReadCertificate, time: Date): boolean {
  return notBefore.getTime() <= time.getTime() && time.getTime() <= notAfter.getTime()
}
