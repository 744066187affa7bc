// `npm run setup`: brings everything that the machine lacks, as far as it may, and builds. Needs Node and npm only.
// Quick when nothing is missing, so that the tests can call it each time.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'
import { ask, find, installed, packages, pnpm, root, run } from './command.mjs'

/** Programs from outside npm that give the tests a second opinion. The one list; a test that needs more adds it here. */
const judges = [
  {
    program: 'openssl',
    debian: 'openssl',
    needed: 'verifying signatures and certificates in the judges’ tests',
  },
  { program: 'chromium', debian: 'chromium', needed: 'the stories in a real browser' },
  { program: 'Xvfb', debian: 'xvfb', needed: 'picking a reader in the browser’s own chooser' },
  { program: 'xdotool', debian: 'xdotool', needed: 'picking a reader in the browser’s own chooser' },
  { program: 'gcc', debian: 'gcc libc6-dev', needed: 'the virtual USB bus, whose preload library is C' },
  {
    program: 'pkg-config',
    debian: 'pkg-config',
    needed: 'building the programs that judge the virtual USB bus',
  },
  {
    program: 'opensc-tool',
    debian: 'opensc opensc-pkcs11',
    needed: 'judging the virtual cards by OpenSC',
  },
  {
    program: 'yubico-piv-tool',
    debian: 'yubico-piv-tool',
    needed: 'judging the PIV card by yubico-piv-tool',
  },
  {
    program: '/usr/lib/gnupg/scdaemon',
    debian: 'scdaemon',
    needed: 'judging the OpenPGP card by GnuPG',
  },
  {
    program: '/usr/lib/pcsc/drivers/serial/libifdvpcd.so',
    debian: 'vsmartcard-vpcd',
    needed: 'judging the virtual cards behind vpcd',
  },
  { program: 'lsusb', debian: 'usbutils', needed: 'judging the virtual USB bus' },
  {
    program: '/usr/include/libusb-1.0/libusb.h',
    debian: 'libusb-1.0-0-dev',
    needed: 'judging the virtual USB bus by libusb',
  },
  {
    program: '/usr/include/p11-kit-1/p11-kit/pkcs11.h',
    debian: 'libp11-kit-dev',
    needed: 'counting OpenSC’s work beside ours in the bench',
  },
  { program: 'pcscd', debian: 'pcscd libccid', needed: 'judging the virtual readers by libccid' },
  {
    program: '/usr/lib/softhsm/libsofthsm2.so',
    debian: 'softhsm2',
    needed: 'judging sessions and operations by SoftHSM',
  },
  { program: 'g++', debian: 'g++ make python3', needed: 'building pkcs11js, which calls SoftHSM' },
  {
    program: '/usr/include/PCSC/winscard.h',
    debian: 'libpcsclite-dev',
    needed: 'judging the virtual readers',
  },
]

/** A program on the PATH, or a file by its whole path. An ordinary user's PATH lacks the folder of the daemons. */
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
    fail(`Node ${process.versions.node} is too old; 20.19 or newer is needed.`)
  }
}

/** What the installed tree depends on: the lockfile, every manifest, and the Node that native addons were built for. */
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

/** True if anything was installed. */
async function installDependencies() {
  const wanted = fingerprint()
  const done = existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted && existsSync(installed('tsc'))
  if (done) return false
  console.log('setup: installing dependencies')
  const [program, ...before] = pnpm()
  // The environment's CI is passed on; without it pnpm would ask before it replaces a foreign node_modules.
  const code = await run(program, [...before, 'install', '--frozen-lockfile', '--reporter=append-only'], {
    env: { CI: 'true' },
  })
  if (code !== 0) fail(`pnpm install ended with code ${code}.`)
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, wanted)
  return true
}

/** Native and optional. `usb` brings prebuilt addons. */
const addons = [
  { name: 'usb', cwd: join(root, 'packages', 'cli'), without: 'real readers are out of reach from Node' },
  { name: 'pkcs11js', cwd: root, without: 'SoftHSM judges nothing' },
]

/** An addon that does not load is built here, with the compiler that has been installed by then; if that fails, we say so and go on. */
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
      console.log(`setup: the optional addon \`${name}\` does not load here; ${without}, all else works`)
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
    // A fresh machine has no package lists; an older one has stale ones. Both are mended by one update.
    if ((await install()) !== 0 && (await run('apt-get', ['update'], { env })) === 0) await install()
  }
  for (const { program, debian, needed } of missing.filter((judge) => !isThere(judge.program))) {
    const why = mayInstall
      ? 'apt-get could not install it'
      : 'only root on Debian or Ubuntu can install it from here'
    console.log(`setup: skipped ${program} (${needed}): ${why}; install the package ${debian} yourself`)
  }
}

/** Our packages into dist/: `npx webtoki` and the bench run from there, the tests run from source. */
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

/** Lets git run our hooks in this clone, unless it already has others. */
function installHooks() {
  const git = (...args) => ask('git', args, { cwd: root })
  const { code, output } = git('rev-parse', '--show-toplevel')
  if (code !== 0 || output.trim() !== root || git('config', 'core.hooksPath').code === 0) return
  git('config', 'core.hooksPath', 'scripts/hooks')
}

/** All of it. Throws where nothing can go on; gives false where only our own build failed. */
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
