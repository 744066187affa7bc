/** Mechanisms that sign and digest: PKCS#11 v2.40 mechanisms, 2.1 (RSA), 2.3 (EC), 2.17 to 2.22 (SHA). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import type { DigestName as SignatureHash } from '@webtoki/apdu/piv'
import { CKG, CKM, CKR } from './constants.ts'
import { type DigestName, digestBytes } from './digest-name.ts'
import { CryptokiError } from './errors.ts'

/** CK_RSA_PKCS_PSS_PARAMS. */
export interface PssMechanismParameters {
  /** CKM_* of the hash. */
  readonly hash: number
  /** CKG_MGF1_*. */
  readonly mgf: CKG
  readonly saltBytes: number
}

/** A mechanism with its parameters. */
export interface Mechanism {
  /** CKM_*. */
  readonly type: number
  /** PSS: needed where the mechanism hashes nothing itself; else default to its hash, and a salt as long as that. */
  readonly pss?: PssMechanismParameters
  /** AES: the initialisation vector, or the first counter block of CKM_AES_CTR; 16 bytes. */
  readonly iv?: Uint8Array
}

/** A copy: what its owner writes into it later does not count. */
export function mechanismAtCall(mechanism: Mechanism): Mechanism {
  const { pss, iv } = mechanism
  return {
    ...mechanism,
    ...(pss === undefined ? {} : { pss: { ...pss } }),
    ...(isByteSource(iv) ? { iv: copyOf(iv) } : {}),
  }
}

/** Throws CKR_MECHANISM_PARAM_INVALID if a mechanism that takes none has parameters. */
export function refuseParameters({ pss, iv }: Mechanism): void {
  if (pss !== undefined || iv !== undefined) throw new CryptokiError(CKR.MECHANISM_PARAM_INVALID)
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
  number,
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
export const digestMechanisms: ReadonlyMap<number, DigestName> = /* @__PURE__ */ new Map<number, DigestName>([
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
export function pssParametersOf(mechanism: Mechanism): {
  readonly hash: SignatureHash
  readonly mgfHash: SignatureHash
  readonly saltBytes: number
} {
  const own = signMechanism(mechanism.type)?.hash
  const { pss } = mechanism
  if (pss === undefined) {
    if (own === undefined) throw new CryptokiError(CKR.MECHANISM_PARAM_INVALID)
    return { hash: own, mgfHash: own, saltBytes: digestBytes[own] }
  }
  const hash = digestMechanism(pss.hash)
  const mgfHash = mgfHashes.get(pss.mgf)
  const isHash = hash !== undefined && signatureHashes.has(hash)
  if (!isHash || mgfHash === undefined || (own !== undefined && own !== hash)) {
    throw new CryptokiError(CKR.MECHANISM_PARAM_INVALID)
  }
  if (!Number.isInteger(pss.saltBytes) || pss.saltBytes < 0)
    throw new CryptokiError(CKR.MECHANISM_PARAM_INVALID)
  return { hash: hash as SignatureHash, mgfHash, saltBytes: pss.saltBytes }
}
