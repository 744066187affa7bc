// Shows that the linter's rules bite: a copy of the lint configuration and of the packages' TypeScript configuration
// meets files that break the rules.
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
    // The simulator's part for Node is a project of its own.
    const forNode = join(folder, 'src', 'node', 'tsconfig.json')
    if (existsSync(join(root, forNode))) cpSync(join(root, forNode), join(tree, forNode))
    symlinkSync(join(root, folder, 'node_modules'), join(tree, folder, 'node_modules'))
  }
})

afterAll(() => rmSync(tree, { recursive: true, force: true }))

/** The rules that files break when they are linted together, under the project's own configuration. */
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
      // The linter ends with 1 when it found something; its report is on stdout then, too.
      output = (error as { stdout: string }).stdout
    }
    const report = JSON.parse(output) as { diagnostics: { code: string }[] }
    return report.diagnostics.map(({ code }) => code)
  } finally {
    for (const name of Object.keys(files)) rmSync(join(tree, name))
  }
}

describe('the linter', () => {
  test('accepts what keeps the rules', () => {
    const text = `export async function send(device: USBDevice): Promise<void> {
      await device.transferOut(2, new Uint8Array(10))
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual([])
  })

  test('refuses a WebUSB transfer that nobody awaits', () => {
    const text = `export function send(device: USBDevice): void {
      device.transferOut(2, new Uint8Array(10))
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['typescript(no-floating-promises)'])
  })

  test('refuses a promise where a condition is meant', () => {
    const text = `export function opened(device: USBDevice): string {
      return device.open() ? 'yes' : 'no'
    }\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['typescript(no-misused-promises)'])
  })

  test('refuses an await of what is no promise', () => {
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
  ])('refuses %s an import of %s, types too', (name, target) => {
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

  test('refuses `.buffer` of bytes that may lie in a larger buffer, except in the one file that copies', () => {
    const text = `export const whole = (bytes: Uint8Array): unknown => bytes.slice().buffer\n`
    expect(lint({ 'packages/apdu/src/probe.ts': text })).toEqual(['eslint(no-restricted-properties)'])
    expect(lint({ 'packages/apdu/src/bytes.ts': text })).toEqual([])
  })

  test('refuses a circle of imports, also of types alone', () => {
    const files = {
      'packages/apdu/src/here.ts': `import type { There } from './there.ts'\nexport interface Here { there: There }\n`,
      'packages/apdu/src/there.ts': `import type { Here } from './here.ts'\nexport interface There { here: Here }\n`,
    }
    expect(lint(files)).toContain('import(no-cycle)')
  })

  test('refuses a browser global that is easily meant by mistake', () => {
    const text = `export function label(): string {\n  return name\n}\n`
    expect(lint({ 'packages/ccid/src/probe.ts': text })).toEqual(['eslint(no-restricted-globals)'])
  })
})
