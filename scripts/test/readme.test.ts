// Runs the examples of every README unchanged: in a page with a wrong PIN, a cancelled dialog and the right PIN, on the server
// with refused logins too.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const { runExamples } = (await import(join(root, 'scripts', 'readme.mjs'))) as {
  runExamples: (project: string, name: string, folder: string) => string[]
}

describe('the README examples of', () => {
  // A folder in the workspace, in which package names resolve to the built packages.
  const project = mkdtempSync(join(root, '.readme-'))
  afterAll(() => rmSync(project, { recursive: true, force: true }))

  it.each(['.', ...readdirSync(join(root, 'packages')).map((name) => join('packages', name))])(
    '%s run without an error',
    (folder) => {
      expect(runExamples(project, folder.replaceAll(/\W/g, '-'), join(root, folder))).toEqual([])
    },
    120_000,
  )
})
