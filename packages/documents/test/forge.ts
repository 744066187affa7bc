/** Builds CMS with arbitrary parts, signed with a P-256 key, as a malicious signer could. */
import { createHash } from 'node:crypto'
import { type Issued, der, softwareSigner } from '../../trust/test/pki.ts'

/** The DER content of the object identifiers of attributes and algorithms. */
const ids = {
  data: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1],
  signedData: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2],
  contentType: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3],
  messageDigest: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4],
  signingTime: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5],
  signingCertificate: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12],
  signingCertificateV2: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47],
  signatureTimeStamp: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 14],
  signaturePolicy: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 15],
  counterSignature: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 6],
  archiveTimeStamp: [0x04, 0, 0x8d, 0x45, 2, 4],
  sha256: [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
  ecdsaWithSha256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
} as const

type Id = keyof typeof ids

export const oid = (id: Id): Uint8Array => der(0x06, [...ids[id]])
export const sha = (name: 'sha1' | 'sha256', bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash(name).update(bytes).digest())
export const attribute = (id: Id, ...values: readonly Uint8Array[]): Uint8Array =>
  der(0x30, oid(id), der(0x31, ...values))

/** An attribute value with ESSCertID, or with ESSCertIDv2, which has the same encoding for SHA-256. */
export const certificateReference = (digest: Uint8Array): Uint8Array =>
  der(0x30, der(0x30, der(0x30, der(0x04, digest))))

/** The signed attributes of CAdES-B-B, in DER order. */
export function usualAttributes(document: Uint8Array, certificate: Uint8Array): Record<string, Uint8Array> {
  return {
    contentType: attribute('contentType', oid('data')),
    signingTime: attribute('signingTime', der(0x17, new TextEncoder().encode('261124120000Z'))),
    messageDigest: attribute('messageDigest', der(0x04, sha('sha256', document))),
    certificate: attribute('signingCertificateV2', certificateReference(sha('sha256', certificate))),
  }
}

export interface Forgery {
  readonly attributes: readonly Uint8Array[]
  /** The encoding of the SET OF in the file, without its tag; default: the attributes in DER. */
  readonly written?: Uint8Array
  /** The signed bytes; default: the attributes in DER, in the given order. */
  readonly signed?: Uint8Array
  readonly unsigned?: readonly Uint8Array[]
  readonly eContentType?: Uint8Array
  readonly eContent?: Uint8Array
}

export async function forge(person: Issued, forgery: Forgery): Promise<Uint8Array> {
  const { attributes, unsigned, eContentType = oid('data'), eContent } = forgery
  const set = der(0x31, ...attributes)
  const written = forgery.written ?? set.subarray(1)
  const raw = await softwareSigner(person, 'ES256').sign(forgery.signed ?? set)
  const numbers = [raw.subarray(0, 32), raw.subarray(32)].map((bytes) => {
    const magnitude = bytes.subarray(bytes.findIndex((byte) => byte !== 0))
    return der(0x02, (magnitude[0] ?? 0) >= 0x80 ? [0] : [], magnitude)
  })
  const { issuer, serialNumber } = person.certificate
  const info = der(
    0x30,
    der(0x02, [1]),
    der(0x30, new Uint8Array(issuer.toSchema().toBER()), new Uint8Array(serialNumber.toBER())),
    der(0x30, oid('sha256')),
    attributes.length === 0 ? [] : Uint8Array.of(0xa0, ...written),
    der(0x30, oid('ecdsaWithSha256')),
    der(0x04, der(0x30, ...numbers)),
    unsigned === undefined ? [] : der(0xa1, ...unsigned),
  )
  const content = eContent === undefined ? [] : der(0xa0, der(0x04, eContent))
  const signedData = der(
    0x30,
    der(0x02, [1]),
    der(0x31, der(0x30, oid('sha256'))),
    der(0x30, eContentType, content),
    der(0xa0, person.der),
    der(0x31, info),
  )
  return der(0x30, oid('signedData'), der(0xa0, signedData))
}
