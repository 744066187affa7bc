// `npm run demo:iwa-bundle [FILE]`: the demo as one signed web bundle, the form in which an Isolated Web App is given away.
//
// The key stays in demo/dist/iwa-key.pem and is made where there is none: whoever has it can sign updates of the app.
// WEBTOKI_SITE is the relying party that the app asks, https and nothing else.
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './command.mjs'
import { buildDemo } from './demo.mjs'
import { setup } from './setup.mjs'

const out = process.argv[2] ?? join(root, 'demo', 'dist', 'webtoki-demo.swbn')
try {
  if (!(await setup())) throw new Error('the build failed')
  await buildDemo()
  // What it needs is there only after the setup.
  const { checkBundle, filesOf, signBundle } = await import('../demo/scripts/bundle.mjs')
  const site = process.env.WEBTOKI_SITE ?? 'https://localhost:8443'
  if (!/^https:\/\/[^/]+$/.test(site)) throw new Error(`WEBTOKI_SITE is an https origin, not '${site}'.`)
  const keyFile = join(root, 'demo', 'dist', 'iwa-key.pem')
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  }
  const files = filesOf(site)
  const { origin, bytes } = await signBundle(files, site, readFileSync(keyFile, 'utf8'))
  writeFileSync(out, bytes)
  const checked = checkBundle(readFileSync(out), files)
  if (checked !== origin) throw new Error(`the bundle says it is ${checked}`)
  console.log(`Webtoki bundle: ${out}`)
  console.log(`${files.size} resources, ${bytes.length} bytes, read anew and its signature verified`)
  console.log(`Its origin: ${origin}`)
} catch (error) {
  console.error(`bundle: ${error.message}`)
  process.exitCode = 1
}
