// Runs the examples of the READMEs unchanged, each in its own process: `npm run check` with the packed tarballs, the tests with
// the build.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ask, root } from './command.mjs'

/** Matches a code block: `js` runs in Node, `js page` is a click handler in a page, `js server` is the server of a page. */
const block = /^```(js(?: page| server)?|sh)\n([\s\S]*?)^```/gm

/** Returns the code blocks of the README in a folder. Throws without a README or without a `js` block. */
export function examples(folder) {
  const found = [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(block)].map(
    ([, kind, text]) => ({ kind, text }),
  )
  if (!found.some(({ kind }) => kind.startsWith('js'))) throw new Error('README.md has no ```js block')
  return found
}

const example = (folder, wantedKind) =>
  examples(join(root, folder)).find(({ kind }) => kind === wantedKind).text

/**
 * Runs the examples of one README and returns the output of those that failed. `project` is a folder in which the packages
 * are installed. Shell blocks that run `npx` are run in the folder `shell`, if it is given.
 */
export function runExamples(project, name, folder, shell) {
  const put = (file, text) => {
    writeFileSync(join(project, file), text)
    return join(project, file)
  }
  const run = (program, args, cwd = project) => {
    const { code, transcript } = ask(program, args, { cwd, timeoutMs: 120_000 })
    return code === 0 ? [] : [transcript.trim() || `${program} ended with code ${code}`]
  }
  // Copied, because Node resolves imports from the folder of the module.
  const page = join(project, 'readme-page.mjs')
  copyFileSync(join(root, 'scripts', 'readme-page.mjs'), page)
  const click = (text, file) =>
    run(process.execPath, [page, put(file, text), put('server.mjs', example('packages/login', 'js server'))])
  return examples(folder).flatMap(({ kind, text }, index) => {
    const file = `${name}-${index}.mjs`
    if (kind === 'js page') return click(text, file)
    // A server example is tested with the page of the package webtoki.
    if (kind === 'js server') return click(example('packages/webtoki', 'js page'), file)
    if (kind === 'js') return run(process.execPath, [put(file, text)])
    if (shell === undefined || !/^npx /m.test(text)) return []
    put('letter.txt', 'Dear reader,')
    return run('bash', ['-ec', text], shell)
  })
}
