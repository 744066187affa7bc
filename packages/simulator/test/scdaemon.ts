/** Drives GnuPG's scdaemon with the Assuan protocol, without gpg or an agent, and with a temporary home folder. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Pcscd } from '../src/node/index.ts'

/** The path of scdaemon on Debian. */
export const scdaemonProgram = '/usr/lib/gnupg/scdaemon'

/** The response to a command. */
export interface ScdaemonResponse {
  /** `OK`, or the number and text of the error. */
  readonly outcome: string
  /** The status lines, without `S`. */
  readonly status: readonly string[]
  readonly data: Buffer
  /** The texts of its PIN requests. */
  readonly pinPrompts: readonly string[]
}

/** A running scdaemon. */
export class Scdaemon {
  readonly #child: ChildProcess
  readonly #home = mkdtempSync(join(tmpdir(), 'webtoki-scd-'))
  readonly #reader: Interface
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<unknown>
  readonly #greeting: Promise<unknown>

  constructor(daemon: Pcscd) {
    writeFileSync(join(this.#home, 'scdaemon.conf'), 'disable-ccid\npcsc-driver libpcsclite.so.1\n')
    const { program, args } = daemon.inside(scdaemonProgram, '--server', '--homedir', this.#home)
    this.#child = spawn(program, [...args], {
      env: { ...process.env, GNUPGHOME: this.#home, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#ended = new Promise((resolve) => this.#child.once('exit', resolve))
    const output = this.#child.stdout as NodeJS.ReadableStream
    // Data lines contain raw bytes, of which only three are escaped.
    output.setEncoding('latin1')
    this.#reader = createInterface({ input: output })
    this.#lines = this.#reader[Symbol.asyncIterator]()
    this.#greeting = this.#readResponse([])
    // A rejection matters only to callers of `ask`, which awaits the greeting too.
    this.#greeting.catch(() => undefined)
  }

  /** Sends a command. Responds to PIN requests with these PINs in order, and cancels when none is left. */
  async ask(command: string, pins: readonly string[] = []): Promise<ScdaemonResponse> {
    await this.#greeting
    this.#send(command)
    return this.#readResponse(pins)
  }

  /** Kills scdaemon and deletes its home folder. */
  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
    this.#reader.close()
    rmSync(this.#home, { recursive: true, force: true })
  }

  #send(line: string): void {
    ;(this.#child.stdin as NodeJS.WritableStream).write(`${line}\n`)
  }

  async #readResponse(pins: readonly string[]): Promise<ScdaemonResponse> {
    const status: string[] = []
    const data: Buffer[] = []
    const pinPrompts: string[] = []
    const left = [...pins]
    for (;;) {
      const { value: line, done } = await this.#lines.next()
      if (done) throw new Error('scdaemon ended before it sent a response.')
      if (line.startsWith('OK')) return { outcome: 'OK', status, data: Buffer.concat(data), pinPrompts }
      if (line.startsWith('ERR '))
        return { outcome: line.slice(4), status, data: Buffer.concat(data), pinPrompts }
      if (line.startsWith('S ')) status.push(decoded(line.slice(2)))
      if (line.startsWith('D ')) data.push(Buffer.from(decoded(line.slice(2)), 'latin1'))
      if (line.startsWith('INQUIRE NEEDPIN')) {
        pinPrompts.push(decoded(line.slice('INQUIRE NEEDPIN '.length)))
        const pin = left.shift()
        // A zero byte terminates the PIN.
        if (pin !== undefined) this.#send(`D ${pin}%00`)
        this.#send(pin === undefined ? 'CAN' : 'END')
      }
    }
  }
}

function decoded(text: string): string {
  return text.replace(/%([0-9A-F]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}
