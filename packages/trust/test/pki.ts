/** Keys and certificates for tests, made by WebCrypto and pkijs. */
import { webcrypto } from 'node:crypto'
import type { SignatureAlgorithm, Signer } from '@webtoki/trust'
import { BitString, fromBER, Integer, PrintableString, Sequence, Set as AsnSet, Utf8String } from 'asn1js'
import {
  AttributeTypeAndValue,
  BasicConstraints,
  Certificate,
  createCMSECDSASignature,
  CryptoEngine,
  Extension,
  ExtKeyUsage,
} from 'pkijs'

const engine = new CryptoEngine({ name: 'node', crypto: webcrypto as unknown as Crypto })

export const keyAlgorithms = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  ES384: { name: 'ECDSA', namedCurve: 'P-384' },
  ES512: { name: 'ECDSA', namedCurve: 'P-521' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  RS384: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' },
  RS512: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  PS384: { name: 'RSA-PSS', hash: 'SHA-384' },
  PS512: { name: 'RSA-PSS', hash: 'SHA-512' },
} as const satisfies Readonly<Record<SignatureAlgorithm, object>>

export interface Issued {
  readonly der: Uint8Array
  readonly certificate: Certificate
  readonly keys: { readonly publicKey: webcrypto.CryptoKey; readonly privateKey: webcrypto.CryptoKey }
}

export interface IssueOptions {
  readonly name: string
  readonly algorithm?: SignatureAlgorithm
  readonly issuer?: Issued
  readonly isCa?: boolean
  readonly pathLength?: number
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** The first byte of KeyUsage; null for no such extension. */
  readonly keyUsage?: number | null
  readonly extendedKeyUsage?: readonly string[]
  readonly unknownCritical?: boolean
  /** Additional extensions, added last. */
  readonly extensions?: readonly Extension[]
  /** The keys of another certificate; default: new ones. */
  readonly keys?: Issued['keys']
  readonly rsaBits?: number
  /** The hash of the issuer's signature. */
  readonly hash?: 'SHA-1' | 'SHA-256'
}

let serial = 1

export async function issue(options: IssueOptions): Promise<Issued> {
  const { name, algorithm = 'ES256', issuer, isCa = false } = options
  const rsa = { modulusLength: options.rsaBits ?? 2048, publicExponent: Uint8Array.of(1, 0, 1) }
  const parameters = algorithm.startsWith('ES')
    ? keyAlgorithms[algorithm]
    : { ...rsa, ...keyAlgorithms[algorithm] }
  const keys =
    options.keys ??
    ((await webcrypto.subtle.generateKey(parameters as webcrypto.EcKeyGenParams, true, [
      'sign',
      'verify',
    ])) as Issued['keys'])
  const certificate = new Certificate()
  certificate.version = 2
  certificate.serialNumber = new Integer({ value: serial++ })
  certificate.subject.typesAndValues.push(
    new AttributeTypeAndValue({ type: '2.5.4.6', value: new PrintableString({ value: 'EE' }) }),
    new AttributeTypeAndValue({ type: '2.5.4.3', value: new Utf8String({ value: name }) }),
  )
  // pkijs would put all attributes into one RelativeDistinguishedName.
  const parts = certificate.subject.typesAndValues.map((each) => new AsnSet({ value: [each.toSchema()] }))
  certificate.subject.valueBeforeDecode = new Sequence({ value: parts }).toBER()
  certificate.issuer = issuer?.certificate.subject ?? certificate.subject
  certificate.notBefore.value = options.notBefore ?? new Date('2026-01-01T00:00:00Z')
  certificate.notAfter.value = options.notAfter ?? new Date('2036-01-01T00:00:00Z')
  const usage = options.keyUsage === undefined ? (isCa ? 0x06 : 0x80) : options.keyUsage
  const extensions: Extension[] = []
  if (isCa) {
    const constraints = new BasicConstraints({
      cA: true,
      ...(options.pathLength === undefined ? {} : { pathLenConstraint: options.pathLength }),
    })
    extensions.push(
      new Extension({ extnID: '2.5.29.19', critical: true, extnValue: constraints.toSchema().toBER() }),
    )
  }
  if (usage !== null) {
    const bits = new BitString({ valueHex: Uint8Array.of(usage).buffer })
    extensions.push(new Extension({ extnID: '2.5.29.15', critical: true, extnValue: bits.toBER() }))
  }
  if (options.extendedKeyUsage !== undefined) {
    const purposes = new ExtKeyUsage({ keyPurposes: [...options.extendedKeyUsage] })
    extensions.push(new Extension({ extnID: '2.5.29.37', extnValue: purposes.toSchema().toBER() }))
  }
  if (options.unknownCritical === true) {
    extensions.push(
      new Extension({ extnID: '1.2.3.4.5', critical: true, extnValue: new Integer({ value: 1 }).toBER() }),
    )
  }
  certificate.extensions = [...extensions, ...(options.extensions ?? [])]
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey as unknown as CryptoKey, engine)
  await certificate.sign(
    (issuer?.keys ?? keys).privateKey as unknown as CryptoKey,
    options.hash ?? 'SHA-256',
    engine,
  )
  return { der: new Uint8Array(certificate.toSchema(true).toBER()), certificate, keys }
}

/** A `Signer` with a key in WebCrypto. */
export function softwareSigner(
  issued: Issued,
  algorithm: SignatureAlgorithm,
  chain: readonly Uint8Array[] = [],
): Signer {
  const hash = `SHA-${algorithm.slice(2)}`
  const parameters = algorithm.startsWith('ES')
    ? { name: 'ECDSA', hash }
    : algorithm.startsWith('PS')
      ? { name: 'RSA-PSS', saltLength: Number(algorithm.slice(2)) / 8 }
      : { name: 'RSASSA-PKCS1-v1_5' }
  return {
    certificate: issued.der,
    chain,
    algorithm,
    sign: async (bytes) =>
      new Uint8Array(await webcrypto.subtle.sign(parameters, issued.keys.privateKey, bytes)),
  }
}

/** Encodes one DER element. */
export function der(tag: number, ...contents: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const content = Buffer.concat(contents.map((each) => Uint8Array.from(each)))
  const { length } = content
  const digits = [length >> 16, length >> 8, length].map((digit) => digit & 0xff)
  while (digits[0] === 0) digits.shift()
  const head = length < 0x80 ? [length] : [0x80 | digits.length, ...digits]
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, ...head), content]))
}

/** Encodes text as Latin-1. */
export const text = (characters: string): Uint8Array => Uint8Array.from(Buffer.from(characters, 'latin1'))

const fieldNames = { validity: 4, subject: 5, publicKeyInfo: 6 } as const

/** Replaces fields of the signed part of a certificate (in DER) and signs it again with the P-256 key of the issuer. */
export async function reissue(
  issued: Issued,
  issuer: Issued,
  changed: Partial<Record<keyof typeof fieldNames, Uint8Array>>,
): Promise<Issued> {
  const [signed, algorithm] = childrenOf(issued.der)
  if (signed === undefined || algorithm === undefined) throw new Error('That is not a certificate.')
  const fields = childrenOf(signed)
  for (const [name, field] of Object.entries(changed))
    fields[fieldNames[name as keyof typeof fieldNames]] = field
  const body = der(0x30, ...fields)
  const raw = new Uint8Array(
    await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, issuer.keys.privateKey, body),
  )
  const signature = new Uint8Array(createCMSECDSASignature(raw.buffer))
  return { ...issued, der: der(0x30, body, algorithm, der(0x03, [0], signature)) }
}

function childrenOf(element: Uint8Array): Uint8Array[] {
  const { result } = fromBER(Uint8Array.from(element))
  return (result as Sequence).valueBlock.value.map((each) => Uint8Array.from(each.valueBeforeDecodeView))
}

/** Issues a root, a CA below it and a leaf below that. */
export async function issueChain(): Promise<{
  readonly root: Issued
  readonly ca: Issued
  readonly person: Issued
}> {
  const root = await issue({ name: 'Root', isCa: true })
  const ca = await issue({ name: 'Issuing CA', issuer: root, isCa: true })
  return { root, ca, person: await issue({ name: 'Ada', issuer: ca }) }
}
