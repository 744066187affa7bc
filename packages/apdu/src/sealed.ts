/** Records to be handed out: whoever reads them cannot change what others read. */
import { copyOf, isByteSource } from './bytes.ts'

/**
 * A frozen copy of the record. Arrays of bytes and dates cannot be frozen, so that each reading of one gives a copy of
 * its own. What else stands in it, such as a slot, is the same object.
 */
export function sealed<T extends object>(record: T): T {
  const copy = {}
  for (const [key, value] of Object.entries(record)) {
    const own: unknown = ownOf(value)
    const property = own === value ? { value: own } : { get: () => ownOf(own) }
    Object.defineProperty(copy, key, { enumerable: true, ...property })
  }
  return Object.freeze(copy) as T
}

function ownOf(value: unknown): unknown {
  if (isByteSource(value)) return copyOf(value)
  if (value instanceof Date) return new Date(value)
  return Array.isArray(value) ? Object.freeze([...(value as unknown[])]) : value
}
