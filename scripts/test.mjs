// `npm test`: sets up what is missing, runs the tests and ends with `N passed, N failed`. With an argument, one part:
// `unit` (nothing from outside npm), `judges` (programs that are not ours give the verdict), `browser` (Chromium).
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask, conclude, find, InterruptedError, readJson, root, run } from './command.mjs'
import { buildDemo } from './demo.mjs'
import { setup } from './setup.mjs'

const parts = ['unit', 'judges', 'browser']
const inCi = process.env.CI === 'true'

/** Each failure by its name, told once more at the end: what scrolled away is what somebody looks for. */
const failures = []

/** Runs vitest on a part, or on some of its files as an ordinary user. */
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
    // No report: vitest itself broke down, or there was no test at all. Neither is a success.
    if (!existsSync(file)) return { passed: 0, failed: [`${part}: vitest ended with ${code}`], skipped: [] }
    const report = readJson(file)
    if (report.passed + report.failed.length + report.skipped.length === 0)
      report.failed.push(`${part}: no tests found`)
    if (code !== 0 && report.failed.length === 0) report.failed.push(`${part}: vitest ended with ${code}`)
    return report
  } finally {
    // Chromium's last processes still write there while it ends.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

/** An ordinary user's number: nobody's, who owns nothing. */
const nobody = 65_534
/** What is told a second time: the stories on the virtual bus, whose users are ordinary ones as a rule. */
const storiesAsUser = ['e2e/test/chromium.test.ts', 'e2e/test/webhid.test.ts']
/** What an ordinary user cannot do, with the reason; root has told it already. */
const notAsUser = [
  { name: 'is told that pcscd holds the reader; pcscd ended, it works', reason: 'needs a mount namespace' },
]

/** Chromium's sandbox is on there, where the machine lets it be; for root it refuses to start. */
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
      // A clone in root's own home.
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
    if (!hasSandbox) console.log('Chromium’s sandbox does not start here: without it.')
    const report = await runVitest('browser', {
      tree,
      prefix,
      vitest: [...storiesAsUser, '--configLoader=runner', '--no-cache'],
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
    const again = await runAsUser()
    failed.push(...again.failed)
    return judged(part, { passed: passed + again.passed, failed, skipped: [...skipped, ...again.skipped] })
  }
  return judged(part, { passed, failed, skipped })
}

function judged(part, { passed, failed, skipped }) {
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
