// `npm run check`: checks types, lint, format, imports, documentation and the packed packages. Prints one line for each check,
// `ok NAME` or `FAIL NAME`, and ends with `N passed, N failed`.
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { ask, conclude, InterruptedError, installed, packages, pnpm, readJson, root } from './command.mjs'
import { checkConsumers } from './consumer.mjs'
import { isErrorsPageCurrent } from './errors-page.mjs'
import { languageFaults } from './language.mjs'
import { mayImport, outdated, packagesFor } from './import-rule.mjs'
import { faultsOf } from './metadata.mjs'
import { examples, runExamples } from './readme.mjs'
import { setup } from './setup.mjs'

const total = { passed: 0, failed: 0 }

/** Runs one check and prints its result. It fails if `work` returns a text or a non-empty list, or throws. */
async function check(name, work) {
  let complaint
  try {
    const result = await work()
    complaint = Array.isArray(result) ? result.join('\n') : result
  } catch (error) {
    complaint = error.message
  }
  total[complaint ? 'failed' : 'passed'] += 1
  console.log(complaint ? `FAIL ${name}\n${complaint.trimEnd().replace(/^/gm, '     ')}` : `ok ${name}`)
  return !complaint
}

/** Runs a program and returns its output if its exit code is not 0. */
function checkWith(program, args, options) {
  const { code, transcript } = ask(program, args, options)
  return code === 0 ? undefined : transcript.trim() || `${program} ended with code ${code}`
}

const tool = (name, args, options) => checkWith(installed(name), args, options)

function sources(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
    .sort()
}

/** Returns the targets of a file's imports: static, re-exports, for side effects, dynamic, and `import('…')` types. */
function importsOf(path) {
  const text = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  return [
    ...text.matchAll(
      /(?:^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*|^\s*import\s*|\bimport\s*\(\s*)['"]([^'"\n]+)['"]/gm,
    ),
  ].map((match) => match[1])
}

function ruleOfImports() {
  const complaints = outdated().map(
    (path) => `${relative(root, path)} is outdated: run node scripts/import-rule.mjs`,
  )
  for (const { folder, path, manifest } of packages()) {
    if (!mayImport[folder]) {
      complaints.push(`packages/${folder} has no line in the table of scripts/import-rule.mjs`)
      continue
    }
    const names = packagesFor(folder)
    for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies']) {
      for (const name of Object.keys(manifest[kind] ?? {})) {
        if (/^(@webtoki\/|webtoki$)/.test(name) && !names.has(name))
          complaints.push(`${manifest.name}: ${kind} names ${name}`)
      }
    }
    const known = new Set(
      ['dependencies', 'peerDependencies', 'optionalDependencies'].flatMap((kind) =>
        Object.keys(manifest[kind] ?? {}),
      ),
    )
    const imported = new Set()
    for (const file of sources(join(path, 'src'))) {
      for (const target of importsOf(file)) {
        const where = `${relative(root, file)} imports ${target}`
        if (target.startsWith('.')) {
          if (relative(join(path, 'src'), join(file, '..', target)).startsWith('..'))
            complaints.push(`${where}, outside its package`)
          continue
        }
        if (target.startsWith('node:')) continue
        const name = packageOf(target)
        imported.add(name)
        if (name === manifest.name) complaints.push(`${where}, itself`)
        else if (/^(@webtoki\/|webtoki$)/.test(name) && !names.has(name))
          complaints.push(`${where}, which scripts/import-rule.mjs does not allow`)
        else if (!known.has(name)) complaints.push(`${where}, which is missing in its manifest`)
      }
    }
    // Packages of types are used without an import. Any other dependency must be imported.
    for (const name of Object.keys(manifest.dependencies ?? {}))
      if (!imported.has(name) && !name.startsWith('@types/'))
        complaints.push(`${manifest.name}: the dependency ${name} is not imported by any source file`)
  }
  return complaints
}

/** The source files with more lines than a reader can keep in view. */
function longFiles() {
  const MAX_LINES = 600
  return packages()
    .flatMap(({ path }) => sources(join(path, 'src')))
    .map((file) => ({ file, lines: readFileSync(file, 'utf8').trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ file, lines }) => `${relative(root, file)} has ${lines} lines; at most ${MAX_LINES}`)
}

/** Finds exported declarations without a doc comment. Overloads, and a type and a constant of one name, share one comment. */
function documentation() {
  const complaints = []
  for (const { path } of packages()) {
    for (const file of sources(join(path, 'src'))) {
      const lines = readFileSync(file, 'utf8').split('\n')
      const documented = new Set()
      lines.forEach((line, index) => {
        const match =
          /^export (?:declare )?(?:abstract )?(?:async )?(?:class|function\*?|const|let|interface|type) (\w+)/.exec(
            line,
          )
        if (!match) return
        const before =
          lines
            .slice(0, index)
            .findLast((text) => text.trim() !== '')
            ?.trim() ?? ''
        if (before.endsWith('*/')) documented.add(match[1])
        else if (!documented.has(match[1]))
          complaints.push(`${relative(root, file)}:${index + 1} ${match[1]} has no doc comment`)
      })
    }
  }
  return complaints
}

/** Finds dependencies that README.md does not list with their reason. */
function unnamedDependencies() {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const others = ['', 'bench', 'demo', 'e2e'].map((folder) => readJson(join(root, folder, 'package.json')))
  const named = [...packages().map(({ manifest }) => manifest), ...others].flatMap((manifest) =>
    ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'].flatMap((kind) =>
      Object.keys(manifest[kind] ?? {}),
    ),
  )
  return [...new Set(named)]
    .filter((name) => !/^(@webtoki\/|webtoki$)/.test(name) && !readme.includes(`\`${name}\``))
    .map((name) => `README.md does not list the dependency ${name}`)
}

/** Checks that the lockfile matches the manifests, and that resolving it again does not change it. */
function lockfile() {
  const path = join(root, 'pnpm-lock.yaml')
  const digest = () => createHash('sha256').update(readFileSync(path)).digest('hex')
  const before = digest()
  const [program, ...first] = pnpm()
  const complaint = checkWith(program, [...first, 'install', '--frozen-lockfile', '--lockfile-only'])
  if (complaint) return complaint
  return digest() === before ? undefined : 'pnpm-lock.yaml changed when it was resolved again'
}

/** Checks the licence and the metadata of a tarball. `installedAt` is the folder of the unpacked tarball. */
function provenance(installedAt, folder) {
  const licence = join(installedAt, 'LICENSE')
  const hasLicence = existsSync(licence) && readFileSync(licence).equals(readFileSync(join(root, 'LICENSE')))
  return [
    ...(hasLicence ? [] : ['the LICENSE of the tarball is missing or differs from the project’s']),
    ...faultsOf(folder, readJson(join(installedAt, 'package.json')), readJson(join(root, 'package.json'))),
  ]
}

const packageOf = (target) => target.split('/', target.startsWith('@') ? 2 : 1).join('/')

/** Checks that the README has an install line with the package and its peers, and with every import of its examples. */
function installLines(path, { name, peerDependencies }) {
  const readme = readFileSync(join(path, 'README.md'), 'utf8')
  const lines = [...readme.matchAll(/^npm install (.*)$/gm)].map(([, rest]) => rest.split(/\s+/))
  const required = [name, ...Object.keys(peerDependencies ?? {})]
  const complaints = lines.some((line) => required.every((each) => line.includes(each)))
    ? []
    : [`README.md has no line "npm install ${required.join(' ')}"`]
  const imported = examples(path).flatMap(({ text }) =>
    [...text.matchAll(/\bfrom '([^'.][^']*)'/g)].map(([, target]) => packageOf(target)),
  )
  for (const each of new Set(imported)) {
    if (!each.startsWith('node:') && !lines.flat().includes(each))
      complaints.push(`README.md imports ${each}, but has no "npm install" line with it`)
  }
  return complaints
}

/** Returns a program that imports one entry of an installed package, and fails if the import has side effects. */
const quietImport = (name) => `
const before = new Set(Reflect.ownKeys(globalThis))
const alive = () => process.getActiveResourcesInfo().filter((kind) => !/^(FSReqPromise|CloseReq)$/.test(kind)).length
const handles = alive()
await import(${JSON.stringify(name)})
await new Promise((resolve) => setImmediate(resolve))
// pkijs stores its engine in a global named after the process id.
const added = Reflect.ownKeys(globalThis).filter((key) => !before.has(key) && key !== String(process.pid))
if (added.length > 0) { console.error('new globals: ' + added.map(String).join(', ')); process.exit(1) }
if (alive() > handles) { console.error('the import left a timer or handle open'); process.exit(1) }
`

async function packed(folder) {
  const tarballs = new Map()
  const [program, ...first] = pnpm()
  const shipped = packages().filter(({ manifest }) => !manifest.private)
  for (const { folder: name, path, manifest } of shipped) {
    await check(`pack ${name}`, () => {
      const into = join(folder, 'tarballs', name)
      mkdirSync(into, { recursive: true })
      const complaint = checkWith(program, [...first, 'pack', '--pack-destination', into], { cwd: path })
      if (complaint) return complaint
      const file = readdirSync(into).find((entry) => entry.endsWith('.tgz'))
      if (!file || statSync(join(into, file)).size === 0) return 'pnpm pack wrote no tarball'
      tarballs.set(manifest.name, join(into, file))
      return undefined
    })
    const tarball = tarballs.get(manifest.name)
    await check(`publint ${name}`, () =>
      tarball ? tool('publint', ['run', tarball, '--strict']) : 'not packed',
    )
    await check(`attw ${name}`, () =>
      tarball ? tool('attw', [tarball, '--profile', 'esm-only', '--no-emoji']) : 'not packed',
    )
  }

  // An empty project of a user, with the tarballs installed by npm and their dependencies from the registry.
  const project = join(folder, 'project')
  mkdirSync(project)
  const files = Object.fromEntries([...tarballs].map(([name, path]) => [name, `file:${path}`]))
  const manifest = { name: 'empty', private: true, type: 'module', dependencies: files }
  // The tarballs depend on each other by version, and the registry does not have these versions yet.
  manifest.overrides = Object.fromEntries(Object.keys(files).map((name) => [name, `$${name}`]))
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest))
  const ready = await check('install the tarballs in an empty project', () => {
    if (tarballs.size < shipped.length) return 'not every package was packed'
    return checkWith('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: project })
  })
  const entriesOf = ({ name, exports }) =>
    Object.keys(exports)
      .filter((entry) => !entry.endsWith('.json'))
      .map((entry) => name + entry.slice(1))
  for (const { folder: name, path, manifest } of shipped) {
    await check(`licence and metadata ${name}`, () =>
      ready ? provenance(join(project, 'node_modules', manifest.name), name) : 'not installed',
    )
    await check(`install line ${name}`, () => installLines(path, manifest))
    await check(`import ${name}`, () => {
      if (!ready) return 'not installed'
      return entriesOf(manifest)
        .map((target) => {
          const { code, output, transcript } = ask(
            process.execPath,
            ['--input-type=module', '--eval', quietImport(target)],
            {
              cwd: project,
              timeoutMs: 60_000,
            },
          )
          return code === 0 && output === '' ? '' : `${target}: ${transcript || 'did not load'}`
        })
        .filter((complaint) => complaint !== '')
    })
    await check(`readme ${name}`, () => (ready ? runExamples(project, name, path, project) : 'not installed'))
  }
  if (ready)
    await checkConsumers(
      project,
      shipped.flatMap(({ manifest }) => entriesOf(manifest)),
      check,
    )
  await check('readme of the whole', () =>
    ready ? runExamples(project, 'whole', root, root) : 'not installed',
  )
}

try {
  await setup()
} catch (error) {
  if (error instanceof InterruptedError) throw error
  console.error(`setup: ${error.message}`)
}
const folder = mkdtempSync(join(tmpdir(), 'webtoki-check-'))
try {
  await check('types', () => tool('tsc', ['--build']))
  await check('lint', () => tool('oxlint', ['--type-aware', '--deny-warnings']))
  await check('format', () => tool('biome', ['ci', '--colors=off']))
  await check('rule of imports', ruleOfImports)
  await check('doc comments', documentation)
  await check('plain language', languageFaults)
  await check('length of files', longFiles)
  await check('dependencies named', unnamedDependencies)
  await check('page of errors', async () =>
    (await isErrorsPageCurrent())
      ? undefined
      : 'docs/errors.md is outdated: run node scripts/errors-page.mjs',
  )
  await check('lockfile', lockfile)
  await packed(folder)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
conclude(total)
