/** Parses the command line: the options that commands share, and a typed error for wrong ones. */
import { type ParseArgsConfig, parseArgs } from 'node:util'

/** The command line is wrong. The message is for the person who typed it; `webtoki` ends with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

type Options = NonNullable<ParseArgsConfig['options']>

/** Options of every command that reaches a reader. */
export const readerOptions: {
  readonly simulator: { readonly type: 'string' }
  readonly 'simulator-reader': { readonly type: 'string' }
  readonly 'usb-module': { readonly type: 'string' }
  readonly help: { readonly type: 'boolean'; readonly short: 'h' }
} = {
  simulator: { type: 'string' },
  'simulator-reader': { type: 'string' },
  'usb-module': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
}

/** The parsed values of `readerOptions`. */
export interface ReaderArguments {
  readonly simulator?: string | undefined
  readonly 'simulator-reader'?: string | undefined
  readonly 'usb-module'?: string | undefined
  readonly help?: boolean | undefined
}

/** Parses the options. Throws UsageError for an unknown option or an argument that is not an option. */
export function parseOptions<T extends Options>(
  args: readonly string[],
  options: T,
): ReturnType<typeof parseArgs<{ options: T; args: string[]; strict: true }>>['values'] {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}
