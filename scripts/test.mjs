// `npm test`: sets up what is missing, runs the tests and ends with `N passed, N failed`. With an argument, one part:
// `unit` (nothing from outside npm), `judges` (programs that are not ours give the verdict), `browser` (Chromium).
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conclude, readJson, root, run } from './command.mjs'
import { buildDemo } from './demo.mjs'
import { setup } from './setup.mjs'

const parts = ['unit', 'judges', 'browser']
const inCi = process.env.CI === 'true'

/** Each failure by its name, told once more at the end: what scrolled away is what somebody looks for. */
const failures = []

async function runVitest(part) {
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-test-'))
  const file = join(folder, 'report.json')
  try {
    const code = await run(
      process.execPath,
      [
        join(root, 'node_modules', 'vitest', 'vitest.mjs'),
        'run',
        `--project=${part}`,
        '--reporter=default',
        `--reporter=${join(root, 'scripts', 'test-reporter.mjs')}`,
      ],
      { env: { TEST_REPORT: file } },
    )
    // No report: vitest itself broke down, or there was no test at all. Neither is a success.
    if (!existsSync(file)) return { passed: 0, failed: [`${part}: vitest ended with ${code}`], skipped: [] }
    const report = readJson(file)
    if (report.passed + report.failed.length + report.skipped.length === 0)
      report.failed.push(`${part}: no tests found`)
    if (code !== 0 && report.failed.length === 0) report.failed.push(`${part}: vitest ended with ${code}`)
    return report
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runPart(part) {
  console.log(`\n${part}:`)
  if (part === 'browser' && !existsSync(join(root, 'e2e'))) {
    console.log('no browser tests yet')
    return { passed: 0, failed: 0, skipped: 0 }
  }
  if (part === 'browser') {
    try {
      await buildDemo()
    } catch (error) {
      failures.push(`browser: ${error.message}`)
      return { passed: 0, failed: 1, skipped: 0 }
    }
  }
  const { passed, failed, skipped } = await runVitest(part)
  for (const name of skipped) console.log(`skipped: ${name}`)
  // A judge that is skipped in silence is no judge. On a developer's machine it may be missing; in CI it may not.
  const missed = part !== 'unit' && inCi ? skipped : []
  failures.push(...failed, ...missed.map((name) => `skipped, which is an error in CI: ${name}`))
  return { passed, failed: failed.length + missed.length, skipped: skipped.length - missed.length }
}

async function main(part) {
  if (part !== undefined && !parts.includes(part)) {
    failures.push(`Unknown part ${part}; there are ${parts.join(', ')}.`)
    return { passed: 0, failed: 1 }
  }
  const total = { passed: 0, failed: 0, skipped: 0 }
  try {
    if (!(await setup())) {
      failures.push('the build (the tests, which run from source, went on)')
      total.failed += 1
    }
  } catch (error) {
    failures.push(`setup: ${error.message}`)
    return { passed: 0, failed: 1 }
  }
  for (const name of part === undefined ? parts : [part]) {
    const result = await runPart(name)
    for (const key of Object.keys(total)) total[key] += result[key]
  }
  return total
}

const total = await main(process.argv[2])
for (const name of failures) console.log(`failed: ${name}`)
conclude(total)
