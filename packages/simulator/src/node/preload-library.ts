/** The preload library, compiled by gcc where it is used: its folder has the sources, and a README on what it does. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-fPIC', '-fvisibility=hidden', '-shared']

/** Compiles the sources in a folder, once for each state they are in; gives the file's path. Needs `gcc`. */
export async function buildPreloadLibrary(): Promise<string> {
  if (process.platform !== 'linux') throw new Error('The virtual USB bus for other programs needs Linux.')
  const folder = sourceFolder()
  const names = readdirSync(folder)
    .filter((name) => /\.[ch]$/.test(name))
    .sort()
  const hash = createHash('sha256').update(`${process.arch} ${flags.join(' ')}`)
  for (const name of names) hash.update(`\0${name}\0`).update(readFileSync(join(folder, name)))
  const cache = cacheFolder()
  const library = join(cache, `webtoki-usb-${hash.digest('hex').slice(0, 16)}.so`)
  if (existsSync(library)) return library
  mkdirSync(cache, { recursive: true })
  // Renamed when whole: several test processes may compile at once.
  const unfinished = `${library}.${process.pid}`
  const sources = names.filter((name) => name.endsWith('.c')).map((name) => join(folder, name))
  try {
    await promisify(execFile)('gcc', [...flags, '-o', unfinished, ...sources, '-lpthread', '-ldl'])
  } catch (error) {
    throw new Error('gcc could not compile the preload library of the virtual USB bus; is it installed?', {
      cause: error,
    })
  }
  renameSync(unfinished, library)
  return library
}

/** Where compiled things lie: node_modules/.cache/webtoki of the project, or of this package when it is installed alone. */
export function cacheFolder(): string {
  for (let at = process.cwd(); ; at = dirname(at)) {
    const modules = join(at, 'node_modules')
    if (existsSync(modules)) return join(modules, '.cache', 'webtoki')
    if (dirname(at) === at) return join(process.cwd(), 'node_modules', '.cache', 'webtoki')
  }
}

// From src/node and from dist/node alike.
function sourceFolder(): string {
  return fileURLToPath(new URL('../../preload', import.meta.url))
}
