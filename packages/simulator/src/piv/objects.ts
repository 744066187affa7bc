/** The data objects of a new virtual PIV card (SP 800-73-4 part 1, 3 and appendix A). */
import { copyOf, fromHex, join } from '../bytes.ts'
import { readObjects, tlv } from '../iso7816/tlv.ts'

/** The key references that have a certificate by default. */
export type PivSlot = '9A' | '9C' | '9D' | '9E'

/** The key reference of each slot and the tag of its certificate object. */
export const pivSlots: Readonly<
  Record<PivSlot, { readonly reference: number; readonly certificateTag: number }>
> = {
  '9A': { reference: 0x9a, certificateTag: 0x5fc105 },
  '9C': { reference: 0x9c, certificateTag: 0x5fc10a },
  '9D': { reference: 0x9d, certificateTag: 0x5fc10b },
  '9E': { reference: 0x9e, certificateTag: 0x5fc101 },
}

/** The full AID of the PIV card application, version 1.0. */
export const pivAid: Uint8Array = /* @__PURE__ */ fromHex('a000000308 00001000 0100')

/** Tags of the data objects other than certificates that the card handles by name. */
export const objectTags = {
  chuid: 0x5fc102,
  capabilities: 0x5fc107,
  discovery: 0x7e,
  biometricGroup: 0x7f61,
} as const

/** Data objects that require a verified PIN: fingerprints, facial image, printed information, iris images. */
export const pinProtectedObjects: ReadonlySet<number> = new Set([0x5fc103, 0x5fc108, 0x5fc109, 0x5fc121])

/** Returns true if the data model has an object with this tag: 7E, 7F61 and 5FC101 to 5FC123. */
export function isPivObject(tag: number): boolean {
  return (
    tag === objectTags.discovery || tag === objectTags.biometricGroup || (tag >= 0x5fc101 && tag <= 0x5fc123)
  )
}

/** The response to SELECT: the application property template with PIX and coexistent tag allocation authority. */
export function applicationProperties(): Uint8Array {
  return tlv(0x61, tlv(0x4f, pivAid.subarray(5)), tlv(0x79, tlv(0x4f, pivAid.subarray(0, 5))))
}

/**
 * The Card Holder Unique Identifier, 59 bytes: a non-federal FASC-N, the GUID, expiration date 9999-12-31, no
 * signature.
 */
export function chuid(guid: Uint8Array): Uint8Array {
  if (guid.length !== 16) throw new RangeError(`A GUID has 16 bytes, not ${guid.length}.`)
  const agency = fromHex('d4e739d821086c1084210d8360d8210842108421804210c3f3')
  const expiry = fromHex('3939393931323331')
  return join(tlv(0x30, agency), tlv(0x34, guid), tlv(0x35, expiry), tlv(0x3e), tlv(0xfe))
}

/** Returns the GUID in a CHUID, or undefined if it has none. */
export function guidOf(content: Uint8Array): Uint8Array | undefined {
  const guid = readObjects(content)?.find((object) => object.tag === 0x34)?.value
  return guid?.length === 16 ? guid : undefined
}

/** The card capability container of a card without other applications. */
export function capabilities(guid: Uint8Array): Uint8Array {
  const identifier = join(fromHex('a000000116ff02'), guid.subarray(0, 14))
  const numbers = [tlv(0xf1, 0x21), tlv(0xf2, 0x21), tlv(0xf3), tlv(0xf4, 0), tlv(0xf5, 0x10)]
  const empty = [0xf6, 0xf7, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe].map((tag) => tlv(tag))
  return join(tlv(0xf0, identifier), ...numbers, ...empty)
}

/** The content of the discovery object (7E): the AID and the PIN usage policy. */
export function discovery(pinUsagePolicy: number): Uint8Array {
  return join(tlv(0x4f, pivAid), tlv(0x5f2f, pinUsagePolicy >> 8, pinUsagePolicy & 0xff))
}

/**
 * The content of a certificate object: certificate (70), certificate information (71, bit 0: gzip), empty error
 * detection code (FE).
 */
export function certificateObject(certificate: Uint8Array, compressed: boolean): Uint8Array {
  return join(tlv(0x70, certificate), tlv(0x71, compressed ? 1 : 0), tlv(0xfe))
}

/** Compresses bytes with gzip (RFC 1952), using the platform's CompressionStream. */
export async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  return through(bytes, new CompressionStream('gzip'))
}

async function through(
  bytes: Uint8Array,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array> {
  const input = new Blob([copyOf(bytes)]).stream().pipeThrough(stream)
  return new Uint8Array(await new Response(input).arrayBuffer())
}
