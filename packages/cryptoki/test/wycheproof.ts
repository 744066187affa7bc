/** Project Wycheproof's vectors, as `vectors/wycheproof` keeps them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** One case; `result` 'acceptable' leaves it to the library, and the test says what ours does. */
export interface WycheproofTest {
  readonly tcId: number
  readonly comment: string
  readonly flags: readonly string[]
  readonly result: 'valid' | 'invalid' | 'acceptable'
}

/** The cases of a file, `F` and `G` being the hex fields of a case and of its group. */
export function wycheproof<F extends string, G extends string = never>(
  name: string,
): readonly (WycheproofTest &
  Readonly<Record<F, string>> & { readonly group: Readonly<Record<G, string>> })[] {
  const path = join(import.meta.dirname, 'vectors', 'wycheproof', `${name}.json.gz`)
  const { testGroups } = JSON.parse(gunzipSync(readFileSync(path)).toString())
  return testGroups.flatMap(({ tests, ...group }: { tests: readonly object[] }) =>
    tests.map((each) => ({ ...each, group })),
  )
}

/** Bytes of hex digits. */
export function hex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}
