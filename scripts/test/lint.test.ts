// Tests that the linter's rules report violations: lints files that break them with a copy of the project's lint and TypeScript
// configuration.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const packages = ['apdu', 'crypto', 'device', 'ccid', 'cryptoki', 'simulator', 'cli', 'trust']
let tree: string

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'webtoki-lint-'))
  cpSync(join(root, '.oxlintrc.json'), join(tree, '.oxlintrc.json'))
  cpSync(join(root, '.oxlintrc.imports.json'), join(tree, '.oxlintrc.imports.json'))
  cpSync(join(root, 'tsconfig.base.json'), join(tree, 'tsconfig.base.json'))
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  for (const name of packages) {
    const folder = join('packages', name)
    mkdirSync(join(tree, folder, 'src'), { recursive: true })
    cpSync(join(root, folder, 'tsconfig.json'), join(tree, folder, 'tsconfig.json'))
    // The part of the simulator that runs only in Node is a separate TypeScript project.
    const forNode = join(folder, 'src', 'node', 'tsconfig.json')
    if (existsSync(join(root, forNode))) cpSync(join(root, forNode), join(tree, forNode))
    symlinkSync(join(root, folder, 'node_modules'), join(tree, folder, 'node_modules'))
  }
})

afterAll(() => rmSync(tree, { recursive: true, force: true }))

/** Lints the files together and returns the names of the rules that they break. */
function lint(files: Record<string, string>): string[] {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, name)), { recursive: true })
    writeFileSync(join(tree, name), text)
  }
  try {
    const program = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint')
    const options = ['--type-aware', '--format=json', ...Object.keys(files)]
    let output: string
    try {
      output = execFileSync(process.execPath, [program, ...options], { cwd: tree, encoding: 'utf8' })
    } catch (error) {
      // The linter ends with 1 if it found a violation. Its report is on stdout in this case too.
      output = (error as { stdout: string }).stdout
    }
    const report = JSON.parse(output) as { diagnostics: { code: string }[] }
    return report.diagnostics.map(({ code }) => code)
  } finally {
    for (const name of Object.keys(files)) rmSync(join(tree, name))
  }
}

describe('the linter', () => {
  test('accepts a file without a violation', () => {
    const text = `export async function send(device: USBDevice): Promise<void> {
      await device.transferOut(2, new Uint8Array(10))
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual([])
  })

  test('refuses a WebUSB transfer that is not awaited', () => {
    const text = `export function send(device: USBDevice): void {
      device.transferOut(2, new Uint8Array(10))
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['typescript(no-floating-promises)'])
  })

  test('refuses a promise as a condition', () => {
    const text = `export function opened(device: USBDevice): string {
      return device.open() ? 'yes' : 'no'
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['typescript(no-misused-promises)'])
  })

  test('refuses to await a value that is not a promise', () => {
    const text = `export async function product(device: USBDevice): Promise<string | undefined> {
      return await device.productName
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['typescript(await-thenable)'])
  })

  test.each([
    ['apdu', '@webtoki/simulator'],
    ['apdu', '@webtoki/ccid'],
    ['simulator', '@webtoki/apdu'],
    ['ccid', '@webtoki/cryptoki'],
    ['ccid', '@webtoki/simulator'],
    ['cryptoki', '@webtoki/ccid'],
    ['cryptoki', '@webtoki/simulator'],
    ['cryptoki', '../../ccid/src/index.ts'],
    ['simulator', 'node:crypto'],
    ['trust', '@webtoki/apdu'],
    ['trust', '@webtoki/apdu/piv'],
    ['trust', '@webtoki/cryptoki'],
  ])('does not let %s import %s, nor its types', (name, target) => {
    const file = `packages/${name}/src/probe.ts`
    expect(lint({ [file]: `import { thing } from '${target}'\nexport const it: unknown = thing\n` })).toEqual(
      ['eslint(no-restricted-imports)'],
    )
    expect(lint({ [file]: `import type { Thing } from '${target}'\nexport type It = Thing\n` })).toEqual([
      'eslint(no-restricted-imports)',
    ])
  })

  test.each([
    ['ccid', '@webtoki/apdu'],
    ['cryptoki', '@webtoki/apdu'],
    ['cryptoki', '@webtoki/apdu/piv'],
    ['cli', '@webtoki/simulator'],
    ['trust', '@webtoki/apdu/bytes'],
  ])('lets %s import %s', (name, target) => {
    const text = `export { thing } from '${target}'\n`
    expect(lint({ [`packages/${name}/src/probe.ts`]: text })).toEqual([])
  })

  test('refuses `.buffer` of bytes that may be part of a larger buffer, except in bytes.ts', () => {
    const text = `export const whole = (bytes: Uint8Array): unknown => bytes.slice().buffer\n`
    expect(lint({ 'packages/apdu/src/probe.ts': text })).toEqual(['eslint(no-restricted-properties)'])
    expect(lint({ 'packages/apdu/src/bytes.ts': text })).toEqual([])
  })

  test('refuses an import cycle, even of types only', () => {
    const files = {
      'packages/apdu/src/here.ts': `import type { There } from './there.ts'\nexport interface Here { there: There }\n`,
      'packages/apdu/src/there.ts': `import type { Here } from './here.ts'\nexport interface There { here: Here }\n`,
    }
    expect(lint(files)).toContain('import(no-cycle)')
  })

  test('refuses a browser global that is often used by mistake, such as name', () => {
    const text = `export function label(): string {\n  return name\n}\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['eslint(no-restricted-globals)'])
  })
})
