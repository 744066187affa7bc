// Checks the changesets. A single file that `npx changeset version` cannot parse makes the whole command fail.
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const require = createRequire(import.meta.url)
const { default: parse } = createRequire(require.resolve('@changesets/cli/package.json'))(
  '@changesets/parse',
) as { default: (text: string) => { summary: string; releases: { name: string; type: string }[] } }

const folder = join(root, '.changeset')
const files = readdirSync(folder).filter((name) => name.endsWith('.md') && name !== 'README.md')
const published = readdirSync(join(root, 'packages')).map(
  (name) =>
    (JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')) as { name: string }).name,
)

describe('a changeset', () => {
  it.each(files)('%s has a summary and names published packages', (file) => {
    const { summary, releases } = parse(readFileSync(join(folder, file), 'utf8'))
    expect(summary).not.toBe('')
    expect(releases).not.toEqual([])
    expect(published).toEqual(expect.arrayContaining(releases.map(({ name }) => name)))
  })
})
