/** Measures the download size of a site with Webtoki: example pages, bundled and minified by Vite without rxjs, gzip -9. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'

/** The size of a bundle and the files in it. */
export interface BundleSize {
  /** The chunks that load with the page. */
  readonly gzipBytes: number
  /** Also the chunks for a PIV card, which load when the first card is connected. */
  readonly gzipBytesWithPiv: number
  /** All chunks, including those that load only for certain readers, cards or dialogs. */
  readonly gzipBytesInAll: number
  /** The paths of the files in the chunks that load with the page. */
  readonly modules: readonly string[]
}

/** In a click handler, as the browser's device chooser requires. With top-level await Vite would split it into more chunks. */
const login = `import { Webtoki } from 'webtoki'
const webtoki = new Webtoki({ pin: dialog.ask })
button.onclick = async () => {
  await webtoki.requestReader()
  const { nonce } = await (await fetch('/nonce', { method: 'POST' })).json()
  const body = await webtoki.login(nonce)
  const { name } = await (await fetch('/login', { method: 'POST', body })).json()
}
`

const signing = `import { Webtoki } from 'webtoki'
import { signDocument } from 'webtoki/documents'
const webtoki = new Webtoki({ pin: dialog.ask })
button.onclick = async () => {
  await webtoki.requestReader()
  const signature = await signDocument(webtoki, file)
}
`

/** A page with the driver only. */
const ccid = `import { ccidSlots } from '@webtoki/ccid'
const webtoki = ccidSlots()
`

/** The code of each example page. */
export const entries: { readonly login: string; readonly signing: string; readonly ccid: string } = {
  login,
  signing,
  ccid,
}

/** Bundles a page of this code. `without` matches packages that are left out in addition to rxjs. */
export async function bundleSize(source: string, without: readonly RegExp[] = []): Promise<BundleSize> {
  // A folder in this package, in which package names resolve to the workspace.
  const folder = mkdtempSync(join(fileURLToPath(new URL('..', import.meta.url)), '.bundle-'))
  try {
    const input = join(folder, 'entry.js')
    writeFileSync(input, `${source}\nglobalThis.webtoki = webtoki\n`)
    const built = (await build({
      configFile: false,
      root: folder,
      logLevel: 'error',
      resolve: { conditions: ['webtoki-source', 'module', 'browser', 'import', 'default'] },
      build: {
        write: false,
        minify: true,
        target: 'es2023',
        modulePreload: false,
        rolldownOptions: { input, external: [/^rxjs/, ...without] },
      },
    })) as Rolldown.RolldownOutput
    const chunks = built.output.filter((each) => each.type === 'chunk')
    /** Returns these chunks and all chunks that they import statically. */
    const withImports = (first: typeof chunks): typeof chunks => {
      const names = new Set(first.map(({ fileName }) => fileName))
      for (const name of names) {
        for (const imported of chunks.find(({ fileName }) => fileName === name)?.imports ?? [])
          names.add(imported)
      }
      return chunks.filter(({ fileName }) => names.has(fileName))
    }
    const loaded = withImports(chunks.filter(({ isEntry }) => isEntry))
    const sizeOf = (each: typeof chunks): number =>
      each.reduce((sum, { code }) => sum + gzipSync(code, { level: 9 }).length, 0)
    const forPiv = chunks.filter(({ moduleIds }) =>
      moduleIds.some((path) =>
        /(cryptoki\/src\/(piv\/token|card-side)|webtoki\/src\/card-use)\.ts$/.test(path),
      ),
    )
    return {
      gzipBytes: sizeOf(loaded),
      gzipBytesWithPiv: sizeOf(withImports([...loaded, ...forPiv])),
      gzipBytesInAll: sizeOf(chunks),
      modules: loaded.flatMap(({ moduleIds }) => moduleIds),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
