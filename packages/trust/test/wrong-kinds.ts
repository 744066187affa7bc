/** Values of wrong types that a program without TypeScript may pass. */
export const wrongKinds: readonly (readonly [kind: string, value: unknown])[] = [
  ['null', null],
  ['a number', 7],
  ['a text', 'text'],
  ['[]', []],
  ['{}', {}],
]

/** Returns what the call threw or rejected with, or a text if it succeeded. */
export async function outcomeOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return 'the call succeeded'
  } catch (error) {
    return error
  }
}
