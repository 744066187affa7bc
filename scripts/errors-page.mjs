// docs/errors.md: every code with its class, what it means, and what a person is told. `node scripts/errors-page.mjs` writes it
// from the built packages and their sources; `npm run check` finds out when it is not as they have it.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packages, root } from './command.mjs'

const built = (folder, file) => import(pathToFileURL(join(root, 'packages', folder, 'dist', file)).href)

/** Classes with one literal code each: by code, with the class's doc comment. */
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

/** The list of codes of each union comes from the sources, so that one that is added is not forgotten. */
function reasonsOf(folder, file, type) {
  const text = readFileSync(join(root, 'packages', folder, 'src', file), 'utf8')
  const [, union] = new RegExp(`export type ${type} =([^\\n]*(?:\\n +\\|.*)*)`).exec(text)
  return [...union.matchAll(/'([^']+)'/g)].map(([, reason]) => reason)
}

/** All rows, by area. */
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
  if (missing.length > 0) throw new Error(`No class was found for ${missing.join(', ')}.`)
  return found
    .map(({ means, ...row }) => ({
      ...row,
      means: means.replaceAll('|', '\\|'),
      told: english.errors[row.code] ?? '',
    }))
    .sort((one, two) => (one.code < two.code ? -1 : 1))
}

/** The page as it should be. */
export async function errorsPage() {
  const all = await rows()
  const areas = [...new Set(all.map(({ code }) => code.split('/')[0]))]
  const tables = areas.map((area) => {
    const lines = all
      .filter(({ code }) => code.startsWith(`${area}/`))
      .map(({ code, name, means, told }) => `| \`${code}\` | \`${name}\` | ${means} | ${told} |`)
    const head = '| code | class | what it means | what the person is told |\n| --- | --- | --- | --- |'
    return `## ${area}\n\n${head}\n${lines.join('\n')}\n`
  })
  return `# Errors

Every error of the project is a \`WebtokiError\` with a literal \`code\`; the type \`WebtokiErrorCode\` of \`webtoki\` is the union of
all. Tell errors apart by \`isWebtokiError(error, ...codes)\`, and not by \`instanceof\`: a page may have two copies of a package.
\`cause\` says what led to an error; \`explain(error)\` of \`@webtoki/ui\` goes along the causes and takes the sentence of the most
particular code. Where the last column is empty, it tells the error's own message: a program's mistake, or a return value of
PKCS#11 that means nothing to a person or that this library does not give.

This page is written by \`node scripts/errors-page.mjs\`.

${tables.join('\n')}`
}

export const errorsPagePath = join(root, 'docs', 'errors.md')

/** Whether the page is as the sources have it. */
export async function isErrorsPageCurrent() {
  return existsSync(errorsPagePath) && readFileSync(errorsPagePath, 'utf8') === (await errorsPage())
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) writeFileSync(errorsPagePath, await errorsPage())
