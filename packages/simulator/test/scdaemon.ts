/** GnuPG's scdaemon, driven by its own protocol (Assuan) with neither gpg nor an agent; it has a home of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Pcscd } from '../src/node/index.ts'

/** Where Debian keeps it. */
export const scdaemonProgram = '/usr/lib/gnupg/scdaemon'

/** What a command came to. */
export interface ScdaemonAnswer {
  /** `OK`, or the error's number and text. */
  readonly outcome: string
  /** Status lines, without their S. */
  readonly status: readonly string[]
  readonly data: Buffer
  /** The texts with which it asked for PINs. */
  readonly questions: readonly string[]
}

/** A running scdaemon. */
export class Scdaemon {
  readonly #child: ChildProcess
  readonly #home = mkdtempSync(join(tmpdir(), 'webtoki-scd-'))
  readonly #reader: Interface
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<unknown>
  readonly #hello: Promise<unknown>

  constructor(daemon: Pcscd) {
    writeFileSync(join(this.#home, 'scdaemon.conf'), 'disable-ccid\npcsc-driver libpcsclite.so.1\n')
    const { program, args } = daemon.inside(scdaemonProgram, '--server', '--homedir', this.#home)
    this.#child = spawn(program, [...args], {
      env: { ...process.env, GNUPGHOME: this.#home, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#ended = new Promise((resolve) => this.#child.once('exit', resolve))
    const output = this.#child.stdout as NodeJS.ReadableStream
    // Data lines carry bytes, all but three of which stand for themselves.
    output.setEncoding('latin1')
    this.#reader = createInterface({ input: output })
    this.#lines = this.#reader[Symbol.asyncIterator]()
    this.#hello = this.#answer([])
    // Who never asks has nothing to be told.
    this.#hello.catch(() => undefined)
  }

  /** Sends a command; asked for a PIN it gives these, one after the other, and cancels when there is none left. */
  async ask(command: string, pins: readonly string[] = []): Promise<ScdaemonAnswer> {
    await this.#hello
    this.#say(command)
    return this.#answer(pins)
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
    this.#reader.close()
    rmSync(this.#home, { recursive: true, force: true })
  }

  #say(line: string): void {
    ;(this.#child.stdin as NodeJS.WritableStream).write(`${line}\n`)
  }

  async #answer(pins: readonly string[]): Promise<ScdaemonAnswer> {
    const status: string[] = []
    const data: Buffer[] = []
    const questions: string[] = []
    const left = [...pins]
    for (;;) {
      const { value: line, done } = await this.#lines.next()
      if (done) throw new Error('scdaemon has ended.')
      if (line.startsWith('OK')) return { outcome: 'OK', status, data: Buffer.concat(data), questions }
      if (line.startsWith('ERR '))
        return { outcome: line.slice(4), status, data: Buffer.concat(data), questions }
      if (line.startsWith('S ')) status.push(decoded(line.slice(2)))
      if (line.startsWith('D ')) data.push(Buffer.from(decoded(line.slice(2)), 'latin1'))
      if (line.startsWith('INQUIRE NEEDPIN')) {
        questions.push(decoded(line.slice('INQUIRE NEEDPIN '.length)))
        const pin = left.shift()
        // The PIN ends with a zero byte.
        if (pin !== undefined) this.#say(`D ${pin}%00`)
        this.#say(pin === undefined ? 'CAN' : 'END')
      }
    }
  }
}

function decoded(text: string): string {
  return text.replace(/%([0-9A-F]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}
