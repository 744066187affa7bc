// Checks that public signatures name their types. An editor shows a signature as it is written, and
// `Parameters<typeof f>[1]` does not help its reader.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript-5.9'
import { expect, it } from 'vitest'

const packages = join(import.meta.dirname, '..', '..', 'packages')
const entries = [
  'webtoki/src/index.ts',
  'webtoki/src/documents.ts',
  'documents/src/index.ts',
  'login/src/browser/index.ts',
  'login/src/server/index.ts',
]

/** Returns the text of an entry, and of each file that it exports names from. */
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

/** Returns the declarations, without bodies, of exported functions, types and classes and of the classes' public methods. */
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

const front = join(packages, 'webtoki/src/index.ts')
const parsed = (path: string) =>
  ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)

/** The names that a file exports, those of `export *` included. */
function exportsOf(path: string): readonly string[] {
  return parsed(path).statements.flatMap((statement): readonly string[] => {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause: clause, moduleSpecifier: from } = statement
      if (clause !== undefined && ts.isNamedExports(clause))
        return clause.elements.map(({ name }) => name.text)
      const target = from !== undefined && ts.isStringLiteral(from) ? from.text : ''
      const [, folder = '', entry = ''] = /^@webtoki\/(\w+)\/(\w+)$/.exec(target) ?? []
      // An entry of another package, or a file beside this one.
      return exportsOf(
        folder === '' ? join(dirname(path), target) : join(packages, folder, 'src', `${entry}.ts`),
      )
    }
    return exportedBy(statement)
  })
}

/** The name of a declaration that is exported where it stands. */
function exportedBy(statement: ts.Statement): readonly string[] {
  const { modifiers, name } = statement as ts.Statement & {
    readonly modifiers?: readonly ts.Node[]
    readonly name?: ts.Identifier
  }
  const isExported = modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
  return isExported && name !== undefined ? [name.text] : []
}

/** The types that a declaration names where its users see it: neither in bodies nor in private members. */
function typesIn(node: ts.Node): readonly string[] {
  if (
    ts.isBlock(node) ||
    (ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name))
  )
    return []
  const own = ts.isTypeReferenceNode(node) && ts.isIdentifier(node.typeName) ? [node.typeName.text] : []
  const under: string[] = []
  node.forEachChild((child) => void under.push(...typesIn(child)))
  return [...own, ...under]
}

it('each type of ours that a signature of the front door names is exported by the front door', () => {
  const exported = new Set(exportsOf(front))
  const missing = parsed(front).statements.flatMap((statement) => {
    if (!ts.isExportDeclaration(statement)) return []
    const { exportClause: clause, moduleSpecifier: from } = statement
    const file = /'(\.\/[\w-]+\.ts)'/.exec(from?.getText() ?? '')?.[1]
    if (file === undefined || clause === undefined || !ts.isNamedExports(clause)) return []
    const source = parsed(join(dirname(front), file))
    // What the file exports or imports from another package of ours; the others are the platform's or a library's.
    const ours = source.statements.flatMap((each): readonly string[] => {
      if (ts.isImportDeclaration(each)) {
        const bindings = each.importClause?.namedBindings
        const isOurs = /'(@webtoki\/|\.)/.test(each.moduleSpecifier.getText())
        return isOurs && bindings !== undefined && ts.isNamedImports(bindings)
          ? bindings.elements.map(({ name }) => name.text)
          : []
      }
      return exportedBy(each)
    })
    const names = clause.elements.map(({ name }) => name.text)
    return source.statements
      .filter((each) => names.includes((each as { readonly name?: ts.Identifier }).name?.text ?? ''))
      .flatMap((each) => typesIn(each))
      .filter((type) => ours.includes(type) && !exported.has(type))
      .map((type) => `${file}: ${type}`)
  })
  expect(exported.size).toBeGreaterThan(50)
  expect([...new Set(missing)]).toEqual([])
})
