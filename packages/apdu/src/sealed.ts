/** Immutable copies of records that several callers share. */
import { copyOf, isByteSource } from './bytes.ts'

/**
 * Returns a frozen copy of the record. Byte arrays and dates cannot be frozen, so reading such a property returns a new
 * copy each time. Arrays are copied and frozen. Other objects, such as a slot, are shared.
 */
export function sealed<T extends object>(record: T): T {
  const copy = {}
  for (const [key, value] of Object.entries(record)) {
    const own: unknown = copyOfValue(value)
    const property = own === value ? { value: own } : { get: () => copyOfValue(own) }
    Object.defineProperty(copy, key, { enumerable: true, ...property })
  }
  return Object.freeze(copy) as T
}

function copyOfValue(value: unknown): unknown {
  if (isByteSource(value)) return copyOf(value)
  if (value instanceof Date) return new Date(value)
  return Array.isArray(value) ? Object.freeze([...(value as unknown[])]) : value
}
