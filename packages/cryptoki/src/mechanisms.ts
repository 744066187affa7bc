/** Mechanisms that sign and digest: PKCS#11 v2.40 mechanisms, 2.1 (RSA), 2.3 (EC), 2.17 to 2.22 (SHA). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import type { DigestName as SignatureHash } from '@webtoki/apdu/piv'
import { CKG, CKM, CKR } from './constants.ts'
import { type DigestName, digestBytes } from './digest-name.ts'
import { CryptokiError } from './errors.ts'

/** The type number of a named mechanism. */
type Numbered<N extends keyof typeof CKM> = (typeof CKM)[N]

/** Mechanisms of `digest`. */
export interface DigestMechanism {
  readonly type: Numbered<
    'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512' | 'SHA3_224' | 'SHA3_256' | 'SHA3_384' | 'SHA3_512'
  >
  readonly pss?: never
  readonly iv?: never
}

/** CK_RSA_PKCS_PSS_PARAMS. */
export interface PssMechanismParameters {
  /** CKM_* of the hash. */
  readonly hash: Numbered<'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512'>
  /** CKG_MGF1_*. */
  readonly mgf: CKG
  readonly saltBytes: number
}

/** RSA PKCS#1 v1.5, raw RSA and ECDSA: no parameters. */
export interface PlainSignatureMechanism {
  readonly type: Numbered<
    | 'RSA_PKCS'
    | 'RSA_X_509'
    | 'SHA1_RSA_PKCS'
    | 'SHA224_RSA_PKCS'
    | 'SHA256_RSA_PKCS'
    | 'SHA384_RSA_PKCS'
    | 'SHA512_RSA_PKCS'
    | 'ECDSA'
    | 'ECDSA_SHA1'
    | 'ECDSA_SHA224'
    | 'ECDSA_SHA256'
    | 'ECDSA_SHA384'
    | 'ECDSA_SHA512'
  >
  readonly pss?: never
  readonly iv?: never
}

/** RSA-PSS of a digest that the caller has made: only the parameters tell by which hash. */
export interface BarePssMechanism {
  readonly type: Numbered<'RSA_PKCS_PSS'>
  readonly pss: PssMechanismParameters
  readonly iv?: never
}

/** RSA-PSS that hashes. */
export interface HashingPssMechanism {
  readonly type: Numbered<
    | 'SHA1_RSA_PKCS_PSS'
    | 'SHA224_RSA_PKCS_PSS'
    | 'SHA256_RSA_PKCS_PSS'
    | 'SHA384_RSA_PKCS_PSS'
    | 'SHA512_RSA_PKCS_PSS'
  >
  /** Default: MGF1 with the mechanism's own hash, and a salt as long as that. */
  readonly pss?: PssMechanismParameters
  readonly iv?: never
}

/** Mechanisms of `sign` and `verify`. */
export type SignatureMechanism = PlainSignatureMechanism | BarePssMechanism | HashingPssMechanism

/** AES with chained blocks or a counter. */
export interface AesMechanism {
  readonly type: Numbered<'AES_CBC' | 'AES_CBC_PAD' | 'AES_CTR'>
  /** The initialisation vector, or the first counter block of CKM_AES_CTR; 16 bytes. */
  readonly iv: Uint8Array
  readonly pss?: never
}

/** Ciphers without parameters: AES block by block, and RSA. */
export interface PlainCipherMechanism {
  readonly type: Numbered<'AES_ECB' | 'RSA_PKCS' | 'RSA_X_509'>
  readonly pss?: never
  readonly iv?: never
}

/** Mechanisms of `encrypt` and `decrypt`. */
export type CipherMechanism = AesMechanism | PlainCipherMechanism

/** A mechanism with its parameters. */
export type Mechanism = DigestMechanism | SignatureMechanism | CipherMechanism

/** A mechanism by any number, as C callers name it (`Session.begin`) and keys take it: checked at run time only. */
export interface RawMechanism {
  /** CKM_*. */
  readonly type: number
  readonly pss?: { readonly hash: number; readonly mgf: number; readonly saltBytes: number }
  readonly iv?: Uint8Array
}

/** A copy: what its owner writes into it later does not count. Throws CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID. */
export function mechanismAtCall<M extends RawMechanism>(mechanism: M): M {
  if (typeof mechanism !== 'object' || mechanism === null || typeof mechanism.type !== 'number')
    throw new CryptokiError(CKR.ARGUMENTS_BAD, {
      detail: 'the mechanism must be an object such as { type: CKM.SHA256_RSA_PKCS }',
    })
  const { pss, iv } = mechanism
  if (iv !== undefined && !isByteSource(iv)) throw parameterError('iv')
  if (pss !== undefined && (typeof pss !== 'object' || pss === null)) throw parameterError('pss')
  return {
    ...mechanism,
    ...(pss === undefined ? {} : { pss: { ...pss } }),
    ...(iv === undefined ? {} : { iv: copyOf(iv) }),
  }
}

/** Throws CKR_MECHANISM_PARAM_INVALID if the mechanism has parameters that are not for it, whatever its key. */
export function checkParameters({ type, pss, iv }: RawMechanism): void {
  const signs = signMechanism(type)
  if (pss !== undefined && signs?.padding !== 'pss') throw parameterError('pss')
  const takesNoIv = signs !== undefined || digestMechanism(type) !== undefined || type === CKM.AES_ECB
  if (iv !== undefined && takesNoIv) throw parameterError('iv')
}

/** `name` is what is missing, wrong or too much. */
export function parameterError(name: string): CryptokiError {
  return new CryptokiError(CKR.MECHANISM_PARAM_INVALID, {
    detail: `${name} does not fit the mechanism or its key`,
  })
}

/** CK_MECHANISM_INFO. */
export interface MechanismInfo {
  readonly minKeyBits: number
  readonly maxKeyBits: number
  /** CKF_*. */
  readonly flags: number
}

/** What a signature mechanism does with its data. */
export interface SignMechanism {
  readonly keyType: 'rsa' | 'ec'
  readonly padding: 'pkcs1' | 'pss' | 'raw-x509' | 'ecdsa'
  /** The hash that it makes itself; undefined: the data is taken as it is, in one piece. */
  readonly hash: SignatureHash | undefined
}

/** All signature mechanisms that are known here. */
export const signMechanisms: ReadonlyMap<number, SignMechanism> = /* @__PURE__ */ new Map<
  SignatureMechanism['type'],
  SignMechanism
>([
  [CKM.RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: undefined }],
  [CKM.RSA_X_509, { keyType: 'rsa', padding: 'raw-x509', hash: undefined }],
  [CKM.RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: undefined }],
  [CKM.SHA1_RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: 'SHA-1' }],
  [CKM.SHA224_RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: 'SHA-224' }],
  [CKM.SHA256_RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: 'SHA-256' }],
  [CKM.SHA384_RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: 'SHA-384' }],
  [CKM.SHA512_RSA_PKCS, { keyType: 'rsa', padding: 'pkcs1', hash: 'SHA-512' }],
  [CKM.SHA1_RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: 'SHA-1' }],
  [CKM.SHA224_RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: 'SHA-224' }],
  [CKM.SHA256_RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: 'SHA-256' }],
  [CKM.SHA384_RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: 'SHA-384' }],
  [CKM.SHA512_RSA_PKCS_PSS, { keyType: 'rsa', padding: 'pss', hash: 'SHA-512' }],
  [CKM.ECDSA, { keyType: 'ec', padding: 'ecdsa', hash: undefined }],
  [CKM.ECDSA_SHA1, { keyType: 'ec', padding: 'ecdsa', hash: 'SHA-1' }],
  [CKM.ECDSA_SHA224, { keyType: 'ec', padding: 'ecdsa', hash: 'SHA-224' }],
  [CKM.ECDSA_SHA256, { keyType: 'ec', padding: 'ecdsa', hash: 'SHA-256' }],
  [CKM.ECDSA_SHA384, { keyType: 'ec', padding: 'ecdsa', hash: 'SHA-384' }],
  [CKM.ECDSA_SHA512, { keyType: 'ec', padding: 'ecdsa', hash: 'SHA-512' }],
])

/** Undefined where the mechanism does not sign. */
export function signMechanism(type: number): SignMechanism | undefined {
  return signMechanisms.get(type)
}

/** All digest mechanisms. */
export const digestMechanisms: ReadonlyMap<number, DigestName> = /* @__PURE__ */ new Map<
  DigestMechanism['type'],
  DigestName
>([
  [CKM.SHA_1, 'SHA-1'],
  [CKM.SHA224, 'SHA-224'],
  [CKM.SHA256, 'SHA-256'],
  [CKM.SHA384, 'SHA-384'],
  [CKM.SHA512, 'SHA-512'],
  [CKM.SHA3_224, 'SHA3-224'],
  [CKM.SHA3_256, 'SHA3-256'],
  [CKM.SHA3_384, 'SHA3-384'],
  [CKM.SHA3_512, 'SHA3-512'],
])

/** Undefined where the mechanism is no digest. */
export function digestMechanism(type: number): DigestName | undefined {
  return digestMechanisms.get(type)
}

/** Ciphers of session keys. */
export const aesMechanisms: readonly number[] = [CKM.AES_ECB, CKM.AES_CBC, CKM.AES_CBC_PAD, CKM.AES_CTR]

const mgfHashes: ReadonlyMap<number, SignatureHash> = /* @__PURE__ */ new Map<number, SignatureHash>([
  [CKG.MGF1_SHA1, 'SHA-1'],
  [CKG.MGF1_SHA224, 'SHA-224'],
  [CKG.MGF1_SHA256, 'SHA-256'],
  [CKG.MGF1_SHA384, 'SHA-384'],
  [CKG.MGF1_SHA512, 'SHA-512'],
])

const signatureHashes: ReadonlySet<string> = /* @__PURE__ */ new Set(mgfHashes.values())

/** The hashes and the salt of a PSS mechanism. Throws CKR_MECHANISM_PARAM_INVALID. */
export function pssParametersOf({ type, pss }: RawMechanism): {
  readonly hash: SignatureHash
  readonly mgfHash: SignatureHash
  readonly saltBytes: number
} {
  const own = signMechanism(type)?.hash
  if (pss === undefined) {
    if (own === undefined) throw parameterError('pss')
    return { hash: own, mgfHash: own, saltBytes: digestBytes[own] }
  }
  const hash = digestMechanism(pss.hash)
  const mgfHash = mgfHashes.get(pss.mgf)
  if (hash === undefined || !signatureHashes.has(hash) || (own !== undefined && own !== hash))
    throw parameterError('pss.hash')
  if (mgfHash === undefined) throw parameterError('pss.mgf')
  if (!Number.isSafeInteger(pss.saltBytes) || pss.saltBytes < 0) throw parameterError('pss.saltBytes')
  return { hash: hash as SignatureHash, mgfHash, saltBytes: pss.saltBytes }
}
