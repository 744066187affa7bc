/** Where the readers come from: the simulator, a module that exports a W3C `USB`, or the npm package `usb`. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ReaderProblem } from '@webtoki/apdu'
import { type CcidSlotSource, ccidSlots } from '@webtoki/ccid'
import { firstValueFrom } from 'rxjs'
import { type ReaderArguments, UsageError } from './arguments.ts'

/** The readers, and the PIN that a virtual card starts with. */
export interface Connected {
  readonly source: CcidSlotSource
  /** The printed PIN of the virtual card; undefined where real cards are reached. */
  readonly simulatedPin: string | undefined
}

/** The PIN that every virtual card of ours starts with; printed by `--help`. */
export const SIMULATED_PIN = '123456'

/** Opens the slot source that the options name. Throws UsageError for options that fit nothing. */
export async function connect(options: ReaderArguments): Promise<Connected> {
  const usb = await connectUsb(options)
  return {
    source: ccidSlots({ usb }),
    simulatedPin: options.simulator === undefined ? undefined : SIMULATED_PIN,
  }
}

/** The USB that the options name. Throws UsageError for options that fit nothing. */
export async function connectUsb(options: ReaderArguments): Promise<USB> {
  if (options.simulator !== undefined && options['usb-module'] !== undefined) {
    throw new UsageError('Give either --simulator or --usb-module, not both.')
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
    throw new UsageError(`--simulator-reader is ${Object.keys(levels).join(', ')}, not '${level}'.`)
  const reader = new VirtualCcidReader(readerProfiles[profile])
  reader.insert(cardNamed(card))
  // As Node reaches devices: no class is protected.
  return virtualUsb([reader], { protectedClasses: false })
}

async function moduleUsb(file: string): Promise<USB> {
  let loaded: { readonly default?: unknown }
  try {
    loaded = await import(pathToFileURL(resolve(file)).href)
  } catch (cause) {
    throw new UsageError(`The USB module ${file} cannot be loaded: ${(cause as Error).message}`, { cause })
  }
  const usb = await loaded.default
  if (!isUsb(usb))
    throw new UsageError(`The default export of ${file} is no W3C USB object (it lacks getDevices).`)
  return usb
}

function isUsb(value: unknown): value is USB {
  return typeof value === 'object' && value !== null && 'getDevices' in value
}

/** The native package is optional: it is loaded only where a real reader is asked for. */
async function nodeUsb(): Promise<USB> {
  let native: typeof import('usb')
  try {
    native = await import('usb')
  } catch (cause) {
    throw new UsageError(
      "Real readers need the optional npm package 'usb', which is not installed or does not load here. " +
        'Install it, or give --usb-module or --simulator piv.',
      { cause },
    )
  }
  return new native.WebUSB({ allowAllDevices: true }) as unknown as USB
}

/** Tells on standard error which readers cannot be used, and what can be done. True if there is one. */
export async function tellProblems(
  { source }: Connected,
  complain: (line: string) => void,
): Promise<boolean> {
  const problems = await firstValueFrom(source.problems$, { defaultValue: [] })
  for (const problem of problems) complain(inWords(problem))
  return problems.length > 0
}

function inWords({ name, vendorId, productId, error }: ReaderProblem): string {
  const id = [vendorId, productId].map((each) => (each ?? 0).toString(16).padStart(4, '0')).join(':')
  const hint = hintFor(error.code)
  return `${name} (${id}): ${error.message}${hint === undefined ? '' : ` ${hint}`}`
}

/** What a person at this computer can do. */
export function hintFor(code: string): string | undefined {
  const isLinux = process.platform === 'linux'
  if (code === 'reader/not-granted' && isLinux)
    return 'On Linux a udev rule gives access to the device, such as SUBSYSTEM=="usb", ATTR{idVendor}=="…", TAG+="uaccess".'
  if (code === 'reader/in-use')
    return `If pcscd holds it: ${isLinux ? 'systemctl stop pcscd.socket pcscd' : 'stop the smartcard service'}.`
  if (code === 'reader/none') return 'Without a reader, --simulator piv stands in for one.'
  return undefined
}
