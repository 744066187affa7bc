/** Keys and certificates for tests, made by WebCrypto and pkijs. */
import { webcrypto } from 'node:crypto'
import type { SignatureAlgorithm, Signer } from '@webtoki/trust'
import { BitString, Integer, PrintableString, Utf8String } from 'asn1js'
import {
  AttributeTypeAndValue,
  BasicConstraints,
  Certificate,
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
  /** Bits of KeyUsage's first byte; null: no such extension. */
  readonly keyUsage?: number | null
  readonly extendedKeyUsage?: readonly string[]
  readonly unknownCritical?: boolean
  /** Extensions as they are, added last. */
  readonly extensions?: readonly Extension[]
  /** Another certificate's. */
  readonly keys?: Issued['keys']
  readonly rsaBits?: number
  /** Of the issuer's signature. */
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

/** A signer in software. */
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
