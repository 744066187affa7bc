/** Mechanisms and their parameters: PKCS#11 v3.0 mechanisms, 2.1 (RSA), 2.3 (EC), 2.8 to 2.14 (AES), 2.20 to 2.28 (SHA). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { type HashName, hashes, type SignatureFamily } from '@webtoki/crypto'
import type { Attributes } from './attributes.ts'
import { CKA, CKD, CKG, CKK, CKM, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { curveOf, edwardsCurveOf } from './software/key-numbers.ts'

/** The type number of a named mechanism. */
type Numbered<N extends keyof typeof CKM> = (typeof CKM)[N]

/** The parameters that a mechanism can have. */
interface MechanismParameters {
  readonly pss: PssMechanismParameters
  readonly oaep: OaepMechanismParameters
  readonly iv: Uint8Array
  readonly counterBits: number
  readonly gcm: GcmMechanismParameters
  readonly ecdh: EcdhMechanismParameters
}

/** A mechanism of these types with the parameters `P`; others are refused by the compiler. */
type With<N extends keyof typeof CKM, P = unknown> = { readonly type: Numbered<N> } & P & {
    readonly [K in Exclude<keyof MechanismParameters, keyof P>]?: never
  }

/** Mechanisms of `digest`. */
export type DigestMechanism = With<
  'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512' | 'SHA3_224' | 'SHA3_256' | 'SHA3_384' | 'SHA3_512'
>

/** CKM_* of the hashes that RSA paddings use. */
type PaddingHashMechanism = Numbered<'SHA_1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512'>

/** CK_RSA_PKCS_PSS_PARAMS. */
export interface PssMechanismParameters {
  /** CKM_* of the hash. */
  readonly hash: PaddingHashMechanism
  /** CKG_MGF1_*. */
  readonly mgf: CKG
  readonly saltBytes: number
}

/** CK_RSA_PKCS_OAEP_PARAMS, with a source of CKZ_DATA_SPECIFIED. */
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
  /** 12 bytes are usual; 8 to 256. Never use one twice with the same key. */
  readonly iv: Uint8Array
  /** Authenticated, not encrypted. Default: empty. */
  readonly aad?: Uint8Array | undefined
  /** 96, 104, 112, 120 or 128 (NIST SP 800-38D, 5.2.1.2). The tag follows the ciphertext. */
  readonly tagBits: number
}

/** CK_ECDH1_DERIVE_PARAMS. */
export interface EcdhMechanismParameters {
  readonly kdf: CKD
  /** The other party's point, uncompressed (04, x, y), as it is or within a DER OCTET STRING. */
  readonly publicData: Uint8Array
  /** For a KDF other than CKD_NULL. */
  readonly sharedData?: Uint8Array | undefined
}

/** RSA PKCS#1 v1.5, raw RSA, ECDSA, EdDSA and HMAC: no parameters. */
export type PlainSignatureMechanism = With<
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

/** RSA-PSS of a digest that the caller has made: only the parameters tell by which hash. */
export type BarePssMechanism = With<'RSA_PKCS_PSS', Pick<MechanismParameters, 'pss'>>

/** RSA-PSS that hashes. Default of `pss`: MGF1 with the mechanism's own hash, and a salt as long as that. */
export type HashingPssMechanism = With<
  | 'SHA1_RSA_PKCS_PSS'
  | 'SHA224_RSA_PKCS_PSS'
  | 'SHA256_RSA_PKCS_PSS'
  | 'SHA384_RSA_PKCS_PSS'
  | 'SHA512_RSA_PKCS_PSS',
  Partial<Pick<MechanismParameters, 'pss'>>
>

/** Mechanisms of `sign` and `verify`. */
export type SignatureMechanism = PlainSignatureMechanism | BarePssMechanism | HashingPssMechanism

/** Mechanisms of `signRecover` and `verifyRecover`. */
export type RecoverMechanism = With<'RSA_PKCS' | 'RSA_X_509'>

/** AES in CBC; `iv` is the initialisation vector, 16 bytes. */
export type AesCbcMechanism = With<'AES_CBC' | 'AES_CBC_PAD', Pick<MechanismParameters, 'iv'>>

/** AES in counter mode: `iv` is the first counter block, 16 bytes; `counterBits` of it count, 128 by default (CK_AES_CTR_PARAMS). */
export type AesCtrMechanism = With<
  'AES_CTR',
  Pick<MechanismParameters, 'iv'> & Partial<Pick<MechanismParameters, 'counterBits'>>
>

/** AES in Galois/counter mode. */
export type AesGcmMechanism = With<'AES_GCM', Pick<MechanismParameters, 'gcm'>>

/** RSA-OAEP. */
export type OaepMechanism = With<'RSA_PKCS_OAEP', Pick<MechanismParameters, 'oaep'>>

/** Ciphers without parameters: AES block by block, and RSA. */
export type PlainCipherMechanism = With<'AES_ECB' | 'RSA_PKCS' | 'RSA_X_509'>

/** Mechanisms of `encrypt` and `decrypt`. */
export type CipherMechanism =
  | AesCbcMechanism
  | AesCtrMechanism
  | AesGcmMechanism
  | OaepMechanism
  | PlainCipherMechanism

/** AES key wrap (RFC 3394), and with padding (RFC 5649); the default initial value. */
export type AesWrapMechanism = With<'AES_KEY_WRAP' | 'AES_KEY_WRAP_KWP'>

/** Mechanisms of `wrapKey` and `unwrapKey`. */
export type WrapMechanism = CipherMechanism | AesWrapMechanism

/** Mechanisms of `deriveKey`. */
export type DeriveMechanism = With<
  'ECDH1_DERIVE' | 'ECDH1_COFACTOR_DERIVE',
  Pick<MechanismParameters, 'ecdh'>
>

/** Mechanisms of `generateKey`. */
export type GenerateMechanism = With<'AES_KEY_GEN' | 'GENERIC_SECRET_KEY_GEN'>

/** A mechanism with its parameters. */
export type Mechanism =
  | DigestMechanism
  | SignatureMechanism
  | RecoverMechanism
  | WrapMechanism
  | DeriveMechanism
  | GenerateMechanism

/** A mechanism by any number, as C callers name it (`Session.begin`) and keys take it: checked at run time only. */
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

/** The names of the parameters, as fields of a mechanism. */
const parameterNames = ['pss', 'oaep', 'iv', 'counterBits', 'gcm', 'ecdh'] as const
type ParameterName = (typeof parameterNames)[number]

/** A copy: what its owner writes into it later does not count. Throws CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID. */
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

/** By what a mechanism of C is a structure with pointers, here is an object with bytes in it. */
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

/** The parameters that a mechanism takes, whatever its key. */
const takenParameters: ReadonlyMap<number, readonly ParameterName[]> = /* @__PURE__ */ new Map([
  [CKM.RSA_PKCS_OAEP, ['oaep']],
  [CKM.AES_CBC, ['iv']],
  [CKM.AES_CBC_PAD, ['iv']],
  [CKM.AES_CTR, ['iv', 'counterBits']],
  [CKM.AES_GCM, ['gcm']],
  [CKM.ECDH1_DERIVE, ['ecdh']],
  [CKM.ECDH1_COFACTOR_DERIVE, ['ecdh']],
])

/** Throws CKR_MECHANISM_PARAM_INVALID if the mechanism has parameters that are not for it, whatever its key. */
export function checkParameters(mechanism: RawMechanism): void {
  const { type } = mechanism
  const taken = signMechanism(type)?.padding === 'pss' ? ['pss'] : (takenParameters.get(type) ?? [])
  for (const name of parameterNames)
    if (mechanism[name] !== undefined && !taken.includes(name)) throw parameterError(name)
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

/** The numbers of the mechanisms and parameters that one hash has a part in. */
interface HashNumbers {
  readonly digest: DigestMechanism['type']
  readonly hmac: number
  /** The signature mechanisms that make this hash. */
  readonly signatures?: Readonly<Partial<Record<SignatureFamily, SignatureMechanism['type']>>>
  readonly mgf?: CKG
  readonly kdf?: CKD
}

/** The one table between PKCS#11's numbers and the registry of hashes and signature algorithms. */
const numbers: readonly (readonly [HashName, HashNumbers])[] = [
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

/** A number of each hash that has it, with the hash. */
function hashesBy<N extends number>(
  numberOf: (each: HashNumbers) => N | undefined,
): ReadonlyMap<number, HashName> {
  return new Map(
    numbers.flatMap(([hash, each]) => {
      const number = numberOf(each)
      return number === undefined ? [] : [[number, hash] as const]
    }),
  )
}

/** What a signature mechanism does with its data. */
export interface SignMechanism {
  readonly keyType: 'rsa' | 'ec' | 'edwards'
  readonly padding: SignatureFamily | 'raw-x509'
  /** The hash that it makes itself; undefined: the data is taken as it is, in one piece. */
  readonly hash: HashName | undefined
}

const keyTypes = { pkcs1: 'rsa', pss: 'rsa', 'raw-x509': 'rsa', ecdsa: 'ec', eddsa: 'edwards' } as const

function signs(padding: SignMechanism['padding'], hash?: HashName): SignMechanism {
  return { keyType: keyTypes[padding], padding, hash }
}

/** All signature mechanisms that are known here. */
export const signMechanisms: ReadonlyMap<number, SignMechanism> = /* @__PURE__ */ new Map<
  number,
  SignMechanism
>([
  [CKM.RSA_PKCS, signs('pkcs1')],
  [CKM.RSA_X_509, signs('raw-x509')],
  [CKM.RSA_PKCS_PSS, signs('pss')],
  [CKM.ECDSA, signs('ecdsa')],
  [CKM.EDDSA, signs('eddsa')],
  ...numbers.flatMap(([hash, { signatures = {} }]) =>
    Object.entries(signatures).map(
      ([family, type]) => [type, signs(family as SignatureFamily, hash)] as const,
    ),
  ),
])

/** Types of the mechanisms that keys on cards sign with. SP 800-78-4 and the OpenPGP card's specification have no SHA-224. */
export function cardSignTypes(...paddings: readonly SignMechanism['padding'][]): readonly number[] {
  return [...signMechanisms]
    .filter(([, { padding, hash }]) => paddings.includes(padding) && hash !== 'SHA-224')
    .map(([type]) => type)
}

/** Undefined where the mechanism does not sign. */
export function signMechanism(type: number): SignMechanism | undefined {
  return signMechanisms.get(type)
}

/** All digest mechanisms. */
export const digestMechanisms: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(
  ({ digest }) => digest,
)

/** Undefined where the mechanism is no digest. */
export function digestMechanism(type: number): HashName | undefined {
  return digestMechanisms.get(type)
}

/** All that AES keys do. */
export const aesMechanisms: readonly number[] = [
  CKM.AES_ECB,
  CKM.AES_CBC,
  CKM.AES_CBC_PAD,
  CKM.AES_CTR,
  CKM.AES_GCM,
  CKM.AES_KEY_WRAP,
  CKM.AES_KEY_WRAP_KWP,
]

/** AES-GCM takes this many bytes of plaintext at most: no byte of it comes out before the tag has been checked. */
export const MAX_GCM_BYTES = 0x400_0000

/** All HMACs, with their hash. */
export const hmacMechanisms: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ hmac }) => hmac)

const mgfHashes: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ mgf }) => mgf)
const kdfHashes: ReadonlyMap<number, HashName> = /* @__PURE__ */ hashesBy(({ kdf }) => kdf)

/** The hash of a CKD_*; undefined for one that is not known. */
export function kdfHash(kdf: number): HashName | undefined {
  return kdfHashes.get(kdf)
}

/** The hashes and the salt of a PSS mechanism. Throws CKR_MECHANISM_PARAM_INVALID. */
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
 * The hashes and the label of CKM_RSA_PKCS_OAEP, and the longest message under a modulus of so many bytes (RFC 8017, 7.1.1).
 * Throws CKR_MECHANISM_PARAM_INVALID, also for a hash that is too long for the modulus.
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

/** The hashes of a padding's parameters. */
function paddingHashes(
  name: 'pss' | 'oaep',
  parameters: { readonly hash: number; readonly mgf: number },
): { readonly hash: HashName; readonly mgfHash: HashName } {
  const hash = digestMechanism(parameters.hash)
  const mgfHash = mgfHashes.get(parameters.mgf)
  // Paddings use the hashes that a mask can be made with.
  if (hash === undefined || ![...mgfHashes.values()].includes(hash)) throw parameterError(`${name}.hash`)
  if (mgfHash === undefined) throw parameterError(`${name}.mgf`)
  return { hash, mgfHash }
}

/** No mechanism of RSA or ECDSA that takes its data in one piece takes more than a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

/** EdDSA hashes the message twice, and so needs all of it. */
const MAX_EDDSA_BYTES = 0x10_0000

/** What a signature mechanism collects: the hash that it makes, or the data as they are. */
export function gatheredFor({
  hash,
  padding,
}: SignMechanism): { readonly hash: HashName } | { readonly maxBytes: number } {
  if (hash !== undefined) return { hash }
  return { maxBytes: padding === 'eddsa' ? MAX_EDDSA_BYTES : MAX_COLLECTED_BYTES }
}

const keyTypeOf = { rsa: CKK.RSA, ec: CKK.EC, edwards: CKK.EC_EDWARDS } as const

/**
 * Key type, curve, size and parameters of a signature mechanism against the key. Throws CKR_KEY_TYPE_INCONSISTENT,
 * CKR_KEY_SIZE_RANGE for a curve that is not known, and CKR_MECHANISM_PARAM_INVALID, also for a PSS salt that does not fit
 * the modulus (RFC 8017, 9.1.1).
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
