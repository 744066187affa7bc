/** What a site's users download: the front door's ten lines, bundled and minified by Vite, rxjs left out, gzip -9. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'

/** A bundle's size, and where its bytes come from. */
export interface BundleSize {
  readonly gzipBytes: number
  /** The same with what a PIV card needs, which is loaded when the first card is connected. */
  readonly gzipBytesWithPiv: number
  /** The same with every chunk that is loaded only when a reader, a card or a person needs it. */
  readonly gzipBytesInAll: number
  /** Files that stand in it, by their paths. */
  readonly modules: readonly string[]
}

/** In a click, which the browser's chooser wants: a page that awaits at its top level is split into more chunks by Vite. */
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

/** The driver alone, as a page has it. */
const ccid = `import { ccidSlots } from '@webtoki/ccid'
const webtoki = ccidSlots()
`

/** The README's lines for each. */
export const entries: { readonly login: string; readonly signing: string; readonly ccid: string } = {
  login,
  signing,
  ccid,
}

/** A page of these lines; `without` names more packages that are left out. */
export async function bundleSize(source: string, without: readonly RegExp[] = []): Promise<BundleSize> {
  // Within this package, so that the names in the source lead to the workspace.
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
    /** These chunks and all that they import as they begin. */
    const withImports = (first: typeof chunks): typeof chunks => {
      const wanted = new Set(first.map(({ fileName }) => fileName))
      for (const name of wanted) {
        for (const imported of chunks.find(({ fileName }) => fileName === name)?.imports ?? [])
          wanted.add(imported)
      }
      return chunks.filter(({ fileName }) => wanted.has(fileName))
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
