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

/**
 * What vitest's JSON report comes to. A file that could not be loaded has no failed test in it and still is a failure;
 * so is an error outside every test (an unhandled rejection), which shows in the exit code alone.
 */
function count(report, exitCode) {
  let passed = 0
  let failed = 0
  const skipped = []
  for (const file of report.testResults) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed += 1
      else if (test.status === 'failed') failed += 1
      else skipped.push(`${file.name.slice(root.length + 1)}: ${test.fullName}`)
    }
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'))
      failed += 1
  }
  if (exitCode !== 0 && failed === 0) failed = 1
  return { passed, failed, skipped }
}

async function runVitest(part) {
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-test-'))
  const file = join(folder, 'report.json')
  try {
    const code = await run(process.execPath, [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      `--project=${part}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ])
    // No report: vitest itself broke down, or there was no test at all. Neither is a success.
    if (!existsSync(file)) return { passed: 0, failed: 1, skipped: [] }
    const result = count(readJson(file), code)
    if (result.passed + result.failed + result.skipped.length === 0) {
      console.log(`${part}: no tests found`)
      result.failed = 1
    }
    return result
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
      console.error(`browser: ${error.message}`)
      return { passed: 0, failed: 1, skipped: 0 }
    }
  }
  const { passed, failed, skipped } = await runVitest(part)
  for (const name of skipped) console.log(`skipped: ${name}`)
  // A judge that is skipped in silence is no judge. On a developer's machine it may be missing; in CI it may not.
  const missed = part !== 'unit' && inCi ? skipped.length : 0
  if (missed > 0) console.log(`${part}: ${missed} skipped, which is an error in CI`)
  return { passed, failed: failed + missed, skipped: skipped.length - missed }
}

async function main(part) {
  if (part !== undefined && !parts.includes(part)) {
    console.error(`Unknown part ${part}; there are ${parts.join(', ')}.`)
    return { passed: 0, failed: 1 }
  }
  const total = { passed: 0, failed: 0, skipped: 0 }
  try {
    if (!(await setup())) {
      console.error('The build failed; the tests, which run from source, go on.')
      total.failed += 1
    }
  } catch (error) {
    console.error(`setup: ${error.message}`)
    return { passed: 0, failed: 1 }
  }
  for (const name of part === undefined ? parts : [part]) {
    const result = await runPart(name)
    for (const key of Object.keys(total)) total[key] += result[key]
  }
  return total
}

conclude(await main(process.argv[2]))
