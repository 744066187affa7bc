/** The program `webtoki`: selects and runs a command, and turns errors into a message and an exit code. */
import { readFileSync } from 'node:fs'
import { isWebtokiError } from '@webtoki/apdu'
import { readerProfiles } from '@webtoki/simulator'
import { UsageError } from './arguments.ts'
import { SIMULATED_PIN } from './connect.ts'
import { operations } from './operations.ts'
import { plan } from './plan.ts'
import { readers } from './readers.ts'
import { sign } from './sign.ts'
import { tokens } from './tokens.ts'
import { virtualUsb } from './virtual-usb.ts'
import { vpcd } from './vpcd.ts'

/**
 * Runs one command with the arguments after its name. Resolves when it is done, to the exit code if that is not 0. `output`
 * takes lines of the result, `complain` problems that do not end the command.
 */
export type Command = (
  args: readonly string[],
  output: (line: string) => void,
  complain: (line: string) => void,
) => Promise<number | void>

const commands: Readonly<Record<string, Command>> = {
  readers,
  tokens,
  sign,
  operations,
  plan,
  vpcd,
  'virtual-usb': virtualUsb,
}

/** The text that `--help` prints. */
export const help: string = `webtoki COMMAND [options]; webtoki COMMAND --help; webtoki --version

  readers   list the readers and whether a card is in them
  tokens    list the tokens on the cards, with their certificates and keys
  sign      sign a file with a key on a card
              --key 9a|9c|9d|9e       which key of a PIV card
              --key signature|authentication   which key of an OpenPGP card
              --mechanism CKM_…       such as CKM_SHA256_RSA_PKCS or CKM_ECDSA_SHA256
              --in FILE --out FILE    the file to sign, the file for the signature
              --public-key FILE       also write the public key, as PEM
              --signature-format der|raw   of ECDSA signatures: der for OpenSSL (default),
                                           raw for r and s as in PKCS#11
              --pin-stdin             read the PIN from standard input (one line)
              --accept-last-try       use the last PIN attempt if only one is left

  operations   start each kind of operation while another kind is active, on a virtual PIV card, and print how many
            of the 128 cases follow the PKCS#11 standard
              --simulator piv

  plan      show how the driver would use a reader, from its descriptors
              --descriptor HEX        the 54 bytes of the class descriptor of a reader that is not connected
              --reader VVVV:PPPP      the vendor and product id of that reader
              --quirks                list known deviations of single readers, with reasons and sources
  vpcd      put a virtual card into the reader of vsmartcard's vpcd
              --card piv|openpgp|multi|echo --host H --port 35963
  virtual-usb   serve a USB bus of virtual readers to other programs, and print the environment to start them with
              --device READER[:CARD]  can be repeated; CARD is piv (default), openpgp, multi, echo or none
                                      (default dualiAbcm6:piv)

Virtual readers
  ${Object.keys(readerProfiles).join(' ')}

Which readers
  --simulator piv|openpgp|multi   a virtual reader with a virtual card; multi has both applications
  --simulator-reader extended|short|tpdu   the virtual reader's exchange level (default extended)
  --usb-module FILE               an ES module whose default export has the W3C USB interface
  (neither)                       real readers, through the optional npm package 'usb'

PINs of the virtual cards: PIV PIN ${SIMULATED_PIN}, PUK 12345678, the default PIV management key;
OpenPGP PIN ${SIMULATED_PIN}, admin PIN 12345678.
Under --simulator this PIN is used unless --pin-stdin is given.
`

/**
 * Runs the command line `webtoki ARGS` and writes to standard output and standard error. Resolves to the exit code: 0 for
 * success, 1 if the command failed, 2 if the command line was wrong. Rejects with any error that is a fault of the program.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader of the output closed the pipe, such as `| head -1`. That is not an error of the command.
    if (error.code !== 'EPIPE') throw error
  })
  if (name === undefined || name === '--help' || name === '-h') {
    process.stdout.write(help)
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-V') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command !== undefined && (rest.includes('--help') || rest.includes('-h'))) {
    process.stdout.write(helpFor(name))
    return 0
  }
  try {
    if (command === undefined) throw new UsageError(`Unknown command '${name}'. See webtoki --help.`)
    const output = (line: string): void => void process.stdout.write(`${line}\n`)
    const complain = (line: string): void => void process.stderr.write(`webtoki: ${line}\n`)
    return (await command(rest, output, complain)) ?? 0
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`webtoki: ${error.message}\n`)
      return 2
    }
    if (isWebtokiError(error) || isFileError(error)) {
      process.stderr.write(`webtoki: ${describe(error)}\n`)
      return 1
    }
    throw error
  }
}

/** Returns the command's own section of the help and the sections that all commands share. */
function helpFor(name: string): string {
  const [, ...sections] = help.split(/^(?=  [a-z]|[A-Z])/m)
  const own = sections.find((section) => section.startsWith(`  ${name} `)) ?? ''
  const shared = sections.filter((section) => /^(Which|PINs|Under|OpenPGP)/.test(section))
  return `webtoki ${name} [options]\n\n${own.trimEnd()}\n\n${shared.join('')}`
}

function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** Joins the message with those of its causes, so that a CKR code comes with the error of the card or the reader. */
function describe(error: Error): string {
  const messages: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { message } = at
    // The message of a CKR code often contains that of its cause, which is then not repeated.
    if (!messages.some((above) => above.includes(message.replace(/\.$/, '')))) messages.push(message)
  }
  return messages.join(' – ')
}

function isFileError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error
}
