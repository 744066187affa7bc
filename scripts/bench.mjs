// `npm run bench`: builds the packages and the demo, and runs the benchmarks of bench/ on the built packages.
import { root, run } from './command.mjs'
import { buildDemo } from './demo.mjs'
import { setup } from './setup.mjs'
import { join } from 'node:path'

try {
  if (!(await setup())) throw new Error('the build failed')
  await buildDemo()
  process.exitCode = await run(process.execPath, [join(root, 'bench', 'dist', 'main.js')])
} catch (error) {
  console.error(`bench: ${error.message}`)
  process.exitCode = 1
}
