/**
 * The RSA primitives of RFC 8017, 5 without padding. The private operation uses the Chinese remainder theorem, as cards
 * do.
 */
import { fromInteger, toInteger } from '../bytes.ts'

/** An RSA private key: two primes and the values derived from them. */
export interface RsaPrivateKey {
  /** Length of the modulus in bytes. */
  readonly modulusBytes: number
  readonly n: bigint
  readonly e: bigint
  readonly p: bigint
  readonly q: bigint
  /** d mod p-1 */
  readonly dp: bigint
  /** d mod q-1 */
  readonly dq: bigint
  /** q⁻¹ mod p */
  readonly qInverse: bigint
}

/** Makes a key from two primes. Throws RangeError if they do not form a key. */
export function rsaKeyFromPrimes(p: bigint, q: bigint, e = 65537n): RsaPrivateKey {
  if (p < 3n || q < 3n || p === q || e < 3n) throw new RangeError('The numbers do not form an RSA key.')
  const n = p * q
  return {
    modulusBytes: Math.ceil(n.toString(16).length / 2),
    n,
    e,
    p,
    q,
    dp: inverse(e, p - 1n),
    dq: inverse(e, q - 1n),
    qInverse: inverse(q, p),
  }
}

/** Computes `block`^d mod n. Throws RangeError unless the block is as long as the modulus and its value is smaller. */
export function rsaPrivateOperation(key: RsaPrivateKey, block: Uint8Array): Uint8Array {
  const m = toInteger(block)
  if (block.length !== key.modulusBytes || m >= key.n)
    throw new RangeError('The block is not as long as the modulus, or its value is not smaller.')
  const m1 = power(m % key.p, key.dp, key.p)
  const m2 = power(m % key.q, key.dq, key.q)
  const h = ((((m1 - m2) * key.qInverse) % key.p) + key.p) % key.p
  return fromInteger(m2 + h * key.q, key.modulusBytes)
}

/** Computes `block`^e mod n, the public operation. */
export function rsaPublicOperation(n: bigint, e: bigint, block: Uint8Array): Uint8Array {
  return fromInteger(power(toInteger(block), e, n), Math.ceil(n.toString(16).length / 2))
}

// Processes four exponent bits at a time. This saves a quarter of the multiplications, which is noticeable at 4096 bits.
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  const table: bigint[] = [1n]
  for (let i = 1; i < 16; i++) table.push(((table[i - 1] ?? 1n) * base) % modulus)
  let result = 1n
  for (const digit of exponent.toString(16)) {
    for (let i = 0; i < 4; i++) result = (result * result) % modulus
    const factor = Number.parseInt(digit, 16)
    if (factor !== 0) result = (result * (table[factor] ?? 1n)) % modulus
  }
  return result
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [r, nextR, t, nextT] = [modulus, value % modulus, 0n, 1n]
  while (nextR !== 0n) {
    const quotient = r / nextR
    ;[r, nextR] = [nextR, r - quotient * nextR]
    ;[t, nextT] = [nextT, t - quotient * nextT]
  }
  if (r !== 1n) throw new RangeError('The numbers do not form an RSA key.')
  return (t + modulus) % modulus
}
