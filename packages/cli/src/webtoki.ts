/** The command `webtoki`: finds the command, runs it, and turns errors into one sentence and an exit code. */
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
 * Runs one command with the words after its name; resolves when it is done, to an exit code if that is not 0. `complain` is
 * for what is wrong and does not end the command.
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

/** Printed by `--help`. */
export const help: string = `webtoki COMMAND [options]; webtoki COMMAND --help; webtoki --version

  readers   list the readers, and whether a card is in them
  tokens    list the tokens on the cards, with their certificates and keys
  sign      sign a file with a key on a card
              --key 9a|9c|9d|9e       which key of a PIV card
              --key signature|authentication   which key of an OpenPGP card
              --mechanism CKM_…       such as CKM_SHA256_RSA_PKCS or CKM_ECDSA_SHA256
              --in FILE --out FILE    what to sign, where the signature goes
              --public-key FILE       writes the key's public key as PEM
              --signature-format der|raw   of ECDSA signatures; der is what OpenSSL takes (default),
                                           raw is r and s as PKCS#11 has them
              --pin-stdin             read the PIN from standard input (one line)
              --accept-last-try       spend the last PIN try, if only one is left

  operations   begin each kind of operation beside each other kind, on sessions of a virtual PIV card, and tell
            how many of the 128 cases follow the PKCS#11 standard
              --simulator piv

  plan      what will be done with a reader, by its descriptors alone
              --descriptor HEX        the 54 bytes of its class descriptor, for a reader that is not here
              --reader VVVV:PPPP      whose they are
              --quirks                all that is known of single readers, with reasons and sources
  vpcd      put a virtual card into the reader of vsmartcard's vpcd
              --card piv|openpgp|multi|echo --host H --port 35963
  virtual-usb   a USB bus of virtual readers for other programs; prints the environment to start them with
              --device READER[:CARD]  may be given often; CARD is piv (default), openpgp, multi, echo or none
                                      (default dualiAbcm6:piv)

Virtual readers
  ${Object.keys(readerProfiles).join(' ')}

Which readers
  --simulator piv|openpgp|multi   a virtual reader with a virtual card; multi has both applications
  --simulator-reader extended|short|tpdu   the virtual reader's exchange level (default extended)
  --usb-module FILE               an ES module whose default export has the W3C USB interface
  (neither)                       real readers, by the optional npm package 'usb'

PINs of the virtual cards: PIV PIN ${SIMULATED_PIN}, PUK 12345678, management key the well-known default;
OpenPGP PIN ${SIMULATED_PIN}, admin PIN 12345678.
Under --simulator that PIN is used where none is given.
`

/** Exit codes: 0 done, 1 it failed, 2 the command line was wrong. */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads has had enough (`| head -1`): the command is done all the same.
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
    if (command === undefined) throw new UsageError(`There is no command '${name}'. See webtoki --help.`)
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

/** The command's own part of the help, and what the commands share. */
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

/** The message with its causes, so that a CKR code comes with what the card or the reader said. */
function describe(error: Error): string {
  const messages: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { message } = at
    // A CKR code often says what its cause says, and need not say it twice.
    if (!messages.some((above) => above.includes(message.replace(/\.$/, '')))) messages.push(message)
  }
  return messages.join(' – ')
}

function isFileError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error
}
