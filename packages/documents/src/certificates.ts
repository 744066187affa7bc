/** The certificates that a signature file brings, or its verifier has. */
import type { Name, ReadCertificate } from '@webtoki/crypto'
import { keyOf } from '@webtoki/apdu/bytes'
import type { Pace } from '@webtoki/apdu/pace'
import type { PathMemory } from '@webtoki/trust/path'
import type { SignerIdentifier } from './cms/signer-info.ts'

/** A certificate that cannot be read. It leads nowhere, and harms nothing else. */
export interface UnreadableCertificate {
  /** Whether it stands in the signature file or in the option `certificates`. */
  readonly from: 'file' | 'options'
  /** Its place there, from 0; each block of PEM has its own. */
  readonly index: number
  /** What is wrong with it, for developers: `not a Validity`, say. */
  readonly reason: string
}

/** Each once. */
export interface Certificates {
  readonly unreadable: readonly UnreadableCertificate[]
  readonly all: readonly ReadCertificate[]
  readonly byIssuerAndSerial: ReadonlyMap<string, ReadCertificate>
  readonly bySubjectKey: ReadonlyMap<string, ReadCertificate>
}

/** The first of two that are named alike. */
export async function certificatesOf(
  ders: Readonly<Record<UnreadableCertificate['from'], readonly Uint8Array[]>>,
  memory: PathMemory,
  pace: Pace,
): Promise<Certificates> {
  const all = new Set<ReadCertificate>()
  const byIssuerAndSerial = new Map<string, ReadCertificate>()
  const bySubjectKey = new Map<string, ReadCertificate>()
  const unreadable: UnreadableCertificate[] = []
  for (const { der, from, index } of [...placesIn('file', ders.file), ...placesIn('options', ders.options)]) {
    if (pace.isDue) await pace.turn()
    try {
      const read = memory.read(der)
      if (all.has(read)) continue
      all.add(read)
      const name = issuerAndSerial(read.issuer, read.serialNumber)
      // Of two that are named alike, the first, as ever.
      if (!byIssuerAndSerial.has(name)) byIssuerAndSerial.set(name, read)
      const identifier = read.extensions.get(SUBJECT_KEY_IDENTIFIER)?.value
      // An OCTET STRING of less than 128 bytes: what stands after its two bytes of header.
      const id = identifier === undefined ? undefined : keyOf(identifier.subarray(2))
      if (id !== undefined && !bySubjectKey.has(id)) bySubjectKey.set(id, read)
    } catch (error) {
      unreadable.push({ from, index, reason: reasonOf(error) })
    }
  }
  return { all: [...all], byIssuerAndSerial, bySubjectKey, unreadable }
}

function placesIn(from: UnreadableCertificate['from'], ders: readonly Uint8Array[]) {
  return ders.map((der, index) => ({ der, from, index }))
}

/** The reader's own words, which are at the end of the causes. */
function reasonOf(error: unknown): string {
  let at = error
  while (at instanceof Error && at.cause instanceof Error) at = at.cause
  return at instanceof Error ? at.message : String(at)
}

const SUBJECT_KEY_IDENTIFIER = '2.5.29.14'

function issuerAndSerial(issuer: Name, serialNumber: Uint8Array): string {
  return `${keyOf(serialNumber)} ${issuer.key}`
}

/** The signer's. */
export function certificateNamed(
  identifier: SignerIdentifier,
  { byIssuerAndSerial, bySubjectKey }: Certificates,
): ReadCertificate | undefined {
  if ('subjectKeyIdentifier' in identifier) return bySubjectKey.get(keyOf(identifier.subjectKeyIdentifier))
  return byIssuerAndSerial.get(issuerAndSerial(identifier.issuer, identifier.serialNumber))
}

/** RFC 5280, 4.1.2.5: both moments belong to the validity. */
export function isValidAt({ notBefore, notAfter }: ReadCertificate, time: Date): boolean {
  return notBefore.getTime() <= time.getTime() && time.getTime() <= notAfter.getTime()
}
