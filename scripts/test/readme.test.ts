// The examples of every README, as they stand: in a page a wrong PIN, a cancel and a success; on the server refusals too.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const { runExamples } = (await import(join(root, 'scripts', 'readme.mjs'))) as {
  runExamples: (project: string, name: string, folder: string) => string[]
}

describe('the examples of', () => {
  // Within the workspace, so that the names in them lead to the built packages.
  const project = mkdtempSync(join(root, '.readme-'))
  afterAll(() => rmSync(project, { recursive: true, force: true }))

  it.each(['.', ...readdirSync(join(root, 'packages')).map((name) => join('packages', name))])(
    '%s run',
    (folder) => {
      expect(runExamples(project, folder.replaceAll(/\W/g, '-'), join(root, folder))).toEqual([])
    },
    120_000,
  )
})
