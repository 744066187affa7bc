/** The moments that certificates and signatures name: RFC 5280, 4.1.2.5; RFC 5652, 11.3. */
import { onlyElement, Tag } from './der.ts'

/**
 * A UTCTime (years 1950 to 2049) or GeneralizedTime in DER, as both standards want it: UTC written as `Z`, with seconds,
 * without fractions, a day and a second that exist. A GeneralizedTime may name a year before 2050 too: that breaks a
 * rule for writers, and has only one reading. Throws RangeError.
 */
export function readTime(der: Uint8Array): Date {
  const { tag, value } = onlyElement(der)
  const pattern = patterns.get(tag)
  // Every byte counts: one that is not ASCII matches nothing.
  const found = pattern?.exec(String.fromCharCode(...value.subarray(0, 16)))
  if (!found) throw new RangeError('not a time in DER')
  const [short = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number)
  const year = tag === Tag.generalizedTime ? short : short < 50 ? 2000 + short : 1900 + short
  const time = new Date(0)
  time.setUTCFullYear(year, month - 1, day)
  time.setUTCHours(hour, minute, second)
  // A Date makes the 31st of February a day in March, and of second 60 the next minute.
  const isReal =
    time.getUTCMonth() === month - 1 &&
    time.getUTCDate() === day &&
    time.getUTCHours() === hour &&
    time.getUTCMinutes() === minute &&
    time.getUTCSeconds() === second
  if (!isReal) throw new RangeError('a time that does not exist')
  return time
}

const patterns: ReadonlyMap<number, RegExp> = /* @__PURE__ */ new Map([
  [Tag.utcTime, /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/],
  [Tag.generalizedTime, /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/],
])
