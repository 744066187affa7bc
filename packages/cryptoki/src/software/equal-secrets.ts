/** Comparison of secrets in the same steps whatever the bytes are. JavaScript gives no stronger guarantee about time. */

/** Returns whether both contain the same bytes. Their lengths are not secret. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let at = 0; at < a.length; at++) difference |= (a[at] as number) ^ (b[at] as number)
  return difference === 0
}
