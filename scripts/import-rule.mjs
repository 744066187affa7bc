// The rule of imports, in one table: imports point to meaning, never to wires; packages of one level never meet. The
// linter's overrides and TypeScript's references are written from it: `node scripts/import-rule.mjs` writes them, and
// `npm run check` finds out when they are not as the table has them.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packages, readJson, root } from './command.mjs'

/**
 * What of the workspace each package may import in src/ and name in its manifest; `apdu/bytes` is that entry of apdu
 * alone. Tests meet whom they need, by devDependencies.
 */
export const mayImport = {
  apdu: [],
  simulator: [],
  crypto: ['apdu'],
  device: ['apdu'],
  trust: ['apdu/bytes', 'apdu/errors', 'crypto'],
  ccid: ['apdu', 'device'],
  cryptoki: ['apdu', 'crypto'],
  webcrypto: ['apdu/bytes', 'apdu/errors', 'cryptoki', 'trust', 'crypto'],
  login: ['apdu/bytes', 'apdu/errors', 'trust', 'crypto'],
  documents: ['apdu/bytes', 'apdu/errors', 'apdu/pace', 'apdu/source', 'trust', 'crypto'],
  webtoki: ['apdu', 'device', 'ccid', 'cryptoki', 'trust', 'crypto', 'webcrypto', 'login', 'documents'],
  ui: ['webtoki'],
  cli: ['apdu', 'device', 'ccid', 'cryptoki', 'crypto', 'webtoki', 'simulator'],
}

const nameOf = (entry) => (entry === 'webtoki' ? entry : `@webtoki/${entry}`)

/** Names of the packages of the workspace that this one may depend on. */
export const packagesFor = (folder) => new Set(mayImport[folder].map((entry) => nameOf(entry.split('/')[0])))

/** Packages that run in Node alone; all others keep away from its modules. */
const inNode = ['cli']

const byPath = {
  regex: '^\\.\\.?/(.*/)?(src|dist)/',
  message: 'Other packages are not reached by path.',
}
const noNode = { regex: '^node:', message: 'This package also runs in browsers.' }

function override(files, entries, mayUseNode) {
  const own = entries.map(nameOf)
  // A whole package has all of its entries; `apdu/bytes` is one entry.
  const allowed = own.flatMap((name) =>
    name.startsWith('@') && name.split('/').length > 2 ? [`!${name}`] : [`!${name}`, `!${name}/**`],
  )
  const message = `Of the workspace, this package may import ${own.length === 0 ? 'nothing' : own.join(', ')}.`
  const patterns = [
    { group: ['@webtoki/*', '@webtoki/*/**', 'webtoki', 'webtoki/**', ...allowed], message },
    byPath,
    ...(mayUseNode ? [] : [noNode]),
  ]
  return { files: [files], rules: { 'no-restricted-imports': ['error', { patterns }] } }
}

/** The linter's part of the rule. */
function lintRules() {
  const overrides = Object.entries(mayImport).map(([folder, entries]) =>
    override(`packages/${folder}/src/**`, entries, inNode.includes(folder)),
  )
  // The simulator's part for Node: the bus behind sockets.
  overrides.push(override('packages/simulator/src/node/**', mayImport.simulator, true))
  return { overrides }
}

/** A package's references: what its manifest names, and parts that are projects of their own. */
function references({ folder, manifest }) {
  const needed = [...packagesFor(folder)].filter((name) => name in (manifest.dependencies ?? {}))
  const paths = needed.map((name) => `../${name.replace('@webtoki/', '')}`)
  if (inNode.includes(folder) && paths.includes('../simulator')) paths.push('../simulator/src/node')
  return paths.sort().map((path) => ({ path }))
}

/** Files that follow from the table, with the text that each should have. */
export function generated() {
  const files = new Map()
  files.set(join(root, '.oxlintrc.imports.json'), lintRules())
  for (const each of packages()) {
    const path = join(each.path, 'tsconfig.json')
    const { references: _, ...config } = readJson(path)
    const found = references(each)
    files.set(path, found.length === 0 ? config : { ...config, references: found })
  }
  return files
}

/** Names of generated files that are not as the table has them. */
export function outdated() {
  return [...generated()]
    .filter(
      ([path, wanted]) => !existsSync(path) || JSON.stringify(readJson(path)) !== JSON.stringify(wanted),
    )
    .map(([path]) => path)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [path, wanted] of generated()) {
    const text = `${JSON.stringify(wanted, undefined, 2)}\n`
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text)
  }
}
