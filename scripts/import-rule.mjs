// The table of allowed imports: a package of meaning never depends on one of wires, and packages of one level never import
// each other (docs/architecture.md). `node scripts/import-rule.mjs` generates the linter's overrides and TypeScript's project
// references from it. `npm run check` fails if they are outdated.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packages, readJson, root } from './command.mjs'

/**
 * The workspace packages that each package may import in src/ and name in its manifest. `apdu/bytes` allows only that entry
 * of apdu. Tests may import any package in devDependencies.
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

/** Returns the names of the workspace packages that this one may depend on. */
export const packagesFor = (folder) => new Set(mayImport[folder].map((entry) => nameOf(entry.split('/')[0])))

/** The packages that run only in Node. All others must not import its modules. */
const nodeOnly = ['cli']

const byPath = {
  regex: '^\\.\\.?/(.*/)?(src|dist)/',
  message: 'Import other packages by name, not by path.',
}
const noNode = {
  regex: '^node:',
  message: 'This package also runs in browsers, which have no node: modules.',
}

function override(files, entries, mayUseNode) {
  const own = entries.map(nameOf)
  // The name of a package allows all of its entries, `apdu/bytes` only that entry.
  const allowed = own.flatMap((name) =>
    name.startsWith('@') && name.split('/').length > 2 ? [`!${name}`] : [`!${name}`, `!${name}/**`],
  )
  const message = `This package may import ${own.length === 0 ? 'no other package' : `only ${own.join(', ')}`} of the workspace.`
  const patterns = [
    { group: ['@webtoki/*', '@webtoki/*/**', 'webtoki', 'webtoki/**', ...allowed], message },
    byPath,
    ...(mayUseNode ? [] : [noNode]),
  ]
  return { files: [files], rules: { 'no-restricted-imports': ['error', { patterns }] } }
}

/** Returns the linter's overrides. */
function lintRules() {
  const overrides = Object.entries(mayImport).map(([folder, entries]) =>
    override(`packages/${folder}/src/**`, entries, nodeOnly.includes(folder)),
  )
  // The part of the simulator that runs only in Node: the virtual USB bus and vpcd, which need sockets.
  overrides.push(override('packages/simulator/src/node/**', mayImport.simulator, true))
  return { overrides }
}

/** Returns a package's TypeScript references: its dependencies, and parts of them that are separate projects. */
function references({ folder, manifest }) {
  const needed = [...packagesFor(folder)].filter((name) => name in (manifest.dependencies ?? {}))
  const paths = needed.map((name) => `../${name.replace('@webtoki/', '')}`)
  if (nodeOnly.includes(folder) && paths.includes('../simulator')) paths.push('../simulator/src/node')
  return paths.sort().map((path) => ({ path }))
}

/** Returns the generated files: their paths, each with its content as an object. */
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

/** Returns the paths of generated files that do not match the table. */
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
