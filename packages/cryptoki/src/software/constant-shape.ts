/** Comparison of secrets: the same steps whatever the bytes are. JavaScript promises no more than that about time. */

/** Whether both hold the same bytes. Their lengths are no secret. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let at = 0; at < a.length; at++) difference |= (a[at] as number) ^ (b[at] as number)
  return difference === 0
}
