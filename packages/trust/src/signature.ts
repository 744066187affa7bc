/** Signatures verified by the platform's WebCrypto, and only under keys that count: RFC 5758, 3.2; RFC 4055, 3 and 5. */
import {
  type DerElement,
  ecdsaNumbers,
  objectIdentifier,
  onlyElement,
  positiveInteger,
  sequenceOf,
  Tag,
} from '@webtoki/crypto'
import { keyOf, copyOf } from '@webtoki/apdu/bytes'
import { type CurveName, type PublicKey, readPublicKey } from './public-key.ts'

/** What a signature was made with. */
export interface SignatureScheme {
  readonly kind: 'rsa' | 'pss' | 'ecdsa'
  readonly hash: 'SHA-256' | 'SHA-384' | 'SHA-512'
  /** Of RSA-PSS. */
  readonly saltBytes?: number
}

type HashName = SignatureScheme['hash']

const RSA_PSS = '1.2.840.113549.1.1.10'
const MGF1 = '1.2.840.113549.1.1.8'

const schemes: ReadonlyMap<string, SignatureScheme> = /* @__PURE__ */ new Map<string, SignatureScheme>([
  ['1.2.840.113549.1.1.11', { kind: 'rsa', hash: 'SHA-256' }],
  ['1.2.840.113549.1.1.12', { kind: 'rsa', hash: 'SHA-384' }],
  ['1.2.840.113549.1.1.13', { kind: 'rsa', hash: 'SHA-512' }],
  ['1.2.840.10045.4.3.2', { kind: 'ecdsa', hash: 'SHA-256' }],
  ['1.2.840.10045.4.3.3', { kind: 'ecdsa', hash: 'SHA-384' }],
  ['1.2.840.10045.4.3.4', { kind: 'ecdsa', hash: 'SHA-512' }],
])

/** MD2, MD5 and SHA-1 under RSA, SHA-1 under ECDSA: whoever can collide them chooses what was signed. */
const weak: ReadonlySet<string> = /* @__PURE__ */ new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10045.4.1',
])

const SHA1 = '1.3.14.3.2.26'
const hashes: ReadonlyMap<string, HashName> = /* @__PURE__ */ new Map<string, HashName>([
  ['2.16.840.1.101.3.4.2.1', 'SHA-256'],
  ['2.16.840.1.101.3.4.2.2', 'SHA-384'],
  ['2.16.840.1.101.3.4.2.3', 'SHA-512'],
])

/**
 * What an AlgorithmIdentifier in DER names: a scheme, 'weak' for a hash that can be forged, undefined for one that is not
 * known here. Throws RangeError.
 */
export function readSignatureScheme(der: Uint8Array): SignatureScheme | 'weak' | undefined {
  const [oid, parameters] = sequenceOf(der)
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  const id = objectIdentifier(oid)
  if (weak.has(id)) return 'weak'
  return id === RSA_PSS ? readPss(parameters) : schemes.get(id)
}

/** RSASSA-PSS-params. What is not written is its default: SHA-1 for both hashes, a salt of 20 bytes (RFC 4055, 3.1). */
function readPss(parameters: DerElement | undefined): SignatureScheme | 'weak' | undefined {
  if (parameters === undefined) return 'weak'
  const fields = new Map(sequenceOf(parameters.der).map(({ tag, value }) => [tag, value]))
  const [hash, mask, salt, trailer] = [0xa0, 0xa1, 0xa2, 0xa3].map((tag) => fields.get(tag))
  const hashId = hash === undefined ? SHA1 : identifierOf(hash)
  if (hashId === SHA1) return 'weak'
  const name = hashes.get(hashId)
  const [maskId, maskHash] = mask === undefined ? [] : sequenceOf(mask)
  const saltBytes = salt === undefined ? 20 : smallInteger(onlyElement(salt, Tag.integer))
  // The platform masks by the same hash and ends in 0xBC, whatever the parameters say.
  const fits =
    maskId !== undefined &&
    maskHash !== undefined &&
    objectIdentifier(maskId) === MGF1 &&
    identifierOf(maskHash.der) === hashId &&
    (trailer === undefined || smallInteger(onlyElement(trailer, Tag.integer)) === 1)
  return fits && name !== undefined ? { kind: 'pss', hash: name, saltBytes } : undefined
}

function identifierOf(algorithm: Uint8Array): string {
  const [oid] = sequenceOf(algorithm)
  if (oid === undefined) throw new RangeError('not an AlgorithmIdentifier')
  return objectIdentifier(oid)
}

function smallInteger(element: DerElement): number {
  if (element.value.length === 1 && element.value[0] === 0) return 0
  const [byte, ...more] = positiveInteger(element)
  if (byte === undefined || more.length > 0) throw new RangeError('an INTEGER above 255')
  return byte
}

interface Subtle {
  importKey(
    format: 'spki',
    key: Uint8Array<ArrayBuffer>,
    algorithm: object,
    extractable: boolean,
    uses: readonly string[],
  ): Promise<object>
  verify(
    algorithm: object,
    key: object,
    signature: Uint8Array<ArrayBuffer>,
    data: Uint8Array<ArrayBuffer>,
  ): Promise<boolean>
}

const fieldBytes: Readonly<Record<CurveName, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }

/** Verifies signatures; each key is imported once. */
export class SignatureVerifier {
  readonly #keys = new Map<string, Promise<object>>()

  /**
   * Whether the key made the signature over the data. False too for what the platform cannot verify, and for a key that
   * does not count (`readPublicKey`). `publicKeyInfo` is in DER; an ECDSA signature is an Ecdsa-Sig-Value in strict DER, or
   * r‖s if `form` says so.
   */
  async isSigned(
    publicKeyInfo: Uint8Array,
    scheme: SignatureScheme,
    signature: Uint8Array,
    data: Uint8Array,
    form: 'der' | 'raw' = 'der',
  ): Promise<boolean> {
    const { kind, hash, saltBytes = 20 } = scheme
    try {
      const publicKey = readPublicKey(publicKeyInfo)
      const id = `${kind === 'ecdsa' ? kind : kind + hash} ${keyOf(publicKeyInfo)}`
      const key = this.#keys.get(id) ?? importKey(publicKey, publicKeyInfo, scheme)
      this.#keys.set(id, key)
      const parameters = {
        rsa: { name: 'RSASSA-PKCS1-v1_5' },
        pss: { name: 'RSA-PSS', saltLength: saltBytes },
        ecdsa: { name: 'ECDSA', hash },
      }[kind]
      const bytes =
        publicKey.kind === 'ec' && form === 'der'
          ? rawSignature(signature, fieldBytes[publicKey.curve])
          : copyOf(signature)
      return await subtle().verify(parameters, await key, bytes, copyOf(data))
    } catch {
      return false
    }
  }
}

function subtle(): Subtle {
  return crypto.subtle
}

async function importKey(
  publicKey: PublicKey,
  publicKeyInfo: Uint8Array,
  { kind, hash, saltBytes = 20 }: SignatureScheme,
): Promise<object> {
  if (kind === 'ecdsa' && publicKey.kind === 'ec') {
    const algorithm = { name: 'ECDSA', namedCurve: publicKey.curve }
    return subtle().importKey('spki', copyOf(publicKeyInfo), algorithm, false, ['verify'])
  }
  if (kind === 'ecdsa' || publicKey.kind !== 'rsa') throw new RangeError('a key of another kind')
  const { key, pss } = publicKey
  if (pss !== undefined) checkPss(pss.parameters, kind, hash, saltBytes)
  const algorithm = { name: kind === 'pss' ? 'RSA-PSS' : 'RSASSA-PKCS1-v1_5', hash }
  const info = pss === undefined ? copyOf(publicKeyInfo) : rsaKeyInfo(key)
  return subtle().importKey('spki', info, algorithm, false, ['verify'])
}

/** What a key of id-RSASSA-PSS allows: this padding only, this hash if it names one, no shorter salt (RFC 4055, 3.3). */
function checkPss(parameters: DerElement | undefined, kind: string, hash: HashName, saltBytes: number): void {
  const allowed = parameters === undefined ? undefined : readPss(parameters)
  const fits =
    kind === 'pss' &&
    (parameters === undefined ||
      (typeof allowed === 'object' && allowed.hash === hash && saltBytes >= (allowed.saltBytes ?? 20)))
  if (!fits) throw new RangeError('a key for other signatures')
}

/** The same RSA key as rsaEncryption: platforms import no id-RSASSA-PSS. */
function rsaKeyInfo(key: Uint8Array): Uint8Array<ArrayBuffer> {
  const algorithm = [0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0]
  const bits = [0x03, ...lengthOf(key.length + 1), 0]
  return Uint8Array.of(
    0x30,
    ...lengthOf(algorithm.length + bits.length + key.length),
    ...algorithm,
    ...bits,
    ...key,
  )
}

/** Of a key that counts: more than 255 bytes, less than 64 KiB. */
function lengthOf(bytes: number): readonly number[] {
  return [0x82, bytes >> 8, bytes & 0xff]
}

/** Ecdsa-Sig-Value, in strict DER, as r‖s. */
function rawSignature(der: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const raw = new Uint8Array(2 * bytes)
  for (const [at, magnitude] of ecdsaNumbers(der).entries()) {
    if (magnitude.length > bytes) throw new RangeError('an integer that does not fit its curve')
    raw.set(magnitude, (at + 1) * bytes - magnitude.length)
  }
  return raw
}
