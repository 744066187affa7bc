/** Verifies signatures with the platform's WebCrypto, and with JavaScript arithmetic on curves that WebCrypto lacks. */
import {
  areRsaNumbers,
  type CurvePublicKey,
  ecdsaSignatureFromDer,
  encodeRsaKeyInfo,
  hashes,
  isWeakKey,
  type PublicKey,
  readPssParameters,
  readPublicKey,
  type RsaPublicKey,
  type SignatureScheme,
  webCryptoParameters,
} from '@webtoki/crypto'
import { copyOf, keyOf } from '@webtoki/apdu/bytes'
import { requireBytes } from './arguments.ts'
import { TrustArgumentError } from './errors.ts'

/**
 * The result of verifying a signature. Only 'valid' proves who signed.
 *
 * - 'weak': the signature verifies but can be forged, because the hash is broken or the RSA key is shorter than 2048
 *   bits.
 * - 'unsupported': the signature could not be verified. Neither the platform nor this library supports the algorithm,
 *   hash or curve, or the key cannot be parsed or is unusable.
 */
export type SignatureVerdict = 'valid' | 'weak' | 'invalid' | 'unsupported'

type UsableKey = RsaPublicKey | CurvePublicKey

/** Verifies signatures. It imports each key once and keeps it. */
export class SignatureVerifier {
  readonly #keys = new Map<string, Promise<CryptoKey | undefined>>()

  /**
   * Verifies a signature over the data. `publicKeyInfo` is a SubjectPublicKeyInfo in DER. An ECDSA signature is an
   * Ecdsa-Sig-Value in strict DER, or r‖s if `form` is 'raw'. Rejects with TrustArgumentError.
   */
  async verify(
    publicKeyInfo: Uint8Array,
    scheme: SignatureScheme,
    signature: Uint8Array,
    data: Uint8Array,
    form: 'der' | 'raw' = 'der',
  ): Promise<SignatureVerdict> {
    requireBytes('publicKeyInfo', publicKeyInfo)
    requireScheme(scheme)
    requireBytes('signature', signature)
    requireBytes('data', data)
    // Any other value would be treated as 'raw' below.
    if (form !== 'der' && form !== 'raw') throw new TrustArgumentError('form', "'der' or 'raw'")
    const key = usableKey(publicKeyInfo)
    if (key === undefined) return 'unsupported'
    // A key of another type, or one whose parameters do not allow the scheme, cannot have made the signature.
    if (!keyAllows(key, scheme)) return 'invalid'
    const isDer = scheme.family === 'ecdsa' && form === 'der'
    const bytes =
      isDer && key.kind === 'ec' ? rawSignature(signature, key.curve.fieldBytes) : copyOf(signature)
    if (bytes === undefined) return 'invalid'
    const verdict =
      (await this.#verifyWithWebCrypto(publicKeyInfo, key, scheme, bytes, data)) ??
      (key.kind === 'rsa' ? 'unsupported' : await verifyWithCurveArithmetic(key, scheme, bytes, data))
    const isWeak = isWeakKey(key) || (scheme.hash !== undefined && hashes[scheme.hash].isWeak)
    return verdict === 'valid' && isWeak ? 'weak' : verdict
  }

  /** Returns undefined if the platform does not support the key or the algorithm. */
  async #verifyWithWebCrypto(
    publicKeyInfo: Uint8Array,
    key: UsableKey,
    scheme: SignatureScheme,
    signature: Uint8Array<ArrayBuffer>,
    data: Uint8Array,
  ): Promise<SignatureVerdict | undefined> {
    if (key.kind !== 'rsa' && !key.curve.isInWebCrypto) return undefined
    const curve = key.kind === 'rsa' ? undefined : key.curve.name
    const parameters = webCryptoParameters(scheme, curve)
    // In WebCrypto an RSA key belongs to one hash, so the cache key includes the import parameters.
    const id = `${JSON.stringify(parameters.key)} ${keyOf(publicKeyInfo)}`
    const info = key.kind === 'rsa' ? encodeRsaKeyInfo(key) : publicKeyInfo
    const imported = this.#keys.get(id) ?? importKey(info, parameters.key)
    this.#keys.set(id, imported)
    try {
      const platformKey = await imported
      if (platformKey === undefined) return undefined
      const isValid = await crypto.subtle.verify(parameters.signature, platformKey, signature, copyOf(data))
      return isValid ? 'valid' : 'invalid'
    } catch {
      return undefined
    }
  }
}

/** Throws TrustArgumentError if the value is not a signature scheme. */
function requireScheme(scheme: SignatureScheme | null): void {
  const { family, hash } = scheme ?? {}
  const isKnown =
    family === 'eddsa' || (hash !== undefined && Object.hasOwn(hashes, hash) && families.includes(family))
  if (!isKnown) throw new TrustArgumentError('scheme', 'a scheme with a family and a hash')
}

const families: readonly unknown[] = ['pkcs1', 'pss', 'ecdsa']

/** Returns undefined if the platform refuses the key. */
async function importKey(info: Uint8Array, algorithm: object): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey('spki', copyOf(info), algorithm, false, ['verify'])
  } catch {
    return undefined
  }
}

/**
 * Returns undefined if no verdict is possible with the key. A short RSA key is usable: a signature that does not verify
 * with it is still 'invalid'.
 */
function usableKey(publicKeyInfo: Uint8Array): UsableKey | undefined {
  let key: PublicKey
  try {
    key = readPublicKey(publicKeyInfo)
  } catch {
    return undefined
  }
  if (key.kind === 'other') return undefined
  const isShort = key.kind === 'rsa' && key.bits < 2048 && areRsaNumbers(key.modulus, key.exponent)
  return isWeakKey(key) && !isShort ? undefined : key
}

function keyAllows(key: UsableKey, scheme: SignatureScheme): boolean {
  switch (key.kind) {
    case 'rsa':
      return key.pss === undefined
        ? scheme.family === 'pkcs1' || scheme.family === 'pss'
        : pssKeyAllows(key.pss, scheme)
    case 'ec':
      return scheme.family === 'ecdsa'
    case 'edwards':
      return scheme.family === 'eddsa'
  }
}

/**
 * RFC 4055, 3.3: a key of id-RSASSA-PSS allows only PSS, and if it has parameters, only their hash and no shorter salt.
 */
function pssKeyAllows({ parameters }: NonNullable<RsaPublicKey['pss']>, scheme: SignatureScheme): boolean {
  if (scheme.family !== 'pss') return false
  if (parameters === undefined) return true
  const allowed = readPssParameters(parameters)
  return allowed?.family === 'pss' && allowed.hash === scheme.hash && scheme.saltBytes >= allowed.saltBytes
}

/** Imports the arithmetic on demand, because few signatures need it. */
async function verifyWithCurveArithmetic(
  { curve, point }: CurvePublicKey,
  { hash }: SignatureScheme,
  signature: Uint8Array,
  data: Uint8Array,
): Promise<SignatureVerdict> {
  const { verifiesEcdsa, verifiesEddsa } = await import('@webtoki/crypto/curve-arithmetic')
  if (hash === undefined) return verifiesEddsa(curve, point, data, signature) ? 'valid' : 'invalid'
  const { hashNow } = await import('@webtoki/crypto/hash-now')
  return verifiesEcdsa(curve, point, hashNow(hash, data), signature) ? 'valid' : 'invalid'
}

/** Returns undefined if the signature is not an Ecdsa-Sig-Value in strict DER, or has the wrong size for the curve. */
function rawSignature(der: Uint8Array, fieldBytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    return ecdsaSignatureFromDer(der, fieldBytes)
  } catch {
    return undefined
  }
}
