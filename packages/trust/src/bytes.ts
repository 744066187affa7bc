/** Bytes as keys of a Map. */

/** The bytes as a key of a Map: one character a byte. */
export function keyOf(bytes: Uint8Array): string {
  let key = ''
  // As arguments of one call, more would overflow the stack; spread, they would take six times as long.
  for (let at = 0; at < bytes.length; at += 4096)
    key += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + 4096)) as string
  return key
}
