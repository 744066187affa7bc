// Generates docs/errors.md, a table of every error code with its class, its meaning and the sentence shown to people, from the
// built packages and their sources. `node scripts/errors-page.mjs` writes the page, `npm run check` fails if it is outdated.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packages, root } from './command.mjs'

const built = (folder, file) => import(pathToFileURL(join(root, 'packages', folder, 'dist', file)).href)

/** Finds the error classes with one literal code, by code, each with its name and its doc comment. */
function classesOfOneCode() {
  const found = new Map()
  for (const { path } of packages()) {
    const folder = join(path, 'src')
    if (!existsSync(folder)) continue
    for (const file of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.ts'))) {
      const text = readFileSync(join(folder, file), 'utf8')
      const classes = text.matchAll(
        /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport class (\w+) extends \w*Error \{\n(?: +.*\n)*? +readonly code = '([^']+)'/g,
      )
      for (const [, comment, name, code] of classes) found.set(code, { name, means: plain(comment) })
    }
  }
  return found
}

const plain = (comment) =>
  comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trim())
    .join(' ')
    .trim()

/** Reads the members of a union type from the sources, so that a new member is not forgotten. */
function reasonsOf(folder, file, type) {
  const text = readFileSync(join(root, 'packages', folder, 'src', file), 'utf8')
  const [, union] = new RegExp(`export type ${type} =([^\\n]*(?:\\n +\\|.*)*)`).exec(text)
  return [...union.matchAll(/'([^']+)'/g)].map(([, reason]) => reason)
}

/** Returns all rows of the tables, sorted by code. */
async function rows() {
  const { english } = await built('ui', 'strings.js')
  const { CKR, CryptokiError } = await built('cryptoki', 'index.js')
  const { DocumentError } = await built('documents', 'errors.js')
  const { LoginError } = await built('login', 'server/errors.js')
  const { PathError } = await built('trust', 'errors.js')
  const found = [...classesOfOneCode()].map(([code, { name, means }]) => ({ code, name, means }))
  const byReason = (Class, reasons) => {
    for (const reason of reasons) {
      const { code, name, message } = new Class(reason)
      found.push({ code, name, means: message })
    }
  }
  byReason(DocumentError, reasonsOf('documents', 'errors.ts', 'DocumentReason'))
  byReason(LoginError, reasonsOf('login', 'server/errors.ts', 'LoginReason'))
  byReason(PathError, reasonsOf('trust', 'errors.ts', 'PathReason'))
  byReason(CryptokiError, Object.values(CKR))
  const known = new Set(found.map(({ code }) => code))
  const missing = Object.keys(english.errors).filter((key) => !known.has(key.split('/', 2).join('/')))
  if (missing.length > 0) throw new Error(`No error class was found for ${missing.join(', ')}.`)
  return found
    .map(({ means, ...row }) => ({
      ...row,
      means: means.replaceAll('|', '\\|'),
      sentence: english.errors[row.code] ?? '',
    }))
    .sort((one, two) => (one.code < two.code ? -1 : 1))
}

/** Returns the text of the page. */
export async function errorsPage() {
  const all = await rows()
  const areas = [...new Set(all.map(({ code }) => code.split('/')[0]))]
  const tables = areas.map((area) => {
    const lines = all
      .filter(({ code }) => code.startsWith(`${area}/`))
      .map(({ code, name, means, sentence }) => `| \`${code}\` | \`${name}\` | ${means} | ${sentence} |`)
    const head = '| code | class | meaning | sentence shown to people |\n| --- | --- | --- | --- |'
    return `## ${area}\n\n${head}\n${lines.join('\n')}\n`
  })
  return `# Errors

Every error of the project is a \`WebtokiError\` with a literal \`code\`. The type \`WebtokiErrorCode\` of \`webtoki\` is the union of
all codes. Distinguish errors with \`isWebtokiError(error, ...codes)\`, not with \`instanceof\`, because a page may load two copies of
a package. \`cause\` is the error that led to this one. \`explain(error)\` of \`@webtoki/ui\` follows the causes and returns the sentence
of the most specific code. If the last column is empty, it returns the error's own message: the error is a mistake of the program,
or a return value of PKCS#11 that means nothing to people or that this library does not return.

\`node scripts/errors-page.mjs\` generates this page.

${tables.join('\n')}`
}

export const errorsPagePath = join(root, 'docs', 'errors.md')

/** True if the page matches the sources. */
export async function isErrorsPageCurrent() {
  return existsSync(errorsPagePath) && readFileSync(errorsPagePath, 'utf8') === (await errorsPage())
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) writeFileSync(errorsPagePath, await errorsPage())
