// `npm test`: runs the setup and the tests, and ends with `N passed, N failed`. An argument selects one part: `unit` needs
// nothing from outside npm, `judges` compares with third-party programs, `browser` runs in Chromium.
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask, conclude, find, InterruptedError, readJson, root, run } from './command.mjs'
import { buildDemo } from './demo.mjs'
import { setup } from './setup.mjs'

const parts = ['unit', 'judges', 'browser']
const inCi = process.env.CI === 'true'

/** The name of each failure, printed again at the end, where a reader of the log looks first. */
const failures = []

/** Runs vitest on a part, or on some of its files as an ordinary user. Resolves to the report of test-reporter.mjs. */
async function runVitest(part, user) {
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-test-'))
  const file = join(folder, 'report.json')
  const tree = user?.tree ?? root
  const vitest = [
    process.execPath,
    join(tree, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    `--project=${part}`,
    '--reporter=default',
    `--reporter=${join(tree, 'scripts', 'test-reporter.mjs')}`,
    ...(user?.vitest ?? []),
  ]
  const [program, ...parts] = [...(user?.prefix ?? []), ...vitest]
  try {
    user?.own(folder)
    const code = await run(program, parts, { cwd: tree, env: { ...user?.env(folder), TEST_REPORT: file } })
    // Without a report vitest itself failed. No report and no tests are both failures.
    if (!existsSync(file)) return { passed: 0, failed: [`${part}: vitest ended with ${code}`], skipped: [] }
    const report = readJson(file)
    if (report.passed + report.failed.length + report.skipped.length === 0)
      report.failed.push(`${part}: no tests found`)
    if (code !== 0 && report.failed.length === 0) report.failed.push(`${part}: vitest ended with ${code}`)
    return report
  } finally {
    // Retries, because Chromium's last processes may still write to the folder.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

/** The user id of `nobody`, an ordinary user who owns no files. */
const nobody = 65_534
/** The test files that are run again as an ordinary user: those on the virtual bus, which ordinary users have to open. */
const filesAsUser = ['e2e/test/chromium.test.ts', 'e2e/test/webhid.test.ts']
/** The tests that an ordinary user cannot run, with the reason. They have run as root. */
const notAsUser = [
  {
    name: 'reports that pcscd uses the reader, and works after pcscd has ended',
    reason: 'needs a mount namespace',
  },
]

/** Runs the browser tests as an ordinary user, with Chromium's sandbox if it starts here. As root it never starts. */
async function runAsUser() {
  console.log('\nbrowser, as an ordinary user:')
  const prefix = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
  const mayRead = (tree) => ask(prefix[0], [...prefix.slice(1), 'test', '-r', join(tree, 'package.json')])
  if (find('setpriv') === undefined)
    return { passed: 0, failed: [], skipped: ['browser, as an ordinary user: setpriv is missing'] }
  const copy = mkdtempSync(join(tmpdir(), 'webtoki-tree-'))
  try {
    let tree = root
    if (mayRead(root).code !== 0) {
      // The repository is in a folder that only root can read, so the tests run on a copy.
      tree = join(copy, 'tree')
      chmodSync(copy, 0o755)
      cpSync(root, tree, { recursive: true, verbatimSymlinks: true })
      chmodSync(tree, 0o755)
    }
    const withSandbox = [...prefix, 'env', `HOME=${copy}`, 'chromium', '--headless', '--disable-gpu']
    chownSync(copy, nobody, nobody)
    const hasSandbox =
      ask(
        withSandbox[0],
        [...withSandbox.slice(1), `--user-data-dir=${copy}/profile`, '--dump-dom', 'about:blank'],
        {
          timeoutMs: 20_000,
        },
      ).code === 0
    if (!hasSandbox) console.log('Chromium’s sandbox does not start on this system; running without it.')
    const report = await runVitest('browser', {
      tree,
      prefix,
      vitest: [...filesAsUser, '--configLoader=runner', '--no-cache'],
      own: (folder) => chownSync(folder, nobody, nobody),
      env: (folder) => ({
        HOME: folder,
        TMPDIR: folder,
        XDG_CACHE_HOME: join(folder, 'cache'),
        XDG_CONFIG_HOME: join(folder, 'config'),
        XDG_RUNTIME_DIR: folder,
        ...(hasSandbox ? {} : { CHROMIUM_SANDBOX: 'off' }),
      }),
    })
    const asUser = (name) => `as an ordinary user: ${name}`
    const isExpected = (name) => notAsUser.some((each) => name.includes(each.name))
    for (const { name, reason } of notAsUser) console.log(`not as an ordinary user: ${name} (${reason})`)
    return {
      passed: report.passed,
      failed: report.failed.map(asUser),
      skipped: report.skipped.filter((name) => !isExpected(name)).map(asUser),
    }
  } finally {
    rmSync(copy, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
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
  if (part === 'browser' && process.getuid?.() === 0) {
    const asUser = await runAsUser()
    failed.push(...asUser.failed)
    return summarize(part, {
      passed: passed + asUser.passed,
      failed,
      skipped: [...skipped, ...asUser.skipped],
    })
  }
  return summarize(part, { passed, failed, skipped })
}

/** Prints skipped tests and counts the results. In CI a skipped test of `judges` or `browser` is a failure. */
function summarize(part, { passed, failed, skipped }) {
  for (const name of skipped) console.log(`skipped: ${name}`)
  const missed = part !== 'unit' && inCi ? skipped : []
  failures.push(...failed, ...missed.map((name) => `skipped, which is an error in CI: ${name}`))
  return { passed, failed: failed.length + missed.length, skipped: skipped.length - missed.length }
}

async function main(part) {
  if (part !== undefined && !parts.includes(part)) {
    failures.push(`Unknown part ${part}. Use one of ${parts.join(', ')}.`)
    return { passed: 0, failed: 1 }
  }
  const total = { passed: 0, failed: 0, skipped: 0 }
  try {
    if (!(await setup())) {
      failures.push('the build (the tests ran all the same, from source)')
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

let total
try {
  total = await main(process.argv[2])
} catch (error) {
  if (!(error instanceof InterruptedError)) throw error
  failures.push(error.message)
  total = { passed: 0, failed: 1 }
}
for (const name of failures) console.log(`failed: ${name}`)
conclude(total)
