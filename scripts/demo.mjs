// `npm run demo`: runs the setup, builds the page and the relying party, and serves both on loopback.
// `npm run demo:iwa`: serves the page as an Isolated Web App, to install in developer mode.
import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installed, root, run } from './command.mjs'
import { setup } from './setup.mjs'

/** Builds the page with Vite and the server with the compiler. Throws if one of them fails. */
export async function buildDemo() {
  const demo = join(root, 'demo')
  if ((await run(installed('tsc'), ['--build', join(demo, 'server')])) !== 0)
    throw new Error('building the server failed')
  if (
    (await run(join(demo, 'node_modules', '.bin', 'vite'), ['build', '--logLevel', 'warn'], {
      cwd: demo,
    })) !== 0
  ) {
    throw new Error('building the page failed')
  }
  joinNotices(join(demo, 'dist', 'page'))
}

/** Joins the third-party notices of the page and the service worker into one file. */
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
