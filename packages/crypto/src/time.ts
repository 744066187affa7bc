/** Times in certificates and signatures: RFC 5280, 4.1.2.5; RFC 5652, 11.3. */
import { onlyElement, Tag } from './der.ts'

/**
 * Decodes a UTCTime (years 1950 to 2049) or GeneralizedTime in DER. As both standards require, it must be in UTC (`Z`), have
 * seconds but no fractions, and exist in the calendar. A GeneralizedTime before 2050 is accepted: it violates a rule for
 * writers but is unambiguous. Throws RangeError.
 */
export function readTime(der: Uint8Array): Date {
  const { tag, value } = onlyElement(der)
  const pattern = patterns.get(tag)
  // Byte by byte, so that a byte that is not ASCII never matches.
  const found = pattern?.exec(String.fromCharCode(...value.subarray(0, 16)))
  if (!found) throw new RangeError('not a time in DER')
  const [short = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number)
  const year = tag === Tag.generalizedTime ? short : short < 50 ? 2000 + short : 1900 + short
  const time = new Date(0)
  time.setUTCFullYear(year, month - 1, day)
  time.setUTCHours(hour, minute, second)
  // Date turns 31 February into a day in March, and second 60 into the next minute.
  const exists =
    time.getUTCMonth() === month - 1 &&
    time.getUTCDate() === day &&
    time.getUTCHours() === hour &&
    time.getUTCMinutes() === minute &&
    time.getUTCSeconds() === second
  if (!exists) throw new RangeError('a time that does not exist')
  return time
}

const patterns: ReadonlyMap<number, RegExp> = /* @__PURE__ */ new Map([
  [Tag.utcTime, /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/],
  [Tag.generalizedTime, /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/],
])
