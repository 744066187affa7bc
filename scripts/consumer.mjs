// Checks that users of the packed packages can compile: imports each public entry with each supported version of TypeScript,
// without skipLibCheck. `npm run check` runs it.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './command.mjs'

/** The newest compiler of each major version, by its name in package.json. */
const compilers = { 5.9: 'typescript-5.9', 6: 'typescript-6', 7: 'typescript' }

/** The entries that compile without DOM types. The test program has Node's types instead, because rxjs needs timers. */
const withoutDom = [
  '@webtoki/apdu',
  '@webtoki/apdu/openpgp',
  '@webtoki/apdu/piv',
  '@webtoki/cryptoki',
  '@webtoki/cryptoki/openpgp',
  '@webtoki/cryptoki/piv',
  '@webtoki/trust',
]

const inPage = { lib: ['es2023', 'dom', 'dom.iterable'] }
const inNode = { lib: ['es2023'], types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] }

const resolutions = {
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
}

/** Returns a program that re-exports every entry under its own name. */
const importing = (entries) =>
  entries.map((entry, index) => `export * as entry${index} from ${JSON.stringify(entry)}\n`).join('')

/** Must not compile. If the WebUSB types were missing, `usb` would have the type any, and 42 would be accepted. */
const wrong = `import { Webtoki } from 'webtoki'
export const wrong = new Webtoki({ pin: async () => undefined, usb: 42 })
`

/** Compiles without "esnext.disposable" in `lib`, because the packages' declarations reference it. */
const closing = `import type { Session } from '@webtoki/cryptoki'
import type { Webtoki } from 'webtoki'
export async function close(webtoki: Webtoki, session: Session): Promise<void> {
  await using ownWebtoki = webtoki
  await using ownSession = session
  await ownWebtoki.logOut()
  await ownSession.logout()
}
`

function programs(entries) {
  const all = { source: importing(entries), ...inPage }
  return [
    ...Object.keys(resolutions).flatMap((resolution) => [
      { name: `${resolution}, default types`, resolution, ...all },
      { name: `${resolution}, types: []`, resolution, ...all, types: [] },
    ]),
    { name: 'await using', resolution: 'bundler', source: closing, ...inPage, types: [] },
    { name: 'no DOM types', resolution: 'nodenext', source: importing(withoutDom), ...inNode },
    {
      name: 'usb: 42 is refused',
      resolution: 'bundler',
      source: wrong,
      ...inPage,
      types: [],
      skipLibCheck: true,
      expected: /^wrong[^\n]*error TS2322: Type 'number' is not assignable to type 'USB'\.$/m,
    },
  ]
}

function compile(project, compiler, { name, resolution, source, expected, ...options }) {
  const stem = `${expected ? 'wrong' : 'right'}-${compiler}-${name.replaceAll(/\W+/g, '-')}`
  writeFileSync(join(project, `${stem}.ts`), source)
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: 'es2023',
    ...resolutions[resolution],
    ...options,
  }
  writeFileSync(join(project, `${stem}.json`), JSON.stringify({ compilerOptions, files: [`${stem}.ts`] }))
  const tsc = join(root, 'node_modules', compiler, 'bin', 'tsc')
  return new Promise((resolve) => {
    execFile(process.execPath, [tsc, '-p', `${stem}.json`], { cwd: project }, (error, output) => {
      if (expected) resolve(expected.test(output) ? undefined : output || 'it compiles')
      else resolve(error ? output || error.message : undefined)
    })
  })
}

/** Runs each compilation as its own check. `project` is a folder with the packages installed, `entries` all public entries. */
export async function checkConsumers(project, entries, check) {
  for (const [version, compiler] of Object.entries(compilers)) {
    const all = programs(entries)
    // Two at a time, because most of these compilers use only one core.
    for (let index = 0; index < all.length; index += 2) {
      const pair = all.slice(index, index + 2)
      const running = pair.map((program) => compile(project, compiler, program))
      for (const [at, { name }] of pair.entries())
        await check(`compile with TypeScript ${version}: ${name}`, () => running[at])
    }
  }
}
