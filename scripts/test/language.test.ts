import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
// @ts-expect-error scripts have no types
import { subjectFault } from '../commit-subject.mjs'
// @ts-expect-error scripts have no types
import { bannedWords, testNames } from '../language.mjs'

describe('banned words', () => {
  it.each([
    ['const anewTimer = 1', 'anew'],
    ['  /** Whoever calls it. */', 'whoever'],
    ['session.letGo()', 'let go'],
    ['let roomBytes', 'room'],
    ['HASH_BYTES', 'hash bytes'],
    ['the reader goes on', 'goes on'],
  ])('are found in prose and within names: %s', (text, found) => {
    expect(bannedWords(`\n${text}`)).toEqual([expect.stringContaining(`2: "${found}"`)])
  })

  it.each(['renewed', 'bathroom', 'greenhouse', 'one caller', 'going on', 'outletGood'])(
    'are not found within another word: %s',
    (text) => expect(bannedWords(text)).toEqual([]),
  )
})

describe('test names', () => {
  it('are read from it, test and describe, from tables, templates and conditions', () => {
    const file = [
      "it('plain', () => {})",
      "describe.each([['row', 1]])('a table: %s', () => {})",
      'test(`a template ${1} of two parts`, () => {})',
      "it.skipIf(process.env['X'] === 'no name')('with a condition', () => {})",
      'it.each`a | b`("a tagged table", () => {})',
      "expect(call)('no test')",
      'visit("no test")',
    ]
    expect(
      testNames(file.join('\n')).map(({ line, name }: { line: number; name: string }) => [line, name]),
    ).toEqual([
      [1, 'plain'],
      [2, 'a table: %s'],
      [3, 'a template  of two parts'],
      [4, 'with a condition'],
      [5, 'a tagged table'],
    ])
  })
})

describe('commit subjects', () => {
  it.each([
    'ccid: retry open when a person asks',
    'trust, documents: name an unsupported algorithm alike',
    'e2e: wait for the second PIN request',
    'Merge branch main',
  ])('pass: %s', (subject) => expect(subjectFault(subject)).toBeUndefined())

  it.each([
    'retry open when a person asks',
    'ccid: retry open when a person asks.',
    'ccid:retry open',
    'CCID: retry open',
    `ccid: ${'x'.repeat(67)}`,
  ])('are refused with the reason: %s', (subject) => expect(subjectFault(subject)).toBeTypeOf('string'))

  it('that are wrong are told by the hook, which lets the commit pass', () => {
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-hook-'))
    try {
      const message = join(folder, 'message')
      writeFileSync(message, 'Retry open.\n\nBody\n')
      const hook = join(import.meta.dirname, '..', 'hooks', 'commit-msg')
      const said = execFileSync('sh', ['-c', `"${hook}" "${message}" 2>&1`], {
        encoding: 'utf8',
        cwd: import.meta.dirname,
      })
      expect(said).toContain('area: imperative')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
