/** Every deviation of a single reader that this driver knows, for a person who wants to read or check them. */
import { padQuirks } from './pad-quirks.ts'
import { quirkReasons } from './quirk-reasons.ts'
import { readerQuirks } from './quirks.ts'

/** One entry. */
export interface ListedQuirk {
  /** `vendor:product` in hex, or a vendor alone. */
  readonly id: string
  /** The reader as such, or its keys. */
  readonly about: 'reader' | 'PIN pad'
  readonly why: string
  readonly source: string
}

/** All entries, by their ids. */
export function listQuirks(): readonly ListedQuirk[] {
  return [
    ...readerQuirks.map(([id, { name }]) => ({ id, about: 'reader' as const, ...quirkReasons[name] })),
    ...padQuirks.map(([id, { why, source }]) => ({ id, about: 'PIN pad' as const, why, source })),
  ].sort((one, other) => one.id.localeCompare(other.id))
}
