// `npm run demo`: sets up what is missing, builds the page and the relying party, serves both on loopback.
// `npm run demo:iwa`: the same page as an Isolated Web App, for installation in developer mode.
import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installed, root, run } from './command.mjs'
import { setup } from './setup.mjs'

/** The page by Vite, the server by the compiler. Throws where one of them fails. */
export async function buildDemo() {
  const demo = join(root, 'demo')
  if ((await run(installed('tsc'), ['--build', join(demo, 'server')])) !== 0)
    throw new Error('the server does not build')
  if (
    (await run(join(demo, 'node_modules', '.bin', 'vite'), ['build', '--logLevel', 'warn'], {
      cwd: demo,
    })) !== 0
  ) {
    throw new Error('the page does not build')
  }
  joinNotices(join(demo, 'dist', 'page'))
}

/** One file for page and service worker. */
function joinNotices(page) {
  const ofWorker = join(page, 'third-party-worker.txt')
  const lines = readFileSync(ofWorker, 'utf8')
  appendFileSync(join(page, 'third-party.txt'), `\n${lines.slice(lines.indexOf('## '))}`)
  rmSync(ofWorker)
}

if (process.argv[1]?.endsWith('demo.mjs')) {
  try {
    if (!(await setup())) throw new Error('the build failed')
    await buildDemo()
    process.exitCode = await run(process.execPath, [
      join(root, 'demo', 'dist', 'server', 'main.js'),
      ...process.argv.slice(2),
    ])
  } catch (error) {
    console.error(`demo: ${error.message}`)
    process.exitCode = 1
  }
}
