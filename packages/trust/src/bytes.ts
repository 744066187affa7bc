/** Bytes as keys of a Map. */
import { viewOf } from '@webtoki/apdu/bytes'

/** The bytes as a key of a Map: one character a byte. */
export function keyOf(source: Uint8Array): string {
  // An ArrayBuffer has no length, and all would have one key.
  const bytes = viewOf(source)
  let key = ''
  // As arguments of one call, more would overflow the stack; spread, they would take six times as long.
  for (let at = 0; at < bytes.length; at += 4096)
    key += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + 4096)) as string
  return key
}
