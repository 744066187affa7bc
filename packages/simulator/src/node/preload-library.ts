/** Compiles the preload library with gcc. The folder `preload` has its sources and a README. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-fPIC', '-fvisibility=hidden', '-shared']

/**
 * Compiles the preload library, if its sources changed since the last time, and resolves to its path. Requires `gcc`
 * and Linux.
 */
export async function buildPreloadLibrary(): Promise<string> {
  if (process.platform !== 'linux')
    throw new Error(`The virtual USB bus for other programs requires Linux, not ${process.platform}.`)
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
  // The file is renamed when it is complete, because several test processes may compile at the same time.
  const unfinished = `${library}.${process.pid}`
  const sources = names.filter((name) => name.endsWith('.c')).map((name) => join(folder, name))
  try {
    await promisify(execFile)('gcc', [...flags, '-o', unfinished, ...sources, '-lpthread', '-ldl'])
  } catch (error) {
    throw new Error(
      'gcc could not compile the preload library of the virtual USB bus. Check that gcc is installed.',
      {
        cause: error,
      },
    )
  }
  renameSync(unfinished, library)
  return library
}

/**
 * Returns the folder for compiled programs: node_modules/.cache/webtoki in the nearest folder that has node_modules,
 * otherwise in the current folder.
 */
export function cacheFolder(): string {
  for (let at = process.cwd(); ; at = dirname(at)) {
    const modules = join(at, 'node_modules')
    if (existsSync(modules)) return join(modules, '.cache', 'webtoki')
    if (dirname(at) === at) return join(process.cwd(), 'node_modules', '.cache', 'webtoki')
  }
}

// The relative path is the same from src/node and from dist/node.
function sourceFolder(): string {
  return fileURLToPath(new URL('../../preload', import.meta.url))
}
