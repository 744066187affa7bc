// Checks the package metadata that npm shows: equal to the root's manifest except for description, keywords and paths.
// `npm run check` runs it.
import { join } from 'node:path'
import { packages, readJson, root } from './command.mjs'

/** The fields that each package copies from the root's manifest. `funding` is not one, because there is none. */
const shared = ['license', 'author', 'bugs', 'engines']

/** Returns what is wrong with a manifest, one sentence for each fault. `rootManifest` is the one of the repository's root. */
export function faultsOf(folder, manifest, rootManifest) {
  const faults = shared
    .filter((name) => rootManifest[name] === undefined || differ(manifest[name], rootManifest[name]))
    .map((name) => `${name} is ${JSON.stringify(manifest[name])}, not the root's`)
  const directory = `packages/${folder}`
  if (differ(manifest.repository, { ...rootManifest.repository, directory }))
    faults.push(`repository is ${JSON.stringify(manifest.repository)}, not the root's with its directory`)
  if (manifest.homepage !== `${rootManifest.homepage}/${directory}`)
    faults.push(`homepage is ${manifest.homepage}, not ${rootManifest.homepage}/${directory}`)
  if (!/^[A-Z].{20,160}\.$/.test(manifest.description ?? ''))
    faults.push('description is not a sentence of 20 to 160 characters')
  const { keywords = [] } = manifest
  const hasAll = rootManifest.keywords.every((word) => keywords.includes(word))
  if (!hasAll || keywords.length === rootManifest.keywords.length)
    faults.push("keywords must be the root's and at least one more")
  if (new Set(keywords).size < keywords.length) faults.push('keywords contain a duplicate')
  if (manifest.type !== 'module' || manifest.sideEffects !== false)
    faults.push('type must be "module" and sideEffects false')
  return faults
}

/** Returns the faults of all packages that are published to npm. */
export function metadataFaults() {
  const rootManifest = readJson(join(root, 'package.json'))
  return packages()
    .filter(({ manifest }) => !manifest.private)
    .flatMap(({ folder, manifest }) =>
      faultsOf(folder, manifest, rootManifest).map((fault) => `${manifest.name}: ${fault}`),
    )
}

function differ(one, other) {
  return JSON.stringify(one) !== JSON.stringify(other)
}
