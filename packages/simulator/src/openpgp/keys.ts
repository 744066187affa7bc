/**
 * The keys of a virtual OpenPGP card: algorithm attributes and operations (OpenPGP card application 3.4, 4.4.3.9 and
 * 7.2.10 to 7.2.14).
 */
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { copyOf, fromHex, join, type RandomSource, sameBytes, toInteger } from '../bytes.ts'
import {
  type CardKey,
  ecdsaSignature,
  ecKey,
  generateEcKey,
  generateRsaKey,
  publicKeyTemplate as templateOf,
  publicPoint,
  rsaKey,
  sharedSecret,
  subjectPublicKeyInfo as spkiOf,
} from '../crypto/card-key.ts'
import { rsaPrivateOperation } from '../crypto/raw-rsa.ts'
import { readObjects, tlv } from '../iso7816/tlv.ts'
import { demoKeys } from './demo-keys.ts'

/** The uses of the three keys. */
export type OpenPgpKeyUse = 'signature' | 'decryption' | 'authentication'

/**
 * The supported algorithms. Ed25519 is for signature and authentication, X25519 for decryption, the others for all
 * uses.
 */
export type OpenPgpAlgorithm = 'rsa2048' | 'p256' | 'p384' | 'ed25519' | 'x25519'

interface Curve25519Key {
  readonly kind: '25519'
  readonly curve: 'ed25519' | 'x25519'
  readonly secret: Uint8Array
}

/** A private key in the card. */
export type OpenPgpKey = CardKey | Curve25519Key

/** The tags of the control reference templates. */
export const keyTemplates: Readonly<Record<OpenPgpKeyUse, number>> = {
  signature: 0xb6,
  decryption: 0xb8,
  authentication: 0xa4,
}

/** The three uses in the order of the specification. */
export const keyUses: readonly OpenPgpKeyUse[] = ['signature', 'decryption', 'authentication']

const algorithms: readonly OpenPgpAlgorithm[] = ['rsa2048', 'p256', 'p384', 'ed25519', 'x25519']
const curveIdentifiers = {
  p256: fromHex('2a8648ce3d030107'),
  p384: fromHex('2b81040022'),
  ed25519: fromHex('2b06010401da470f01'),
  x25519: fromHex('2b060104019755010501'),
} as const
/** Public key algorithm identifiers of OpenPGP (RFC 9580, 9.1). */
const RSA = 0x01
const ECDH = 0x12
const ECDSA = 0x13
const EDDSA = 0x16

/** Returns the algorithm attributes (DO C1 to C3), or undefined if a key for this use cannot have the algorithm. */
export function attributesOf(use: OpenPgpKeyUse, algorithm: OpenPgpAlgorithm): Uint8Array | undefined {
  // A 2048-bit modulus, a 32-bit exponent, import as exponent and primes.
  if (algorithm === 'rsa2048') return Uint8Array.of(RSA, 0x08, 0x00, 0x00, 0x20, 0x00)
  const agrees = use === 'decryption'
  if ((algorithm === 'ed25519' && agrees) || (algorithm === 'x25519' && !agrees)) return undefined
  const number = agrees ? ECDH : algorithm === 'ed25519' ? EDDSA : ECDSA
  return join(number, curveIdentifiers[algorithm])
}

/** Returns the algorithm of algorithm attributes, or undefined if the card does not support them. */
export function algorithmOf(use: OpenPgpKeyUse, attributes: Uint8Array): OpenPgpAlgorithm | undefined {
  return algorithms.find((algorithm) => {
    const own = attributesOf(use, algorithm)
    return own !== undefined && sameBytes(own, attributes)
  })
}

/** Returns all algorithm attributes that a key for this use can have. */
export function knownAttributes(use: OpenPgpKeyUse): readonly Uint8Array[] {
  return algorithms.flatMap((algorithm) => attributesOf(use, algorithm) ?? [])
}

/** Returns the key of a new card. Throws RangeError if a key for this use cannot have the algorithm. */
export function demoKey(use: OpenPgpKeyUse, algorithm: OpenPgpAlgorithm): OpenPgpKey {
  const own: Readonly<
    Partial<Record<OpenPgpAlgorithm, string | { readonly p: string; readonly q: string }>>
  > = demoKeys[use]
  const secret = own[algorithm]
  if (secret === undefined) throw new RangeError(`An OpenPGP card has no ${algorithm} key for ${use}.`)
  const key =
    typeof secret !== 'string'
      ? rsaKey(2048, fromHex(secret.p), fromHex(secret.q))
      : algorithm === 'p256' || algorithm === 'p384'
        ? ecKey(algorithm, fromHex(secret))
        : curve25519Key(algorithm, fromHex(secret))
  if (key === undefined) throw new Error(`The demo key for ${use} with ${algorithm} is damaged.`)
  return key
}

/** Generates a key. RSA keys come from the platform's WebCrypto, others from the card's own random source. */
export async function generateOpenPgpKey(
  algorithm: OpenPgpAlgorithm,
  random: RandomSource,
): Promise<OpenPgpKey | undefined> {
  if (algorithm === 'rsa2048') return generateRsaKey(2048)
  return algorithm === 'p256' || algorithm === 'p384'
    ? generateEcKey(algorithm, random)
    : curve25519Key(algorithm, random(32))
}

function curve25519Key(algorithm: OpenPgpAlgorithm, secret: Uint8Array): Curve25519Key | undefined {
  const fits = (algorithm === 'ed25519' || algorithm === 'x25519') && secret.length === 32
  return fits ? { kind: '25519', curve: algorithm, secret: copyOf(secret) } : undefined
}

/**
 * Signs for PSO: COMPUTE DIGITAL SIGNATURE and INTERNAL AUTHENTICATE. The input is a DigestInfo for RSA (PKCS#1 v1.5), a
 * digest for ECDSA (signature r‖s) and the message for EdDSA. Returns undefined if the input does not fit the key.
 */
export function signWith(key: OpenPgpKey, input: Uint8Array): Uint8Array | undefined {
  if (key.kind === 'ec') return ecdsaSignature(key, input, 'compact')
  if (key.kind === '25519') {
    return key.curve === 'ed25519' && input.length > 0 ? ed25519.sign(input, key.secret) : undefined
  }
  // The input is at most 40 % of the modulus (7.2.10.2).
  const { modulusBytes } = key.rsa
  if (input.length === 0 || input.length > Math.floor(modulusBytes * 0.4)) return undefined
  const filling = new Uint8Array(modulusBytes - input.length - 3).fill(0xff)
  return rsaPrivateOperation(key.rsa, join(0, 1, filling, 0, input))
}

/**
 * Decrypts for PSO: DECIPHER. The input is 00 and a cryptogram for RSA, and the peer's public key in A6, 7F49, 86 for
 * ECDH. Returns undefined if it does not fit the key.
 */
export function decipherWith(key: OpenPgpKey, input: Uint8Array): Uint8Array | undefined {
  if (key.kind === 'rsa') {
    const { modulusBytes, n } = key.rsa
    if (input[0] !== 0x00 || input.length !== 1 + modulusBytes) return undefined
    const cryptogram = input.subarray(1)
    if (toInteger(cryptogram) >= n) return undefined
    return withoutPadding(rsaPrivateOperation(key.rsa, cryptogram))
  }
  const point = soleValue(0x86, soleValue(0x7f49, soleValue(0xa6, input)))
  if (point === undefined) return undefined
  if (key.kind === 'ec') return sharedSecret(key, point)
  if (key.curve !== 'x25519' || point.length !== 32) return undefined
  try {
    return x25519.getSharedSecret(key.secret, point)
  } catch {
    return undefined
  }
}

/** Returns the value of a data object with this tag, or undefined if the bytes are anything else. */
function soleValue(tag: number, bytes: Uint8Array | undefined): Uint8Array | undefined {
  const [first, ...more] = (bytes && readObjects(bytes)) ?? []
  return first?.tag === tag && more.length === 0 ? first.value : undefined
}

/** Removes PKCS#1 v1.5 encryption padding (RFC 8017, 7.2.2): 00 02, at least eight nonzero bytes, 00, message. */
function withoutPadding(block: Uint8Array): Uint8Array | undefined {
  const end = block.indexOf(0, 2)
  return block[0] === 0 && block[1] === 2 && end >= 10 ? block.slice(end + 1) : undefined
}

/** Encodes the public key as GENERATE ASYMMETRIC KEY PAIR returns it (7.2.14). */
export function publicKeyTemplate(key: OpenPgpKey): Uint8Array {
  return key.kind === '25519' ? tlv(0x7f49, tlv(0x86, point25519(key))) : templateOf(key)
}

/** Encodes the public key as SubjectPublicKeyInfo in DER (Ed25519 and X25519: RFC 8410). */
export function subjectPublicKeyInfo(key: OpenPgpKey): Uint8Array {
  if (key.kind !== '25519') return spkiOf(key)
  const identifier = fromHex(key.curve === 'ed25519' ? '06032b6570' : '06032b656e')
  return tlv(0x30, tlv(0x30, identifier), tlv(0x03, 0, point25519(key)))
}

function point25519({ curve, secret }: Curve25519Key): Uint8Array {
  return (curve === 'ed25519' ? ed25519 : x25519).getPublicKey(secret)
}

/** Computes the version 4 fingerprint: SHA-1 over the public key packet (RFC 4880, 12.2; RFC 6637, 9). */
export async function fingerprintOf(
  use: OpenPgpKeyUse,
  algorithm: OpenPgpAlgorithm,
  key: OpenPgpKey,
  createdSeconds: number,
): Promise<Uint8Array> {
  const time = [24, 16, 8, 0].map((shift) => (createdSeconds >>> shift) & 0xff)
  const packet = join(4, time, publicKeyMaterial(use, algorithm, key))
  const hashed = join(0x99, packet.length >> 8, packet.length & 0xff, packet)
  return new Uint8Array(await globalThis.crypto.subtle.digest('SHA-1', copyOf(hashed)))
}

function publicKeyMaterial(use: OpenPgpKeyUse, algorithm: OpenPgpAlgorithm, key: OpenPgpKey): Uint8Array {
  if (key.kind === 'rsa') {
    const [template] = readObjects(templateOf(key)) ?? []
    const numbers = (template && readObjects(template.value)) ?? []
    return join(RSA, ...numbers.map(({ value }) => multiPrecision(value)))
  }
  const attributes = attributesOf(use, algorithm) ?? new Uint8Array(0)
  const point = key.kind === 'ec' ? publicPoint(key) : join(0x40, point25519(key))
  // ECDH keys have KDF parameters (RFC 6637, 9): SHA-256 with AES-128, or SHA-384 with AES-256 for P-384.
  const wrapping = algorithm === 'p384' ? [3, 1, 9, 9] : [3, 1, 8, 7]
  return join(
    attributes[0] ?? 0,
    attributes.length - 1,
    attributes.subarray(1),
    multiPrecision(point),
    use === 'decryption' ? wrapping : [],
  )
}

/** Encodes a multiprecision integer, with its length in bits (RFC 4880, 3.2). */
function multiPrecision(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0)
  const number = bytes.subarray(start)
  const bits = number.length * 8 - Math.clz32(number[0] ?? 0) + 24
  return join(bits >> 8, bits & 0xff, number)
}
