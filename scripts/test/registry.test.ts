// Checks the promise of docs/adding-an-algorithm.md that a new curve changes only two files: no other file names these curves.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const sources = readdirSync(join(root, 'packages'))
  .filter((folder) => folder !== 'simulator')
  .flatMap((folder) => {
    const path = `packages/${folder}/src`
    const all = existsSync(join(root, path)) ? readdirSync(join(root, path), { recursive: true }) : []
    return all.map((name) => `${path}/${String(name)}`).filter((name) => name.endsWith('.ts'))
  })

it.each(['brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1', 'secp256k1'])(
  'the curve %s is named only in the table of curves and in the arithmetic',
  (name) => {
    const naming = sources.filter((path) => codeOf(path).includes(name))
    expect(naming.sort()).toEqual([
      'packages/crypto/src/curve-arithmetic.ts',
      'packages/crypto/src/curves.ts',
    ])
  },
)

/** Returns the text of a file without its comments. */
function codeOf(path: string): string {
  return readFileSync(join(root, path), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}
