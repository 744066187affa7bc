// What an editor shows of a public function is its signature as it is written: `Parameters<typeof f>[1]` tells nobody
// anything, a name does.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'

const packages = join(import.meta.dirname, '..', '..', 'packages')
const entries = [
  'webtoki/src/index.ts',
  'webtoki/src/documents.ts',
  'documents/src/index.ts',
  'login/src/browser/index.ts',
  'login/src/server/index.ts',
]

/** An entry's own text, and the text of each file of the package that it exports names of. */
function sourcesOf(entry: string): readonly { readonly text: string; readonly names: RegExp }[] {
  const path = join(packages, entry)
  const text = readFileSync(path, 'utf8')
  const exported = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']+)'/gm)]
  return [
    { text, names: /\w+/ },
    ...exported.map(([, list = '', file = '']) => ({
      text: readFileSync(join(dirname(path), file), 'utf8'),
      names: new RegExp([...list.matchAll(/(?:type )?(\w+)(?: as \w+)?/g)].map(([, name]) => name).join('|')),
    })),
  ]
}

/** The heads of exported functions, interfaces and type aliases, and of the public methods of exported classes. */
function headsOf(text: string, names: RegExp): readonly string[] {
  const exports = text.matchAll(
    /^export (?:abstract )?(?:async )?(?:function|interface|class|type) (\w+)[\s\S]*?(?:\{$|\n\n|\n?$(?![\s\S]))/gm,
  )
  const methods = /^export class/m.test(text)
    ? text.matchAll(/^ {2}(?:static |async )*()\w+(?:<\w+>)?\([\s\S]*?\{$/gm)
    : []
  return [
    ...[...exports].filter(([, name = '']) => new RegExp(`^(?:${names.source})$`).test(name)),
    ...methods,
  ].map(([head]) => head)
}

it.each(entries)('the public signatures of %s name their types', (entry) => {
  const heads = sourcesOf(entry).flatMap(({ text, names }) => headsOf(text, names))
  expect(heads.length).toBeGreaterThan(0)
  expect(heads.filter((head) => /\b(?:Pick|Parameters|ReturnType|Awaited)</.test(head))).toEqual([])
})
