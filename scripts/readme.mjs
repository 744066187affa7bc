// The examples of the READMEs run as they stand, each in a process of its own: by `npm run check` from the packed
// tarballs, by the tests from the build.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ask, root } from './command.mjs'

/** Tells what a block is: `js` runs in Node, `js page` is a click in a page, `js server` is the site of such a page. */
const block = /^```(js(?: page| server)?|sh)\n([\s\S]*?)^```/gm

/** The blocks of the README in a folder. Throws if there is no README or no `js` block. */
export function examples(folder) {
  const found = [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(block)].map(
    ([, kind, text]) => ({ kind, text }),
  )
  if (!found.some(({ kind }) => kind.startsWith('js'))) throw new Error('README.md has no ```js block')
  return found
}

const example = (folder, wanted) => examples(join(root, folder)).find(({ kind }) => kind === wanted).text

/**
 * Runs the examples of one README and gives what failed. `project` is a folder that finds our packages; lines for the
 * shell that call the command line run in `shell`, if one is given.
 */
export function runExamples(project, name, folder, shell) {
  const put = (file, text) => {
    writeFileSync(join(project, file), text)
    return join(project, file)
  }
  const run = (program, args, cwd = project) => {
    const { code, said } = ask(program, args, { cwd, timeoutMs: 120_000 })
    return code === 0 ? [] : [said.trim() || `${program} ended with code ${code}`]
  }
  // Resolves our packages from where it stands.
  const page = join(project, 'readme-page.mjs')
  copyFileSync(join(root, 'scripts', 'readme-page.mjs'), page)
  const click = (text, file) =>
    run(process.execPath, [page, put(file, text), put('server.mjs', example('packages/login', 'js server'))])
  return examples(folder).flatMap(({ kind, text }, index) => {
    const file = `${name}-${index}.mjs`
    if (kind === 'js page') return click(text, file)
    // A server is nothing without a page: the front door's own.
    if (kind === 'js server') return click(example('packages/webtoki', 'js page'), file)
    if (kind === 'js') return run(process.execPath, [put(file, text)])
    if (shell === undefined || !/^npx /m.test(text)) return []
    put('letter.txt', 'Dear reader,')
    return run('bash', ['-ec', text], shell)
  })
}
