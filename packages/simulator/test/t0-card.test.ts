/** Tests of the card side of T=0, byte by byte (ISO/IEC 7816-3:2006, 10.3). */
import { describe, expect, it } from 'vitest'
import { createEchoCard, T0Card, type T0CardOptions } from '../src/index.ts'

async function responsesOf(options: T0CardOptions, ...sent: readonly (readonly number[])[]): Promise<string> {
  const card = new T0Card(createEchoCard(), options)
  const words: string[] = []
  for (const bytes of sent) {
    await card.receive(Uint8Array.from(bytes))
    const got: number[] = []
    for (let byte = card.next(); byte !== 'mute' && got.length < 12; byte = card.next()) got.push(byte)
    words.push(Buffer.from(got).toString('hex'))
  }
  return words.join(' ')
}

const caseTwo = [0, 0x12, 0, 3, 3]
const caseThree = [0, 0x10, 0, 0, 2]

describe('a T=0 card', () => {
  it('acknowledges with INS, and sends and receives all data at once', async () => {
    expect(await responsesOf({}, caseTwo, caseThree, [0xaa, 0xbb])).toBe('120001029000 10 6102')
  })

  it('acknowledges each byte with the complement of INS if acknowledges is byte-by-byte', async () => {
    const options = { acknowledges: 'byte-by-byte' } as const
    expect(await responsesOf(options, caseTwo)).toBe('ed00ed01ed029000')
    expect(await responsesOf(options, caseThree, [0xaa], [0xbb])).toBe('ef ef 6102')
  })

  it('requests time with NULL before every procedure byte or before the first one', async () => {
    expect(await responsesOf({ nulls: 2 }, caseTwo)).toBe('60601200010260609000')
    expect(await responsesOf({ nullsAtFirst: 2 }, caseTwo)).toBe('606012000102' + '9000')
  })

  it('returns the right P3 with 6Cxx, also for GET RESPONSE', async () => {
    expect(await responsesOf({}, [0, 0x12, 0, 3, 9])).toBe('6c03')
    expect(await responsesOf({}, caseThree, [1, 2], [0, 0xc0, 0, 0, 0], [0, 0xc0, 0, 0, 2])).toBe(
      '10 6102 6c02 c001029000',
    )
    expect(await responsesOf({}, caseThree, [1, 2], [0, 0xc0, 0, 0, 1], [0, 0xc0, 0, 0, 1])).toBe(
      '10 6102 c0016101 c0029000',
    )
  })

  it('breaks the protocol as the option breaksBy states', async () => {
    expect(await responsesOf({ breaksBy: 'wrong-procedure-byte' }, caseTwo, caseTwo)).toBe('0a ')
    expect(await responsesOf({ breaksBy: 'null-for-ever' }, caseTwo)).toBe('60'.repeat(12))
    expect(await responsesOf({ breaksBy: 'short-of-data' }, caseTwo, caseTwo)).toBe('120001 ')
    expect(await responsesOf({ breaksBy: 'short-of-data' }, caseThree, [0xaa, 0xbb])).toBe('10 ')
  })

  it('does not respond to data that it did not request', async () => {
    expect(await responsesOf({}, [...caseThree, 0xaa, 0xbb], caseTwo)).toBe(' ')
    expect(await responsesOf({}, caseThree, [0xaa, 0xbb, 0xcc])).toBe('10 ')
  })
})
