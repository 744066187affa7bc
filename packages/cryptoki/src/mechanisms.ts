/** Mechanisms and their parameters: PKCS#11 v3.0 mechanisms, 2.1 (RSA), 2.3 (EC), 2.8 to 2.14 (AES) and 2.20 to 2.28 (SHA). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { type HashName, hashes, type SignatureFamily } from '@webtoki/crypto'
import type { Attributes } from './attributes.ts'
import { CKA, CKD, CKG, CKK, CKM, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { curveOf, edwardsCurveOf } from './software/key-numbers.ts'

/** The type number of a named mechanism. */
type TypeOf<N extends keyof typeof CKM> = (typeof CKM)[N]

/** All parameters that a mechanism can have. */
interface MechanismParameters {
  readonly pss: PssMechanismParameters
  readonly oaep: OaepMechanismParameters
  readonly iv: Uint8Array
  readonly counterBits: number
  readonly gcm: GcmMechanismParameters
  readonly ecdh: EcdhMechanismParameters
}

/** A mechanism of the types `N` with the parameters `P`. The compiler refuses all other parameters. */
type MechanismWith<N extends keyof typeof CKM, P = unknown> = { readonly type: TypeOf<N> } & P & {
    readonly [K in Exclude<keyof MechanismParameters, keyof P>]?: never
  }

/** Mechanisms for `digest`. */
export type DigestMechanism = MechanismWith<
  'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512' | 'SHA3_224' | 'SHA3_256' | 'SHA3_384' | 'SHA3_512'
>

/** CKM_* of the hashes that RSA paddings support. */
type PaddingHashMechanism = TypeOf<'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512'>

/** CK_RSA_PKCS_PSS_PARAMS. */
export interface PssMechanismParameters {
  /** CKM_* of the hash. */
  readonly hash: PaddingHashMechanism
  /** CKG_MGF1_*. */
  readonly mgf: CKG
  readonly saltBytes: number
}

/** CK_RSA_PKCS_OAEP_PARAMS with the source CKZ_DATA_SPECIFIED. */
export interface OaepMechanismParameters {
  /** CKM_* of the hash. */
  readonly hash: PaddingHashMechanism
  /** CKG_MGF1_*. */
  readonly mgf: CKG
  /** Default: empty. */
  readonly label?: Uint8Array | undefined
}

/** CK_GCM_PARAMS. */
export interface GcmMechanismParameters {
  /** 8 to 256 bytes, usually 12. Never use the same value twice with one key. */
  readonly iv: Uint8Array
  /** Data that is authenticated but not encrypted. Default: empty. */
  readonly aad?: Uint8Array | undefined
  /** 96, 104, 112, 120 or 128 (NIST SP 800-38D, 5.2.1.2). The tag follows the ciphertext. */
  readonly tagBits: number
}

/** CK_ECDH1_DERIVE_PARAMS. */
export interface EcdhMechanismParameters {
  readonly kdf: CKD
  /** The other party's point, uncompressed (04, x, y), either directly or within a DER OCTET STRING. */
  readonly publicData: Uint8Array
  /** Input of the KDF. CKD_NULL does not accept it. */
  readonly sharedData?: Uint8Array | undefined
}

/** RSA PKCS#1 v1.5, raw RSA, ECDSA, EdDSA and HMAC. They have no parameters. */
export type PlainSignatureMechanism = MechanismWith<
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
  | 'EDDSA'
  | 'SHA_1_HMAC'
  | 'SHA224_HMAC'
  | 'SHA256_HMAC'
  | 'SHA384_HMAC'
  | 'SHA512_HMAC'
  | 'SHA3_224_HMAC'
  | 'SHA3_256_HMAC'
  | 'SHA3_384_HMAC'
  | 'SHA3_512_HMAC'
>

/** RSA-PSS over a digest that the caller has computed. Its parameters are required, because only they state the hash. */
export type BarePssMechanism = MechanismWith<'RSA_PKCS_PSS', Pick<MechanismParameters, 'pss'>>

/** RSA-PSS that computes the digest. Default of `pss`: MGF1 with the mechanism's hash, and a salt as long as its digest. */
export type HashingPssMechanism = MechanismWith<
  | 'SHA1_RSA_PKCS_PSS'
  | 'SHA224_RSA_PKCS_PSS'
  | 'SHA256_RSA_PKCS_PSS'
  | 'SHA384_RSA_PKCS_PSS'
  | 'SHA512_RSA_PKCS_PSS',
  Partial<Pick<MechanismParameters, 'pss'>>
>

/** Mechanisms for `sign` and `verify`. */
export type SignatureMechanism = PlainSignatureMechanism | BarePssMechanism | HashingPssMechanism

/** Mechanisms for `signRecover` and `verifyRecover`. */
export type RecoverMechanism = MechanismWith<'RSA_PKCS' | 'RSA_X_509'>

/** AES in CBC mode. `iv` is the initialisation vector of 16 bytes. */
export type AesCbcMechanism = MechanismWith<'AES_CBC' | 'AES_CBC_PAD', Pick<MechanismParameters, 'iv'>>

/**
 * AES in counter mode. `iv` is the first counter block of 16 bytes; its low `counterBits`, by default 128, form the counter
 * (CK_AES_CTR_PARAMS).
 */
export type AesCtrMechanism = MechanismWith<
  'AES_CTR',
  Pick<MechanismParameters, 'iv'> & Partial<Pick<MechanismParameters, 'counterBits'>>
>

/** AES in Galois/Counter Mode. */
export type AesGcmMechanism = MechanismWith<'AES_GCM', Pick<MechanismParameters, 'gcm'>>

/** RSA-OAEP. */
export type OaepMechanism = MechanismWith<'RSA_PKCS_OAEP', Pick<MechanismParameters, 'oaep'>>

/** Ciphers without parameters: AES in ECB mode, RSA PKCS#1 v1.5 and raw RSA. */
export type PlainCipherMechanism = MechanismWith<'AES_ECB' | 'RSA_PKCS' | 'RSA_X_509'>

/** Mechanisms for `encrypt` and `decrypt`. */
export type CipherMechanism =
  | AesCbcMechanism
  | AesCtrMechanism
  | AesGcmMechanism
  | OaepMechanism
  | PlainCipherMechanism

/** AES key wrap without (RFC 3394) and with padding (RFC 5649), both with the default initial value. */
export type AesWrapMechanism = MechanismWith<'AES_KEY_WRAP' | 'AES_KEY_WRAP_KWP'>

/** Mechanisms for `wrapKey` and `unwrapKey`. */
export type WrapMechanism = CipherMechanism | AesWrapMechanism

/** Mechanisms for `deriveKey`. */
export type DeriveMechanism = MechanismWith<
  'ECDH1_DERIVE' | 'ECDH1_COFACTOR_DERIVE',
  Pick<MechanismParameters, 'ecdh'>
>

/** Mechanisms for `generateKey`. */
export type GenerateMechanism = MechanismWith<'AES_KEY_GEN' | 'GENERIC_SECRET_KEY_GEN'>

/** A mechanism with its parameters. */
export type Mechanism =
  | DigestMechanism
  | SignatureMechanism
  | RecoverMechanism
  | WrapMechanism
  | DeriveMechanism
  | GenerateMechanism

/** A mechanism of any type number, as `Session.begin` and keys accept it. It is checked only at run time. */
export interface RawMechanism {
  /** CKM_*. */
  readonly type: number
  readonly pss?: { readonly hash: number; readonly mgf: number; readonly saltBytes: number } | undefined
  readonly oaep?:
    | { readonly hash: number; readonly mgf: number; readonly label?: Uint8Array | undefined }
    | undefined
  readonly iv?: Uint8Array | undefined
  readonly counterBits?: number | undefined
  readonly gcm?: GcmMechanismParameters | undefined
  readonly ecdh?:
    | {
        readonly kdf: number
        readonly publicData: Uint8Array
        readonly sharedData?: Uint8Array | undefined
      }
    | undefined
}

/** The names of the parameter fields of a mechanism. */
const parameterNames = ['pss', 'oaep', 'iv', 'counterBits', 'gcm', 'ecdh'] as const
type ParameterName = (typeof parameterNames)[number]

/**
 * Copies a mechanism with its parameters, so that later changes by the caller have no effect. Throws CKR_ARGUMENTS_BAD,
 * CKR_MECHANISM_PARAM_INVALID.
 */
export function mechanismAtCall<M extends RawMechanism>(mechanism: M): M {
  if (typeof mechanism !== 'object' || mechanism === null || typeof mechanism.type !== 'number')
    throw new CryptokiError(CKR.ARGUMENTS_BAD, {
      detail: 'the mechanism must be an object such as { type: CKM.SHA256_RSA_PKCS }',
    })
  const parameters = parameterNames
    .filter((name) => mechanism[name] !== undefined)
    .map((name) => [name, parameterAtCall(name, mechanism[name])])
  return { ...mechanism, ...Object.fromEntries(parameters) }
}

/** Copies one parameter, including the byte arrays within it. */
function parameterAtCall(name: ParameterName, value: unknown): unknown {
  if (name === 'counterBits') return value
  if (name === 'iv') {
    if (!isByteSource(value)) throw parameterError(name)
    return copyOf(value)
  }
  if (typeof value !== 'object' || value === null) throw parameterError(name)
  const members = Object.entries(value as Readonly<Record<string, unknown>>)
  return Object.fromEntries(
    members
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => {
        if (!byteMembers.has(key)) return [key, member]
        if (!isByteSource(member)) throw parameterError(`${name}.${key}`)
        return [key, copyOf(member)]
      }),
  )
}

const byteMembers: ReadonlySet<string> = /* @__PURE__ */ new Set([
  'label',
  'iv',
  'aad',
  'publicData',
  'sharedData',
])

/** The parameters that a mechanism accepts, independent of the key. PSS mechanisms are in `signMechanisms`. */
const allowedParameters: ReadonlyMap<number, readonly ParameterName[]> = /* @__PURE__ */ new Map([
  [CKM.RSA_PKCS_OAEP, ['oaep']],
  [CKM.AES_CBC, ['iv']],
  [CKM.AES_CBC_PAD, ['iv']],
  [CKM.AES_CTR, ['iv', 'counterBits']],
  [CKM.AES_GCM, ['gcm']],
  [CKM.ECDH1_DERIVE, ['ecdh']],
  [CKM.ECDH1_COFACTOR_DERIVE, ['ecdh']],
])

/** Throws CKR_MECHANISM_PARAM_INVALID if the mechanism has a parameter that its type does not accept. */
export function checkParameters(mechanism: RawMechanism): void {
  const { type } = mechanism
  const allowed = signMechanism(type)?.padding === 'pss' ? ['pss'] : (allowedParameters.get(type) ?? [])
  for (const name of parameterNames)
    if (mechanism[name] !== undefined && !allowed.includes(name)) throw parameterError(name)
}

/** Returns the error for the parameter `name`, which is missing, wrong or not accepted. */
export function parameterError(name: string): CryptokiError {
  return new CryptokiError(CKR.MECHANISM_PARAM_INVALID, {
    detail: `${name} is missing or not valid for the mechanism and key`,
  })
}

/** CK_MECHANISM_INFO. */
export interface MechanismInfo {
  readonly minKeyBits: number
  readonly maxKeyBits: number
  /** CKF_*. */
  readonly flags: number
}

/** The constants of the mechanisms and parameters that use one hash. */
interface HashNumbers {
  readonly digest: DigestMechanism['type']
  readonly hmac: number
  /** The signature mechanisms that compute this hash. */
  readonly signatures?: Readonly<Partial<Record<SignatureFamily, SignatureMechanism['type']>>>
  readonly mgf?: CKG
  readonly kdf?: CKD
}

/** Maps the hashes and signature families of @webtoki/crypto to PKCS#11 constants. */
const hashNumbers: readonly (readonly [HashName, HashNumbers])[] = [
  [
    'SHA-1',
    {
      digest: CKM.SHA_1,
      hmac: CKM.SHA_1_HMAC,
      signatures: { pkcs1: CKM.SHA1_RSA_PKCS, pss: CKM.SHA1_RSA_PKCS_PSS, ecdsa: CKM.ECDSA_SHA1 },
      mgf: CKG.MGF1_SHA1,
      kdf: CKD.SHA1_KDF,
    },
  ],
  [
    'SHA-224',
    {
      digest: CKM.SHA224,
      hmac: CKM.SHA224_HMAC,
      signatures: { pkcs1: CKM.SHA224_RSA_PKCS, pss: CKM.SHA224_RSA_PKCS_PSS, ecdsa: CKM.ECDSA_SHA224 },
      mgf: CKG.MGF1_SHA224,
      kdf: CKD.SHA224_KDF,
    },
  ],
  [
    'SHA-256',
    {
      digest: CKM.SHA256,
      hmac: CKM.SHA256_HMAC,
      signatures: { pkcs1: CKM.SHA256_RSA_PKCS, pss: CKM.SHA256_RSA_PKCS_PSS, ecdsa: CKM.ECDSA_SHA256 },
      mgf: CKG.MGF1_SHA256,
      kdf: CKD.SHA256_KDF,
    },
  ],
  [
    'SHA-384',
    {
      digest: CKM.SHA384,
      hmac: CKM.SHA384_HMAC,
      signatures: { pkcs1: CKM.SHA384_RSA_PKCS, pss: CKM.SHA384_RSA_PKCS_PSS, ecdsa: CKM.ECDSA_SHA384 },
      mgf: CKG.MGF1_SHA384,
      kdf: CKD.SHA384_KDF,
    },
  ],
  [
    'SHA-512',
    {
      digest: CKM.SHA512,
      hmac: CKM.SHA512_HMAC,
      signatures: { pkcs1: CKM.SHA512_RSA_PKCS, pss: CKM.SHA512_RSA_PKCS_PSS, ecdsa: CKM.ECDSA_SHA512 },
      mgf: CKG.MGF1_SHA512,
      kdf: CKD.SHA512_KDF,
    },
  ],
  ['SHA3-224', { digest: CKM.SHA3_224, hmac: CKM.SHA3_224_HMAC }],
  ['SHA3-256', { digest: CKM.SHA3_256, hmac: CKM.SHA3_256_HMAC }],
  ['SHA3-384', { digest: CKM.SHA3_384, hmac: CKM.SHA3_384_HMAC }],
  ['SHA3-512', { digest: CKM.SHA3_512, hmac: CKM.SHA3_512_HMAC }],
]

/** Returns a map from one of the constants of each hash to the hash. */
function hashesBy<N extends number>(
  numberOf: (each: HashNumbers) => N | undefined,
): ReadonlyMap<number, HashName> {
  return new Map(
    hashNumbers.flatMap(([hash, each]) => {
      const number = numberOf(each)
      return number === undefined ? [] : [[number, hash] as const]
    }),
  )
}

/** How a signature mechanism processes its data. */
export interface SignMechanism {
  readonly keyType: 'rsa' | 'ec' | 'edwards'
  readonly padding: SignatureFamily | 'raw-x509'
  /** The hash that the mechanism computes; undefined if it processes the data unhashed and at once. */
  readonly hash: HashName | undefined
}

const keyTypes = { pkcs1: 'rsa', pss: 'rsa', 'raw-x509': 'rsa', ecdsa: 'ec', eddsa: 'edwards' } as const

function rulesFor(padding: SignMechanism['padding'], hash?: HashName): SignMechanism {
  return { keyType: keyTypes[padding], padding, hash }
}

/** All supported signature mechanisms. */
export const signMechanisms: ReadonlyMap<number, SignMechanism> = /* @__PURE__ */ new Map<
  number,
  SignMechanism
>([
  [CKM.RSA_PKCS, rulesFor('pkcs1')],
  [CKM.RSA_X_509, rulesFor('raw-x509')],
  [CKM.RSA_PKCS_PSS, rulesFor('pss')],
  [CKM.ECDSA, rulesFor('ecdsa')],
  [CKM.EDDSA, rulesFor('eddsa')],
  ...hashNumbers.flatMap(([hash, { signatures = {} }]) =>
    Object.entries(signatures).map(
      ([family, type]) => [type, rulesFor(family as SignatureFamily, hash)] as const,
    ),
  ),
])

/** Returns the types of the mechanisms that card keys support. SP 800-78-4 and the OpenPGP specification lack SHA-224. */
export function cardSignTypes(...paddings: readonly SignMechanism['padding'][]): readonly number[] {
  return [...signMechanisms]
    .filter(([, { padding, hash }]) => paddings.includes(padding) && hash !== 'SHA-224')
    .map(([type]) => type)
}

/** Returns undefined if the mechanism is not a signature mechanism. */
export function signMechanism(type: number): SignMechanism | undefined {
  return signMechanisms.get(type)
}

/** All supported digest mechanisms with their hashes. */
export const digestMechanisms: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(
  ({ digest }) => digest,
)

/** Returns undefined if the mechanism is not a digest mechanism. */
export function digestMechanism(type: number): HashName | undefined {
  return digestMechanisms.get(type)
}

/** All supported mechanisms for AES keys. */
export const aesMechanisms: readonly number[] = [
  CKM.AES_ECB,
  CKM.AES_CBC,
  CKM.AES_CBC_PAD,
  CKM.AES_CTR,
  CKM.AES_GCM,
  CKM.AES_KEY_WRAP,
  CKM.AES_KEY_WRAP_KWP,
]

/** The longest plaintext of AES-GCM in bytes. It is held in memory, because nothing is released before the tag is verified. */
export const MAX_GCM_BYTES = 0x400_0000

/** All supported HMAC mechanisms with their hashes. */
export const hmacMechanisms: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ hmac }) => hmac)

const mgfHashes: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ mgf }) => mgf)
const kdfHashes: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ kdf }) => kdf)

/** Returns the hash of a CKD_*, or undefined for CKD_NULL and unknown ones. */
export function kdfHash(kdf: number): HashName | undefined {
  return kdfHashes.get(kdf)
}

/** Returns the hashes and the salt length of a PSS mechanism. Throws CKR_MECHANISM_PARAM_INVALID. */
export function pssParametersOf({ type, pss }: RawMechanism): {
  readonly hash: HashName
  readonly mgfHash: HashName
  readonly saltBytes: number
} {
  const own = signMechanism(type)?.hash
  if (pss === undefined) {
    if (own === undefined) throw parameterError('pss')
    return { hash: own, mgfHash: own, saltBytes: hashes[own].bytes }
  }
  const chosen = paddingHashes('pss', pss)
  if (own !== undefined && own !== chosen.hash) throw parameterError('pss.hash')
  if (!Number.isSafeInteger(pss.saltBytes) || pss.saltBytes < 0) throw parameterError('pss.saltBytes')
  return { ...chosen, saltBytes: pss.saltBytes }
}

/**
 * Returns the hashes and the label of CKM_RSA_PKCS_OAEP, and the longest message for a modulus of `modulusBytes` (RFC 8017,
 * 7.1.1). Throws CKR_MECHANISM_PARAM_INVALID, also if the digest is too long for the modulus.
 */
export function oaepParametersOf(
  { oaep }: RawMechanism,
  modulusBytes: number,
): {
  readonly hash: HashName
  readonly mgfHash: HashName
  readonly label: Uint8Array
  readonly maxBytes: number
} {
  if (oaep === undefined) throw parameterError('oaep')
  const chosen = paddingHashes('oaep', oaep)
  const maxBytes = modulusBytes - 2 * hashes[chosen.hash].bytes - 2
  if (maxBytes < 0) throw parameterError('oaep.hash')
  return { ...chosen, label: oaep.label ?? new Uint8Array(0), maxBytes }
}

/** Returns the hashes that the parameters of a padding select. */
function paddingHashes(
  name: 'pss' | 'oaep',
  parameters: { readonly hash: number; readonly mgf: number },
): { readonly hash: HashName; readonly mgfHash: HashName } {
  const hash = digestMechanism(parameters.hash)
  const mgfHash = mgfHashes.get(parameters.mgf)
  // Paddings support only the hashes for which MGF1 is defined.
  if (hash === undefined || ![...mgfHashes.values()].includes(hash)) throw parameterError(`${name}.hash`)
  if (mgfHash === undefined) throw parameterError(`${name}.mgf`)
  return { hash, mgfHash }
}

/** The longest data of an RSA or ECDSA mechanism that does not hash: a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

/** The longest message of EdDSA. It is held in memory, because EdDSA hashes it twice. */
const MAX_EDDSA_BYTES = 0x10_0000

/** Returns what an operation with the mechanism accumulates: a digest, or the data up to a limit. */
export function gatheredFor({
  hash,
  padding,
}: SignMechanism): { readonly hash: HashName } | { readonly maxBytes: number } {
  if (hash !== undefined) return { hash }
  return { maxBytes: padding === 'eddsa' ? MAX_EDDSA_BYTES : MAX_COLLECTED_BYTES }
}

const keyTypeOf = { rsa: CKK.RSA, ec: CKK.EC, edwards: CKK.EC_EDWARDS } as const

/**
 * Checks the key type, curve and parameters of a signature mechanism against a key. Throws CKR_KEY_TYPE_INCONSISTENT,
 * CKR_KEY_SIZE_RANGE for an unknown curve, and CKR_MECHANISM_PARAM_INVALID, also if the PSS salt is too long for the modulus
 * (RFC 8017, 9.1.1).
 */
export function checkSignatureKey(
  attributes: Attributes,
  mechanism: RawMechanism,
  rules: SignMechanism,
): void {
  if (attributes[CKA.KEY_TYPE] !== keyTypeOf[rules.keyType])
    throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (rules.keyType === 'ec') curveOf(attributes[CKA.EC_PARAMS])
  if (rules.keyType === 'edwards') edwardsCurveOf(attributes[CKA.EC_PARAMS])
  if (rules.padding !== 'pss') return
  const { hash, saltBytes } = pssParametersOf(mechanism)
  const encodedBytes = Math.ceil(((attributes[CKA.MODULUS_BITS] ?? 0) - 1) / 8)
  if (encodedBytes < hashes[hash].bytes + saltBytes + 2) throw parameterError('pss.saltBytes')
}
