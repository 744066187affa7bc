/** Debian's pcscd with libccid for the devices of a bus, in a mount namespace of its own: the machine's pcscd is not touched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { VirtualUsbBus } from './virtual-usb-bus.ts'

/** What the daemon is started with. */
export interface PcscdOptions {
  /** Devices that it finds by USB; absent: none. */
  readonly bus?: Pick<VirtualUsbBus, 'environment'>
  /** A folder of reader.conf files in place of the machine's; absent: an empty one. */
  readonly readerConf?: string
}

/** A program and its arguments. */
export interface Invocation {
  readonly program: string
  readonly args: readonly string[]
}

/** A running daemon. */
export interface Pcscd {
  /** How to start a program that finds this daemon and no other. */
  inside(program: string, ...args: readonly string[]): Invocation
  end(): Promise<void>
}

/** Not exported: its constructor's types are Node's, and whoever compiles against this package need not have them. */
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

/** Needs root, `unshare`, `nsenter` and `pcscd`. Resolves when the namespace stands; programs wait for the daemon's socket by themselves. */
export async function startPcscd({ bus, readerConf }: PcscdOptions = {}): Promise<Pcscd> {
  const { LD_PRELOAD, ...environment } = bus?.environment ?? { LD_PRELOAD: '' }
  // A card reader of the machine's own configuration (vpcd's, say) would stand beside the bus's.
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
    child.once('exit', (code) => reject(new Error(`pcscd ended with ${code} before it was ready.`)))
    createInterface({ input: child.stdout }).once('line', () => resolve())
  })
  return new Daemon(child)
}
