/** Opens the readers: those of the simulator, of a module that exports a W3C `USB`, or of the npm package `usb`. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ReaderProblem } from '@webtoki/apdu'
import { type CcidSlotSource, ccidSlots } from '@webtoki/ccid'
import { firstValueFrom } from 'rxjs'
import { type ReaderArguments, UsageError } from './arguments.ts'

/** The readers, and the PIN of a virtual card. */
export interface Connected {
  readonly source: CcidSlotSource
  /** The published PIN of the virtual card; undefined for real readers. */
  readonly simulatedPin: string | undefined
}

/** The initial PIN of every virtual card; `--help` prints it. */
export const SIMULATED_PIN = '123456'

/** Opens the slot source that the options name. Throws UsageError if they name none. */
export async function connect(options: ReaderArguments): Promise<Connected> {
  const usb = await connectUsb(options)
  return {
    source: ccidSlots({ usb }),
    simulatedPin: options.simulator === undefined ? undefined : SIMULATED_PIN,
  }
}

/** Returns the `USB` object that the options name. Throws UsageError if they name none. */
export async function connectUsb(options: ReaderArguments): Promise<USB> {
  if (options.simulator !== undefined && options['usb-module'] !== undefined) {
    throw new UsageError('--simulator and --usb-module cannot be combined. Give one of them.')
  }
  if (options.simulator !== undefined)
    return simulatedUsb(options.simulator, options['simulator-reader'] ?? 'extended')
  return options['usb-module'] === undefined ? nodeUsb() : moduleUsb(options['usb-module'])
}

async function simulatedUsb(card: string, level: string): Promise<USB> {
  const { readerProfiles, VirtualCcidReader, virtualUsb } = await import('@webtoki/simulator')
  const { cardNamed } = await import('./virtual-cards.ts')
  const levels: Readonly<Record<string, keyof typeof readerProfiles>> = {
    extended: 'dualiAbcm6',
    short: 'omnikey3021',
    tpdu: 'scr331',
  }
  const profile = Object.hasOwn(levels, level) ? levels[level] : undefined
  if (profile === undefined)
    throw new UsageError(
      `--simulator-reader must be one of ${Object.keys(levels).join(', ')}; got '${level}'.`,
    )
  const reader = new VirtualCcidReader(readerProfiles[profile])
  reader.insert(cardNamed(card))
  // Node, unlike a browser, does not keep protected interface classes from programs.
  return virtualUsb([reader], { protectedClasses: false })
}

async function moduleUsb(file: string): Promise<USB> {
  let loaded: { readonly default?: unknown }
  try {
    loaded = await import(pathToFileURL(resolve(file)).href)
  } catch (cause) {
    throw new UsageError(`Cannot load the USB module ${file}: ${(cause as Error).message}`, { cause })
  }
  const usb = await loaded.default
  if (!isUsb(usb))
    throw new UsageError(`The default export of ${file} is not a W3C USB object: it has no getDevices.`)
  return usb
}

function isUsb(value: unknown): value is USB {
  return typeof value === 'object' && value !== null && 'getDevices' in value
}

/** The native package is an optional dependency, so it is loaded only for real readers. */
async function nodeUsb(): Promise<USB> {
  let native: typeof import('usb')
  try {
    native = await import('usb')
  } catch (cause) {
    throw new UsageError(
      "Real readers need the optional npm package 'usb', which is not installed or does not load on this system. " +
        'Install it, or use --usb-module or --simulator piv.',
      { cause },
    )
  }
  return new native.WebUSB({ allowAllDevices: true }) as unknown as USB
}

/** Reports each reader that cannot be used, with a hint what to do. Resolves to true if there is such a reader. */
export async function reportProblems(
  { source }: Connected,
  complain: (line: string) => void,
): Promise<boolean> {
  const problems = await firstValueFrom(source.problems$, { defaultValue: [] })
  for (const problem of problems) complain(describeProblem(problem))
  return problems.length > 0
}

function describeProblem({ name, vendorId, productId, error }: ReaderProblem): string {
  const id = [vendorId, productId].map((each) => (each ?? 0).toString(16).padStart(4, '0')).join(':')
  const hint = hintFor(error.code)
  return `${name} (${id}): ${error.message}${hint === undefined ? '' : ` ${hint}`}`
}

/** Returns what a person can do on this operating system about an error code, or undefined. */
export function hintFor(code: string): string | undefined {
  const isLinux = process.platform === 'linux'
  if (code === 'reader/not-granted' && isLinux)
    return 'On Linux a udev rule grants access to the device, such as SUBSYSTEM=="usb", ATTR{idVendor}=="…", TAG+="uaccess".'
  if (code === 'reader/in-use')
    return isLinux
      ? 'If pcscd uses it, stop pcscd: systemctl stop pcscd.socket pcscd.'
      : 'If the smartcard service uses it, stop that service.'
  if (code === 'reader/none') return 'To try the command without a reader, use --simulator piv.'
  return undefined
}
