/** Changes the signed attributes of CMS and signs them again with the same key, as a malicious signer could. */
import { fromBER, Integer, OctetString, Sequence, Set as AsnSet } from 'asn1js'
import { Attribute, ContentInfo, SignedAndUnsignedAttributes, SignedData } from 'pkijs'
import { type Issued, softwareSigner } from '../../trust/test/pki.ts'

export function openSignedData(file: Uint8Array): SignedData {
  const content = new ContentInfo({ schema: fromBER(file.slice().buffer).result })
  return new SignedData({ schema: content.content })
}

export function closeSignedData(signed: SignedData): Uint8Array {
  const content = new ContentInfo({ contentType: '1.2.840.113549.1.7.2', content: signed.toSchema(true) })
  return new Uint8Array(content.toSchema().toBER())
}

/** Changes the signed attributes and signs them again. The key has to be on P-256. */
export async function resign(
  file: Uint8Array,
  issued: Issued,
  change: (attributes: readonly Attribute[]) => readonly Attribute[],
): Promise<Uint8Array> {
  const signed = openSignedData(file)
  const [info] = signed.signerInfos
  if (info?.signedAttrs === undefined) throw new Error('There are no signed attributes.')
  const encoded = change(info.signedAttrs.attributes).map((each) => Buffer.from(each.toSchema().toBER()))
  encoded.sort((a, b) => a.compare(b))
  const attributes = encoded.map((each) => new Attribute({ schema: fromBER(new Uint8Array(each)).result }))
  const set = new AsnSet({ value: attributes.map((each) => each.toSchema()) }).toBER()
  const raw = await softwareSigner(issued, 'ES256').sign(new Uint8Array(set))
  const numbers = [raw.subarray(0, 32), raw.subarray(32)].map((bytes) =>
    Integer.fromBigInt(`0x${Buffer.from(bytes).toString('hex')}`),
  )
  info.signature = new OctetString({ valueHex: new Sequence({ value: numbers }).toBER() })
  info.signedAttrs = new SignedAndUnsignedAttributes({ type: 0, attributes: [...attributes] })
  return closeSignedData(signed)
}
