/** Signatures verified by the platform's WebCrypto, and on curves that it lacks by arithmetic of our own. */
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
 * What came of verifying a signature. 'weak': it is right and proves nothing, because others could have made it: a hash of
 * which collisions can be made, an RSA key below 2048 bits. 'unsupported': it may be right, and cannot be verified here: an
 * algorithm, a hash or a curve that neither the platform nor this library has, a key that cannot be read or is no good. Neither
 * is to be taken for a yes.
 */
export type SignatureVerdict = 'valid' | 'weak' | 'invalid' | 'unsupported'

type UsableKey = RsaPublicKey | CurvePublicKey

/** Verifies signatures; each key is imported once. */
export class SignatureVerifier {
  readonly #keys = new Map<string, Promise<CryptoKey | undefined>>()

  /**
   * Whether the key made the signature over the data. `publicKeyInfo` is in DER; an ECDSA signature is an Ecdsa-Sig-Value in
   * strict DER, or r‖s if `form` says so. Rejects with TrustArgumentError.
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
    // Anything else would be taken for 'der'.
    if (form !== 'der' && form !== 'raw') throw new TrustArgumentError('form', "'der' or 'raw'")
    const key = usableKey(publicKeyInfo)
    if (key === undefined) return 'unsupported'
    // A key of another kind, or one that may not make such signatures, has not made this one.
    if (!fits(key, scheme)) return 'invalid'
    const isDer = scheme.family === 'ecdsa' && form === 'der'
    const bytes =
      isDer && key.kind === 'ec' ? rawSignature(signature, key.curve.fieldBytes) : copyOf(signature)
    if (bytes === undefined) return 'invalid'
    const verdict =
      (await this.#byPlatform(publicKeyInfo, key, scheme, bytes, data)) ??
      (key.kind === 'rsa' ? 'unsupported' : await byArithmetic(key, scheme, bytes, data))
    const isWeak = isWeakKey(key) || (scheme.hash !== undefined && hashes[scheme.hash].isWeak)
    return verdict === 'valid' && isWeak ? 'weak' : verdict
  }

  /** Undefined if the platform cannot say. */
  async #byPlatform(
    publicKeyInfo: Uint8Array,
    key: UsableKey,
    scheme: SignatureScheme,
    signature: Uint8Array<ArrayBuffer>,
    data: Uint8Array,
  ): Promise<SignatureVerdict | undefined> {
    if (key.kind !== 'rsa' && !key.curve.isInWebCrypto) return undefined
    const curve = key.kind === 'rsa' ? undefined : key.curve.name
    const parameters = webCryptoParameters(scheme, curve)
    // WebCrypto's RSA keys are for one hash, its EC keys for any.
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

/** Throws TrustArgumentError. */
function requireScheme(scheme: SignatureScheme | null): void {
  const { family, hash } = scheme ?? {}
  const isKnown =
    family === 'eddsa' || (hash !== undefined && Object.hasOwn(hashes, hash) && families.includes(family))
  if (!isKnown) throw new TrustArgumentError('scheme', 'a scheme, which names a family and a hash')
}

const families: readonly unknown[] = ['pkcs1', 'pss', 'ecdsa']

/** Undefined if the platform does not take the key. */
async function importKey(info: Uint8Array, algorithm: object): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey('spki', copyOf(info), algorithm, false, ['verify'])
  } catch {
    return undefined
  }
}

/** Undefined if no signature under the key says anything here. One under a short key of RSA may still be false. */
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

function fits(key: UsableKey, scheme: SignatureScheme): boolean {
  switch (key.kind) {
    case 'rsa':
      return key.pss === undefined
        ? scheme.family === 'pkcs1' || scheme.family === 'pss'
        : allows(key.pss, scheme)
    case 'ec':
      return scheme.family === 'ecdsa'
    case 'edwards':
      return scheme.family === 'eddsa'
  }
}

/** What a key of id-RSASSA-PSS allows: this padding only, this hash if it names one, no shorter salt (RFC 4055, 3.3). */
function allows({ parameters }: NonNullable<RsaPublicKey['pss']>, scheme: SignatureScheme): boolean {
  if (scheme.family !== 'pss') return false
  if (parameters === undefined) return true
  const allowed = readPssParameters(parameters)
  return allowed?.family === 'pss' && allowed.hash === scheme.hash && scheme.saltBytes >= allowed.saltBytes
}

/** Loaded for the few signatures that need it. */
async function byArithmetic(
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

/** Undefined if it is not an Ecdsa-Sig-Value in strict DER, or does not fit the curve. */
function rawSignature(der: Uint8Array, fieldBytes: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    return ecdsaSignatureFromDer(der, fieldBytes)
  } catch {
    return undefined
  }
}
