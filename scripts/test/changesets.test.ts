// A changeset that a formatter took for prose ends the release with an error.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const folder = join(import.meta.dirname, '..', '..', '.changeset')
const files = readdirSync(folder).filter((name) => name.endsWith('.md') && name !== 'README.md')

test.each(files)('%s names its packages in front matter that changesets can read', (name) => {
  expect(readFileSync(join(folder, name), 'utf8')).toMatch(
    /^---\n\n?('[@a-z0-9/-]+': (major|minor|patch)\n)+---\n/,
  )
})
