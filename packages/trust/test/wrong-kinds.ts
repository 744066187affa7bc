/** What programs without types hand in by mistake. */
export const wrongKinds: readonly (readonly [kind: string, value: unknown])[] = [
  ['null', null],
  ['a number', 7],
  ['a text', 'text'],
  ['[]', []],
  ['{}', {}],
]

/** What was thrown, at once or later; a text if nothing was. */
export async function outcomeOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return 'nothing was refused'
  } catch (error) {
    return error
  }
}
