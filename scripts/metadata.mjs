// What npm shows of the packages: the same of each, but for what it is and where it lies. `npm run check` asks for it.
import { join } from 'node:path'
import { packages, readJson, root } from './command.mjs'

/** What the root's manifest says for all. Funding is named by none, because there is none. */
const shared = ['license', 'author', 'bugs', 'engines']

/** What is wrong with a manifest, one sentence a fault. `whole` is the root's. */
export function faultsOf(folder, manifest, whole) {
  const faults = shared
    .filter((name) => whole[name] === undefined || differ(manifest[name], whole[name]))
    .map((name) => `${name} is ${JSON.stringify(manifest[name])}, not the root's`)
  const directory = `packages/${folder}`
  if (differ(manifest.repository, { ...whole.repository, directory }))
    faults.push(`repository is ${JSON.stringify(manifest.repository)}, not the root's with its directory`)
  if (manifest.homepage !== `${whole.homepage}/${directory}`)
    faults.push(`homepage is ${manifest.homepage}, not ${whole.homepage}/${directory}`)
  if (!/^[A-Z].{20,160}\.$/.test(manifest.description ?? ''))
    faults.push('description is no sentence of 20 to 160 characters')
  const { keywords = [] } = manifest
  if (!whole.keywords.every((word) => keywords.includes(word)) || keywords.length === whole.keywords.length)
    faults.push("keywords are not the root's and some of its own")
  if (new Set(keywords).size < keywords.length) faults.push('keywords name one twice')
  if (manifest.type !== 'module' || manifest.sideEffects !== false)
    faults.push('it is no module without side effects')
  return faults
}

/** Of all packages that npm gets. */
export function metadataFaults() {
  const whole = readJson(join(root, 'package.json'))
  return packages()
    .filter(({ manifest }) => !manifest.private)
    .flatMap(({ folder, manifest }) =>
      faultsOf(folder, manifest, whole).map((fault) => `${manifest.name}: ${fault}`),
    )
}

function differ(one, other) {
  return JSON.stringify(one) !== JSON.stringify(other)
}
