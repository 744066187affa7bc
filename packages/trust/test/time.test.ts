import { readTime } from '@webtoki/crypto'
import { PathError, verifyPath } from '@webtoki/trust/path'
import { beforeAll, describe, expect, it } from 'vitest'
import { der, type Issued, issue, reissue, text } from './pki.ts'

const utc = (time: string): Uint8Array => der(0x17, text(time))
const generalized = (time: string): Uint8Array => der(0x18, text(time))

describe('a time in DER', () => {
  it.each([
    ['UTCTime of 2049', utc('491231235959Z'), '2049-12-31T23:59:59.000Z'],
    ['UTCTime of 1950', utc('500101000000Z'), '1950-01-01T00:00:00.000Z'],
    ['UTCTime of a leap day', utc('280229120000Z'), '2028-02-29T12:00:00.000Z'],
    ['GeneralizedTime of 2050', generalized('20500101000000Z'), '2050-01-01T00:00:00.000Z'],
    [
      'GeneralizedTime of a year that UTCTime has too',
      generalized('20260102030405Z'),
      '2026-01-02T03:04:05.000Z',
    ],
    ['GeneralizedTime of 9999, for no expiry', generalized('99991231235959Z'), '9999-12-31T23:59:59.000Z'],
    ['GeneralizedTime of the first century', generalized('00500101000000Z'), '0050-01-01T00:00:00.000Z'],
  ])('%s is parsed', (_what, bytes, expected) => {
    expect(readTime(bytes).toISOString()).toBe(expected)
  })

  it.each(wrongTimes())('%s is refused', (_what, bytes) => {
    expect(() => readTime(bytes)).toThrow(RangeError)
  })
})

function wrongTimes(): readonly (readonly [string, Uint8Array])[] {
  return [
    ['UTCTime without seconds', utc('2612150000Z')],
    ['UTCTime with an offset', utc('261215000000+0100')],
    ['UTCTime of local time', utc('261215000000')],
    ['UTCTime with a fraction', utc('261215000000.5Z')],
    ['UTCTime of month 13', utc('261315000000Z')],
    ['UTCTime of month 0', utc('260015000000Z')],
    ['UTCTime of day 0', utc('260100000000Z')],
    ['UTCTime of the 31st of April', utc('260431000000Z')],
    ['UTCTime of a leap day in a common year', utc('260229000000Z')],
    ['UTCTime of hour 24', utc('260101240000Z')],
    ['UTCTime of minute 60', utc('260101006000Z')],
    ['UTCTime of second 60', utc('260101000060Z')],
    ['UTCTime with a small z', utc('260101000000z')],
    ['UTCTime with a sign', utc('26010100000-Z')],
    ['UTCTime with digits of another script', utc('26010100000\u00b2Z')],
    ['UTCTime of no bytes', utc('')],
    ['UTCTime of letters', utc('notatime')],
    ['UTCTime with a byte after the Z', utc('260101000000Z\0')],
    [
      'UTCTime with a length that is not the shortest',
      Uint8Array.of(0x17, 0x81, 13, ...text('260101000000Z')),
    ],
    ['UTCTime in two pieces', der(0x37, der(0x17, text('2601010000')), der(0x17, text('00Z')))],
    ['GeneralizedTime of two digits', generalized('260101000000Z')],
    ['GeneralizedTime with a fraction', generalized('20260101000000.0Z')],
    ['GeneralizedTime without minutes', generalized('2026010100Z')],
    ['a PrintableString', der(0x13, text('260101000000Z'))],
    ['an INTEGER', der(0x02, [1])],
    ['nothing', new Uint8Array()],
  ]
}

describe('a certificate whose', () => {
  const at = new Date('2026-11-24T12:00:00Z')
  let root: Issued
  beforeAll(async () => {
    root = await issue({ name: 'root', isCa: true })
  })

  const reasonOf = async (leaf: Issued, anchor: Issued, between: readonly Issued[] = []): Promise<string> => {
    const intermediates = between.map((each) => each.der)
    try {
      await verifyPath(leaf.der, { anchors: [anchor.der], intermediates, at })
      return 'trusted'
    } catch (error) {
      return error instanceof PathError ? error.reason : String(error)
    }
  }
  const validity = (from: Uint8Array, to: Uint8Array): Uint8Array => der(0x30, from, to)
  const before = utc('260101000000Z')
  const after = utc('360101000000Z')

  it('times are UTCTime or GeneralizedTime in seconds is trusted', async () => {
    const leaf = await reissue(await issue({ name: 'leaf', issuer: root }), root, {
      validity: validity(before, generalized('20360101000000Z')),
    })
    expect(await reasonOf(leaf, root)).toBe('trusted')
  })

  it.each(wrongTimes())('notBefore or notAfter is %s is malformed', async (_what, time) => {
    const leaf = await issue({ name: 'leaf', issuer: root })
    for (const wrong of [validity(time, after), validity(before, time)])
      expect(await reasonOf(await reissue(leaf, root, { validity: wrong }), root)).toBe('malformed')
  })

  it('issuer or anchor has a malformed time is untrusted', async () => {
    const wrong = { validity: validity(utc('2612150000Z'), after) }
    const ca = await issue({ name: 'ca', issuer: root, isCa: true })
    const leaf = await issue({ name: 'leaf', issuer: ca })
    expect(await reasonOf(leaf, root, [ca])).toBe('trusted')
    expect(await reasonOf(leaf, root, [await reissue(ca, root, wrong)])).toBe('untrusted')
    // An anchor that cannot be parsed is ignored.
    expect(await reasonOf(leaf, await reissue(ca, root, wrong))).toBe('untrusted')
  })

  it('validity has one time or three times is malformed', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root })
    for (const wrong of [der(0x30, before), der(0x30, before, after, after)])
      expect(await reasonOf(await reissue(leaf, root, { validity: wrong }), root)).toBe('malformed')
  })
})
