/** T=0 by hand: what a card says to a reader that knows nothing but bytes (ISO/IEC 7816-3:2006, 10.3). */
import { describe, expect, it } from 'vitest'
import { createEchoCard, T0Card, type T0CardOptions } from '../src/index.ts'

async function said(options: T0CardOptions, ...sent: readonly (readonly number[])[]): Promise<string> {
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

const give = [0, 0x12, 0, 3, 3]
const take = [0, 0x10, 0, 0, 2]

describe('a T=0 card', () => {
  it('acknowledges by INS, gives data, and takes it', async () => {
    expect(await said({}, give, take, [0xaa, 0xbb])).toBe('120001029000 10 6102')
  })

  it('acknowledges byte by byte by the complement', async () => {
    const options = { acknowledges: 'byte-by-byte' } as const
    expect(await said(options, give)).toBe('ed00ed01ed029000')
    expect(await said(options, take, [0xaa], [0xbb])).toBe('ef ef 6102')
  })

  it('asks for time by NULL, before any procedure byte or the first alone', async () => {
    expect(await said({ nulls: 2 }, give)).toBe('60601200010260609000')
    expect(await said({ nullsAtFirst: 2 }, give)).toBe('606012000102' + '9000')
  })

  it('tells the right P3 by 6Cxx, for data and for what GET RESPONSE waits for', async () => {
    expect(await said({}, [0, 0x12, 0, 3, 9])).toBe('6c03')
    expect(await said({}, take, [1, 2], [0, 0xc0, 0, 0, 0], [0, 0xc0, 0, 0, 2])).toBe(
      '10 6102 6c02 c001029000',
    )
    expect(await said({}, take, [1, 2], [0, 0xc0, 0, 0, 1], [0, 0xc0, 0, 0, 1])).toBe(
      '10 6102 c0016101 c0029000',
    )
  })

  it('misbehaves as it is told', async () => {
    expect(await said({ breaksBy: 'wrong-procedure-byte' }, give, give)).toBe('0a ')
    expect(await said({ breaksBy: 'null-for-ever' }, give)).toBe('60'.repeat(12))
    expect(await said({ breaksBy: 'short-of-data' }, give, give)).toBe('120001 ')
    expect(await said({ breaksBy: 'short-of-data' }, take, [0xaa, 0xbb])).toBe('10 ')
  })

  it('data that it has not asked for is no command', async () => {
    expect(await said({}, [...take, 0xaa, 0xbb], give)).toBe(' ')
    expect(await said({}, take, [0xaa, 0xbb, 0xcc])).toBe('10 ')
  })
})
