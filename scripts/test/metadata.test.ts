// Tests the check of the metadata that npm shows, scripts/metadata.mjs.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const { faultsOf, metadataFaults } = (await import(join(root, 'scripts', 'metadata.mjs'))) as {
  readonly faultsOf: (folder: string, manifest: object, rootManifest: object) => readonly string[]
  readonly metadataFaults: () => readonly string[]
}
const read = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as Record<string, unknown>

describe('the metadata of a package', () => {
  it('has no fault in any published package', () => {
    expect(metadataFaults()).toEqual([])
  })

  it.each([
    ['license', 'MIT'],
    ['author', undefined],
    ['bugs', undefined],
    ['engines', { node: '>=18' }],
    ['repository', { type: 'git', url: 'git+https://example.org/webtoki.git' }],
    ['homepage', 'https://example.org/webtoki'],
    ['description', 'Elements.'],
    ['keywords', ['smartcard']],
    ['type', 'commonjs'],
  ])('has one fault if %s is %o', (name, value) => {
    const faults = faultsOf('ui', { ...read('packages/ui'), [name]: value }, read('.'))
    expect(faults).toHaveLength(1)
  })
})
