/**
 * Starts Debian's pcscd with libccid for the devices of a bus. It runs in a separate mount namespace, so that it does
 * not interfere with the machine's pcscd.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { VirtualUsbBus } from './virtual-usb-bus.ts'

/** Options of `startPcscd`. */
export interface PcscdOptions {
  /** The bus whose devices pcscd finds. Default: none. */
  readonly bus?: Pick<VirtualUsbBus, 'environment'>
  /** A folder with reader.conf files, which replaces the machine's. Default: an empty folder. */
  readonly readerConf?: string
}

/** A program and its arguments. */
export interface Invocation {
  readonly program: string
  readonly args: readonly string[]
}

/** A running pcscd. */
export interface Pcscd {
  /** Returns how to start a program that uses this daemon and no other. */
  inside(program: string, ...args: readonly string[]): Invocation
  /** Kills the daemon and resolves when it has ended. */
  end(): Promise<void>
}

/** Not exported, so that users of this package do not need Node's types, which its constructor has. */
class Daemon implements Pcscd {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(child: ChildProcess) {
    this.#child = child
    this.#ended = new Promise((resolve) => child.once('exit', resolve))
  }

  inside(program: string, ...args: readonly string[]): Invocation {
    return { program: 'nsenter', args: [`--mount=/proc/${this.#child.pid}/ns/mnt`, program, ...args] }
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}

/**
 * Starts pcscd. Requires root, `unshare`, `nsenter` and `pcscd`. Resolves when the namespace exists; programs wait for
 * the daemon's socket by themselves. Rejects if pcscd cannot be started.
 */
export async function startPcscd({ bus, readerConf }: PcscdOptions = {}): Promise<Pcscd> {
  const { LD_PRELOAD, ...environment } = bus?.environment ?? { LD_PRELOAD: '' }
  // Readers in the machine's configuration, such as vpcd, would appear next to those of the bus.
  const script = `
    mkdir -p /run/pcscd && mount -t tmpfs tmpfs /run/pcscd &&
    if [ -d /etc/reader.conf.d ]; then
      if [ -n "$READER_CONF" ]; then mount --bind "$READER_CONF" /etc/reader.conf.d
      else mount -t tmpfs tmpfs /etc/reader.conf.d; fi
    fi && echo ready && LD_PRELOAD="$PRELOAD" exec pcscd --foreground`
  const child = spawn('unshare', ['--mount', 'sh', '-c', script], {
    env: { ...process.env, ...environment, PRELOAD: LD_PRELOAD, READER_CONF: readerConf ?? '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`pcscd exited with code ${code} before it was ready.`)))
    createInterface({ input: child.stdout }).once('line', () => resolve())
  })
  return new Daemon(child)
}
