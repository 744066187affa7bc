// What a machine can see of plain English in code and tests: words that are not the field's, and long test names.
import { readFileSync } from 'node:fs'
import ts from 'typescript-6'
import { ask, root } from './command.mjs'

/** The longest name of a test, and of a group of tests, in characters. */
export const MAX_TEST_NAME = 100

/**
 * Words that hide a term of the field, each with what to write instead. The list is closed: a word belongs here only if it
 * is never the right one in this code.
 */
export const banned = {
  anew: 'again',
  'go on': 'continue, resume',
  'goes on': 'continues, resumes',
  'hash bytes': 'digest length, digestBytes',
  house: 'project',
  'let go': 'release',
  neighbour: 'the other slot, the next member',
  neighbours: 'the other slots, the next members',
  'one call': 'single-part function',
  'one calls': 'single-part functions',
  patience: 'exchange options, time-out',
  room: 'capacity, space',
  station: 'step, layer',
  stranger: 'unsolicited response, unknown card',
  strangers: 'unsolicited responses, unknown cards',
  wherever: 'in each place where',
  whoever: 'the caller, code that',
}

const word = new RegExp(`\\b(?:${Object.keys(banned).join('|')})\\b`, 'g')

/** The banned words of a text, as `line: word → what to write`. Finds them within camelCase names too. */
export function bannedWords(text) {
  return text.split('\n').flatMap((line, index) => {
    const apart = line
      .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
      .replace(/[-_]/g, ' ')
      .toLowerCase()
    return [...apart.matchAll(word)].map(([found]) => `${index + 1}: "${found}"; write ${banned[found]}`)
  })
}

/** The names of tests and groups in a test file, with their lines. Of a template, the text without its substitutions. */
export function testNames(text) {
  const source = ts.createSourceFile('test.ts', text, ts.ScriptTarget.Latest, true)
  const names = []
  const visit = (node) => {
    if (ts.isCallExpression(node) && isTest(node.expression) && node.arguments.length > 0) {
      const name = textOf(node.arguments[0])
      if (name !== undefined) {
        names.push({ line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1, name })
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return names
}

/** True for `it`, `test` and `describe`, alone or as in `it.each(table)` and `it.skipIf(condition)`. */
function isTest(callee) {
  if (ts.isIdentifier(callee)) return /^(?:it|test|describe)$/.test(callee.text)
  if (ts.isPropertyAccessExpression(callee) || ts.isCallExpression(callee)) return isTest(callee.expression)
  return ts.isTaggedTemplateExpression(callee) && isTest(callee.tag)
}

function textOf(node) {
  if (ts.isStringLiteralLike(node)) return node.text
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map((span) => span.literal.text).join('')
  return undefined
}

/** Every complaint about the code and the tests of the project, with file and line. */
export function languageFaults() {
  const { output } = ask('git', ['ls-files', '-co', '--exclude-standard', '*.ts', '*.tsx', '*.mjs'], {
    cwd: root,
  })
  const files = output
    .split('\n')
    .filter(
      (path) =>
        path !== '' &&
        !/\/(?:vectors|data|fixtures)\//.test(path) &&
        !/^scripts\/(?:test\/)?language\./.test(path),
    )
  return files.flatMap((path) => {
    const text = readFileSync(`${root}/${path}`, 'utf8')
    const words = bannedWords(text)
    const names = path.endsWith('.test.ts')
      ? testNames(text)
          .filter(({ name }) => name.length > MAX_TEST_NAME)
          .map(
            ({ line, name }) =>
              `${line}: a test's name of ${name.length} characters; at most ${MAX_TEST_NAME}`,
          )
      : []
    return [...words, ...names].map((fault) => `${path}:${fault}`)
  })
}
