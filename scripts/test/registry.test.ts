// docs/adding-an-algorithm.md promises that a new curve touches two files. These were added so: nothing else names them.
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
  'the curve %s is named in two files, its row and its arithmetic, and nowhere else',
  (name) => {
    const naming = sources.filter((path) => codeOf(path).includes(name))
    expect(naming.sort()).toEqual([
      'packages/crypto/src/curve-arithmetic.ts',
      'packages/crypto/src/curves.ts',
    ])
  },
)

/** Without comments. */
function codeOf(path: string): string {
  return readFileSync(join(root, path), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}
