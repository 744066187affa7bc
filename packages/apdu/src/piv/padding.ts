/** Host-side preparation of what a PIV card's raw RSA and ECDSA operations take: RFC 8017 clauses 9.1, 9.2, B.2.1; RFC 3279 2.2.3. */
import { concatBytes, equalBytes, fromHex } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { decodeTlv, decodeTlvs, encodeTlv } from '../tlv.ts'

/** Hashes that DigestInfo is known for. */
export type DigestName = 'SHA-1' | 'SHA-224' | 'SHA-256' | 'SHA-384' | 'SHA-512'

/** RFC 8017, 9.2, note 1. */
const digestInfoPrefixes: Readonly<Record<DigestName, string>> = {
  'SHA-1': '3021300906052b0e03021a05000414',
  'SHA-224': '302d300d06096086480165030402040500041c',
  'SHA-256': '3031300d060960864801650304020105000420',
  'SHA-384': '3041300d060960864801650304020205000430',
  'SHA-512': '3051300d060960864801650304020305000440',
}

/** DigestInfo in DER. Throws RangeError where the digest's length is not the hash's. */
export function encodeDigestInfo(name: DigestName, digest: Uint8Array): Uint8Array {
  const prefix = fromHex(digestInfoPrefixes[name])
  if (digest.length !== prefix[prefix.length - 1]) {
    throw new RangeError(`${digest.length} bytes are no ${name} digest.`)
  }
  return concatBytes(prefix, digest)
}

/** EMSA-PKCS1-v1_5 from the point where T (a DigestInfo, or what CKM_RSA_PKCS is given) is known. Throws RangeError. */
export function padPkcs1(message: Uint8Array, keyBytes: number): Uint8Array {
  const paddingBytes = keyBytes - message.length - 3
  if (paddingBytes < 8) throw new RangeError(`${message.length} bytes are too long for a key of ${keyBytes}.`)
  return concatBytes([0, 1], new Uint8Array(paddingBytes).fill(0xff), [0], message)
}

/** Hashing and randomness are handed in: this room has neither. */
export interface PssParameters {
  readonly keyBits: number
  readonly saltBytes: number
  readonly hash: (bytes: Uint8Array) => Uint8Array
  /** Hash of MGF1; absent: the same. */
  readonly mgfHash?: (bytes: Uint8Array) => Uint8Array
  readonly randomBytes: (length: number) => Uint8Array
}

/** EMSA-PSS of a digest, filled to the key's length. Throws RangeError where the key is too short. */
export function padPss(digest: Uint8Array, parameters: PssParameters): Uint8Array {
  const { keyBits, saltBytes, hash, randomBytes } = parameters
  const encodedBits = keyBits - 1
  const encodedBytes = Math.ceil(encodedBits / 8)
  const paddingBytes = encodedBytes - digest.length - saltBytes - 2
  if (paddingBytes < 0) throw new RangeError(`A key of ${keyBits} bits is too short for this hash and salt.`)
  const salt = randomBytes(saltBytes)
  if (salt.length !== saltBytes)
    throw new RangeError(`Asked for ${saltBytes} random bytes, got ${salt.length}.`)
  const h = hash(concatBytes(new Uint8Array(8), digest, salt))
  if (h.length !== digest.length) throw new RangeError('The digest was not made with the hash of PSS.')
  const block = concatBytes(new Uint8Array(paddingBytes), [1], salt)
  const mask = mgf1(h, block.length, parameters.mgfHash ?? hash)
  const masked = block.map((byte, index) => byte ^ (mask[index] ?? 0))
  masked[0] = (masked[0] ?? 0) & (0xff >> (8 * encodedBytes - encodedBits))
  // One zero byte more where the key has 8n + 1 bits.
  const leading = new Uint8Array(Math.ceil(keyBits / 8) - encodedBytes)
  return concatBytes(leading, masked, h, [0xbc])
}

function mgf1(seed: Uint8Array, length: number, hash: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const parts: Uint8Array[] = []
  for (let made = 0, counter = 0; made < length; counter++) {
    const part = hash(
      concatBytes(seed, [counter >>> 24, (counter >> 16) & 0xff, (counter >> 8) & 0xff, counter & 0xff]),
    )
    parts.push(part)
    made += part.length
  }
  return concatBytes(...parts).subarray(0, length)
}

/** A digest as ECDSA takes it: the leftmost bytes of a longer one (FIPS 186-5, 6.4.1), zeros before a shorter one. */
export function fitDigest(digest: Uint8Array, fieldBytes: number): Uint8Array {
  if (digest.length >= fieldBytes) return digest.slice(0, fieldBytes)
  return concatBytes(new Uint8Array(fieldBytes - digest.length), digest)
}

/** ECDSA-Sig-Value in DER to r‖s, each `fieldBytes` long. Throws MalformedError on whatever is not strict DER. */
export function ecdsaSignatureFromDer(der: Uint8Array, fieldBytes: number): Uint8Array {
  const outer = decodeTlv(der)
  const [r, s, ...others] = outer.tag === 0x30 ? decodeTlvs(outer.value) : []
  if (r?.tag !== 0x02 || s?.tag !== 0x02 || others.length > 0) {
    throw new MalformedError('ECDSA signature', 'not a SEQUENCE of two INTEGERs')
  }
  // BER allows many ways to write a length; DER is what comes out when it is written again.
  if (!equalBytes(der, encodeTlv(0x30, encodeTlv(0x02, r.value), encodeTlv(0x02, s.value)))) {
    throw new MalformedError('ECDSA signature', 'a length that is not DER')
  }
  return concatBytes(unsigned(r.value, fieldBytes), unsigned(s.value, fieldBytes))
}

function unsigned(integer: Uint8Array, fieldBytes: number): Uint8Array {
  const [first, second] = integer
  if (first === undefined || first >= 0x80)
    throw new MalformedError('ECDSA signature', 'an INTEGER that is not positive')
  if (first === 0 && (second === undefined || second < 0x80)) {
    throw new MalformedError('ECDSA signature', 'an INTEGER of zero, or with a zero byte too many')
  }
  const magnitude = first === 0 ? integer.subarray(1) : integer
  if (magnitude.length > fieldBytes) {
    throw new MalformedError(
      'ECDSA signature',
      `an INTEGER of ${magnitude.length} bytes for a field of ${fieldBytes}`,
    )
  }
  return concatBytes(new Uint8Array(fieldBytes - magnitude.length), magnitude)
}
