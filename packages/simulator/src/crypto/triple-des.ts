/** Triple DES on single blocks (FIPS 46-3, SP 800-67), for PIV management keys. WebCrypto does not have it. */

// The tables number bits from 1 at the left, as FIPS 46-3 does.
// biome-ignore format: the tables keep the standard's rows
const initialPermutation = [
  58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
  62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
  57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3,
  61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
]
// biome-ignore format: the tables keep the standard's rows
const finalPermutation = [
  40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
  38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
  36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
  34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
]
// biome-ignore format: the tables keep the standard's rows
const expansion = [
  32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17,
  16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
]
// biome-ignore format: the tables keep the standard's rows
const roundPermutation = [
  16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
  2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
]
// biome-ignore format: the tables keep the standard's rows
const keyChoice1 = [
  57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
  63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
]
// biome-ignore format: the tables keep the standard's rows
const keyChoice2 = [
  14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
  41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
]
const keyShifts = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
// One hexadecimal digit for each entry, row by row.
const substitutions = [
  'e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d',
  'f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9',
  'a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c',
  '7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e',
  '2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453',
  'c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d',
  '4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c',
  'd2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b',
].map((box) => Array.from(box, (digit) => Number.parseInt(digit, 16)))

type Bits = readonly number[]

/**
 * Encrypts one 8-byte block with a 24-byte key (three keys, encrypt-decrypt-encrypt). Throws RangeError for other
 * lengths.
 */
export function tripleDesEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
  const [first, second, third] = schedules(key)
  return des(third, des(second.toReversed(), des(first, check(block))))
}

/** Decrypts one 8-byte block with a 24-byte key. Throws RangeError for other lengths. */
export function tripleDesDecrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
  const [first, second, third] = schedules(key)
  return des(first.toReversed(), des(second, des(third.toReversed(), check(block))))
}

function schedules(key: Uint8Array): readonly [Bits[], Bits[], Bits[]] {
  if (key.length !== 24) throw new RangeError(`A triple DES key has 24 bytes, not ${key.length}.`)
  return [roundKeys(key.subarray(0, 8)), roundKeys(key.subarray(8, 16)), roundKeys(key.subarray(16))]
}

function check(block: Uint8Array): Uint8Array {
  if (block.length !== 8) throw new RangeError(`A DES block has 8 bytes, not ${block.length}.`)
  return block
}

function roundKeys(key: Uint8Array): Bits[] {
  const chosen = pick(toBits(key), keyChoice1)
  let c = chosen.slice(0, 28)
  let d = chosen.slice(28)
  return keyShifts.map((shift) => {
    c = [...c.slice(shift), ...c.slice(0, shift)]
    d = [...d.slice(shift), ...d.slice(0, shift)]
    return pick([...c, ...d], keyChoice2)
  })
}

function des(keys: readonly Bits[], block: Uint8Array): Uint8Array {
  const start = pick(toBits(block), initialPermutation)
  let left = start.slice(0, 32)
  let right = start.slice(32)
  for (const key of keys) {
    const mixed = roundFunction(right, key)
    const next = left.map((bit, i) => bit ^ (mixed[i] ?? 0))
    left = right
    right = next
  }
  return toBytes(pick([...right, ...left], finalPermutation))
}

function roundFunction(half: Bits, key: Bits): number[] {
  const wide = pick(half, expansion).map((bit, i) => bit ^ (key[i] ?? 0))
  const narrow: number[] = []
  substitutions.forEach((box, index) => {
    const six = wide.slice(6 * index, 6 * index + 6).reduce((value, bit) => (value << 1) | bit, 0)
    // The outer bits select the row, the inner bits the column.
    const row = ((six >> 4) & 2) | (six & 1)
    const value = box[16 * row + ((six >> 1) & 15)] ?? 0
    narrow.push((value >> 3) & 1, (value >> 2) & 1, (value >> 1) & 1, value & 1)
  })
  return pick(narrow, roundPermutation)
}

function pick(bits: Bits, table: readonly number[]): number[] {
  return table.map((position) => bits[position - 1] ?? 0)
}

function toBits(bytes: Uint8Array): number[] {
  return Array.from(bytes).flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((shift) => (byte >> shift) & 1))
}

function toBytes(bits: Bits): Uint8Array {
  const bytes = new Uint8Array(bits.length / 8)
  bits.forEach((bit, i) => {
    bytes[i >> 3] = ((bytes[i >> 3] ?? 0) << 1) | bit
  })
  return bytes
}
