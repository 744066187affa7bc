/** 10,000 random and mutated ATRs: each is decoded with values within their bounds, or refused with MalformedError. */
import fc from 'fast-check'
import { afterAll, describe, it } from 'vitest'
import { atrStatesChaining, atrStatesExtended, decodeAtr } from '../src/atr.ts'
import { MalformedError } from '../src/errors.ts'

const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {}
const numRuns = 10_000 * Number(env['WEBTOKI_FUZZ'] ?? 1)
const seed = Number(env['WEBTOKI_SEED'] ?? 20_261_125)

const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(' ', ''), 'hex')]
const good = [
  '3b 00',
  '3b 80 01 81',
  '3f c0 ff 81 71 80 75 01 3b',
  '3b 90 96 11 81 96',
  '3b 85 80 01 80 73 c0 21 c0 d6',
  '3b 95 96 80 31 fe 45 80 73 c0 21 c0 bf',
].map(hex)
const byte = fc.integer({ min: 0, max: 255 })
const atr = fc.oneof(
  fc.array(byte, { maxLength: 40 }),
  fc.tuple(fc.constantFrom(0x3b, 0x3f), fc.array(byte, { maxLength: 34 })).map(([ts, rest]) => [ts, ...rest]),
  fc
    .tuple(fc.constantFrom(...good), fc.array(fc.tuple(fc.nat(14), byte), { maxLength: 3 }), fc.nat(14))
    .map(([whole, changes, end]) => {
      const bytes = whole.slice(0, end > 2 ? end : whole.length)
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      return bytes
    }),
)

function must(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}

afterAll(() => console.log(`seed ${seed}: ${numRuns} ATRs`))

describe('an answer to reset', () => {
  it('of random bytes is decoded or throws MalformedError, and leniently always decoded from two bytes on', () => {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      fc.assert(
        fc.property(atr, (numbers) => {
          const bytes = Uint8Array.from(numbers)
          let strict: ReturnType<typeof decodeAtr> | undefined
          try {
            strict = decodeAtr(bytes)
          } catch (reason) {
            if (!(reason instanceof MalformedError)) throw reason
          }
          atrStatesExtended(bytes)
          atrStatesChaining(bytes)
          if (bytes.length < 2) return
          const lenient = decodeAtr(bytes, { lenient: true })
          must(
            (strict !== undefined) === (lenient.faults.length === 0),
            'Strict and lenient decoding disagree on the faults.',
          )
          must(
            lenient.protocols.length > 0 && !lenient.protocols.includes(15),
            'T=15 is listed as a protocol.',
          )
          must(lenient.historicalBytes.length <= 15, 'There are more than 15 historical bytes.')
          must(lenient.interfaceBytes.length <= bytes.length, 'There are more groups than bytes.')
          if (strict?.t1 !== undefined)
            must(
              strict.t1.ifscBytes > 0 && strict.t1.ifscBytes < 255 && strict.t1.bwi <= 9,
              'The parameters of T=1 are out of bounds.',
            )
        }),
        { seed, numRuns },
      )
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  })
})
