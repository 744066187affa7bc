// `npm run demo:iwa-bundle [FILE]`: builds the demo as a signed web bundle, the file format of Isolated Web Apps.
//
// The signing key is demo/dist/iwa-key.pem, created if it is missing. Anyone who has it can sign updates of the app.
// WEBTOKI_SITE is the https origin of the relying party that the app sends requests to.
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
  // A dynamic import, because its dependencies are installed only by the setup.
  const { checkBundle, filesOf, signBundle } = await import('../demo/scripts/bundle.mjs')
  const site = process.env.WEBTOKI_SITE ?? 'https://localhost:8443'
  if (!/^https:\/\/[^/]+$/.test(site)) throw new Error(`WEBTOKI_SITE must be an https origin; got '${site}'.`)
  const keyFile = join(root, 'demo', 'dist', 'iwa-key.pem')
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  }
  const files = filesOf(site)
  const { origin, bytes } = await signBundle(files, site, readFileSync(keyFile, 'utf8'))
  writeFileSync(out, bytes)
  const checked = checkBundle(readFileSync(out), files)
  if (checked !== origin) throw new Error(`the written bundle has the origin ${checked}, not ${origin}`)
  console.log(`Webtoki bundle: ${out}`)
  console.log(
    `${files.size} resources, ${bytes.length} bytes; the written file was read and its signature verified`,
  )
  console.log(`Its origin: ${origin}`)
} catch (error) {
  console.error(`bundle: ${error.message}`)
  process.exitCode = 1
}
