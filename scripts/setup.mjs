// `npm run setup`: installs the dependencies and, as root on Debian, the programs that the tests use, and builds. Needs only
// Node and npm. Takes seconds if nothing is missing, so `npm test` can call it each time.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'
import { ask, find, installed, packages, pnpm, root, run } from './command.mjs'

/** The programs from outside npm that check the project's output in the tests. A test that needs another adds it here. */
const judges = [
  {
    program: 'openssl',
    debian: 'openssl',
    needed: 'verifying signatures and certificates',
  },
  { program: 'chromium', debian: 'chromium', needed: 'running the tests in a real browser' },
  { program: 'Xvfb', debian: 'xvfb', needed: 'choosing a reader in the browser’s device chooser' },
  { program: 'xdotool', debian: 'xdotool', needed: 'choosing a reader in the browser’s device chooser' },
  { program: 'gcc', debian: 'gcc libc6-dev', needed: 'the virtual USB bus, whose preload library is C' },
  {
    program: 'pkg-config',
    debian: 'pkg-config',
    needed: 'building the programs that test the virtual USB bus',
  },
  {
    program: 'opensc-tool',
    debian: 'opensc opensc-pkcs11',
    needed: 'testing the virtual cards with OpenSC',
  },
  {
    program: 'yubico-piv-tool',
    debian: 'yubico-piv-tool',
    needed: 'testing the PIV card with yubico-piv-tool',
  },
  {
    program: '/usr/lib/gnupg/scdaemon',
    debian: 'scdaemon',
    needed: 'testing the OpenPGP card with GnuPG',
  },
  {
    program: '/usr/lib/pcsc/drivers/serial/libifdvpcd.so',
    debian: 'vsmartcard-vpcd',
    needed: 'testing the virtual cards through vpcd',
  },
  { program: 'lsusb', debian: 'usbutils', needed: 'testing the virtual USB bus' },
  {
    program: '/usr/include/libusb-1.0/libusb.h',
    debian: 'libusb-1.0-0-dev',
    needed: 'testing the virtual USB bus with libusb',
  },
  {
    program: '/usr/include/p11-kit-1/p11-kit/pkcs11.h',
    debian: 'libp11-kit-dev',
    needed: 'comparing with OpenSC in the benchmarks',
  },
  { program: 'pcscd', debian: 'pcscd libccid', needed: 'testing the virtual readers with libccid' },
  {
    program: '/usr/lib/softhsm/libsofthsm2.so',
    debian: 'softhsm2',
    needed: 'comparing sessions and operations with SoftHSM',
  },
  { program: 'g++', debian: 'g++ make python3', needed: 'building pkcs11js, which calls SoftHSM' },
  {
    program: '/usr/include/PCSC/winscard.h',
    debian: 'libpcsclite-dev',
    needed: 'testing the virtual readers through PC/SC',
  },
]

/** Looks for a program on the PATH, and in /usr/sbin, which an ordinary user's PATH lacks; or for a file by its path. */
const isThere = (program) =>
  program.startsWith('/')
    ? existsSync(program)
    : find(program) !== undefined || existsSync(join('/usr/sbin', program))

const stamp = join(root, 'node_modules', '.webtoki-setup')

function fail(message) {
  throw new Error(message)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node ${process.versions.node} is too old. Install Node 20.19 or newer.`)
  }
}

/** Hashes what the installed tree depends on: the lockfile, every manifest, and the Node that native addons are built for. */
function fingerprint() {
  const hash = createHash('sha256')
  const manifests = ['packages', 'bench', 'demo', 'e2e']
    .flatMap((folder) => {
      const path = join(root, folder)
      if (!existsSync(path)) return []
      return [folder, ...readdirSync(path).map((name) => join(folder, name))]
    })
    .map((folder) => join(folder, 'package.json'))
  for (const name of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', 'package.json', ...manifests]) {
    const path = join(root, name)
    if (existsSync(path)) hash.update(name).update('\0').update(readFileSync(path)).update('\0')
  }
  return hash.update(`${process.platform} ${process.arch} ${process.versions.modules}`).digest('hex')
}

/** Installs the dependencies, unless they are up to date. Resolves to true if anything was installed. */
async function installDependencies() {
  const current = fingerprint()
  const done = existsSync(stamp) && readFileSync(stamp, 'utf8') === current && existsSync(installed('tsc'))
  if (done) return false
  console.log('setup: installing dependencies')
  const [program, ...before] = pnpm()
  // Without CI=true pnpm asks for confirmation before it replaces a node_modules that it did not create.
  const code = await run(program, [...before, 'install', '--frozen-lockfile', '--reporter=append-only'], {
    env: { CI: 'true' },
  })
  if (code !== 0) fail(`pnpm install ended with code ${code}.`)
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, current)
  return true
}

/** The native addons, which are optional. `usb` has prebuilt binaries. */
const addons = [
  { name: 'usb', cwd: join(root, 'packages', 'cli'), without: 'Node cannot use real readers' },
  { name: 'pkcs11js', cwd: root, without: 'the comparison with SoftHSM is skipped' },
]

/** Builds each addon that does not load, with the compiler that installJudges has installed. A failure is only reported. */
async function rebuildAddons() {
  const [program, ...before] = pnpm()
  for (const { name, cwd, without } of addons) {
    const load = () =>
      ask(process.execPath, ['--input-type=module', '--eval', `await import('${name}')`], {
        cwd,
        timeoutMs: 30_000,
      })
    if (load().code === 0) continue
    await run(program, [...before, 'rebuild', name], { cwd })
    if (load().code !== 0)
      console.log(`setup: the optional addon \`${name}\` does not load; ${without}, everything else works`)
  }
}

async function installJudges() {
  const missing = judges.filter(({ program }) => !isThere(program))
  if (missing.length === 0) return
  const names = missing.flatMap(({ debian }) => debian.split(' '))
  const mayInstall = find('apt-get') && existsSync('/etc/debian_version') && process.getuid?.() === 0
  if (mayInstall) {
    console.log(`setup: installing ${names.join(', ')}`)
    const env = { DEBIAN_FRONTEND: 'noninteractive' }
    const install = () => run('apt-get', ['install', '--yes', '--no-install-recommends', ...names], { env })
    // The first attempt fails if the package lists are missing or outdated. An update fixes both.
    if ((await install()) !== 0 && (await run('apt-get', ['update'], { env })) === 0) await install()
  }
  for (const { program, debian, needed } of missing.filter((judge) => !isThere(judge.program))) {
    const why = mayInstall
      ? 'apt-get could not install it'
      : 'only root on Debian or Ubuntu can install it with this script'
    console.log(`setup: skipped ${program} (${needed}): ${why}; install the package ${debian} manually`)
  }
}

/** Builds the packages into dist/, which `npx webtoki` and the benchmarks use. The tests run from source. */
async function build() {
  const simulatorForNode = join(root, 'packages', 'simulator', 'src', 'node')
  const projects = [...packages().map(({ path }) => path), simulatorForNode, join(root, 'bench')]
    .map((path) => join(path, 'tsconfig.json'))
    .filter((path) => existsSync(path))
  const code = await run(process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    '--build',
    ...projects,
  ])
  return code === 0
}

/** Sets this clone's git hooks to scripts/hooks, unless it already has others. */
function installHooks() {
  const git = (...args) => ask('git', args, { cwd: root })
  const { code, output } = git('rev-parse', '--show-toplevel')
  if (code !== 0 || output.trim() !== root || git('config', 'core.hooksPath').code === 0) return
  git('config', 'core.hooksPath', 'scripts/hooks')
}

/** Runs the whole setup. Resolves to false if only the build failed; throws if anything before it failed. */
export async function setup() {
  checkNode()
  const isNew = await installDependencies()
  installHooks()
  await installJudges()
  if (isNew) await rebuildAddons()
  return build()
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (await setup()) console.log('setup: ready')
    else {
      console.error('setup: the build failed')
      process.exitCode = 1
    }
  } catch (error) {
    console.error(`setup: ${error.message}`)
    process.exitCode = 1
  }
}
