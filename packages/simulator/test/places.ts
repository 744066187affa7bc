/** Where judges find a virtual card: in a virtual reader under pcscd and libccid, or behind vpcd. Root's alone. */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readerProfiles, VirtualCcidReader, type VirtualCard } from '../src/index.ts'
import { connectVpcd, type Pcscd, startBus, startPcscd, type VpcdConnection } from '../src/node/index.ts'
import { whatIsMissing } from './bus/line-program.ts'

const vpcdDriver = '/usr/lib/pcsc/drivers/serial/libifdvpcd.so'

/** Why these programs cannot judge cards here, or undefined. */
export function whatPlacesLack(programs: readonly string[]): string | undefined {
  return (
    whatIsMissing(['gcc', 'pcscd', 'unshare', 'nsenter', 'opensc-tool', ...programs]) ??
    (existsSync(vpcdDriver) ? undefined : 'vpcd is missing') ??
    (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')
  )
}

/** A card where a judge finds it. */
export interface Place<Card extends VirtualCard> {
  readonly card: Card
  readonly daemon: Pcscd
  end(): Promise<void>
}

/** In a reader that takes short APDUs, or extended ones. */
export async function inReader<Card extends VirtualCard>(
  card: Card,
  profile: 'omnikey3021' | 'yubikey4',
): Promise<Place<Card>> {
  const bus = await startBus()
  const reader = new VirtualCcidReader(readerProfiles[profile])
  reader.insert(card)
  bus.plug(reader)
  const daemon = await startPcscd({ bus })
  if (!(await isSeen(daemon))) throw new Error('pcscd does not see the card.')
  return {
    card,
    daemon,
    end: async () => {
      await daemon.end()
      await bus.close()
    },
  }
}

/** Two ports in a row that nobody uses now: vpcd has a second slot at the next one. */
async function freePorts(): Promise<number> {
  const listen = (port: number) =>
    new Promise<Server | undefined>((resolve) => {
      const server = createServer()
      server.once('error', () => resolve(undefined))
      server.listen(port, '127.0.0.1', () => resolve(server))
    })
  for (;;) {
    const first = await listen(0)
    if (first === undefined) throw new Error('No TCP port is free.')
    const { port } = first.address() as AddressInfo
    const second = await listen(port + 1)
    for (const server of [first, second])
      await new Promise<void>((resolve) => server?.close(() => resolve()) ?? resolve())
    if (second !== undefined) return port
  }
}

/** Whether the daemon has the card, which it has once a judge has seen it. */
export async function isSeen(daemon: Pcscd): Promise<boolean> {
  for (const endMs = Date.now() + 10_000; Date.now() < endMs; )
    if ((await runInside(daemon, 'opensc-tool', '--atr')).code === 0) return true
  return false
}

/** Somebody else may take the ports before vpcd does: then it is tried once more at others. */
export async function behindVpcd<Card extends VirtualCard>(makeCard: () => Card): Promise<Place<Card>> {
  return (
    (await tryVpcd(makeCard())) ??
    (await tryVpcd(makeCard())) ??
    Promise.reject(new Error('vpcd does not listen, twice.'))
  )
}

async function tryVpcd<Card extends VirtualCard>(card: Card): Promise<Place<Card> | undefined> {
  const port = await freePorts()
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-vpcd-'))
  const lines = [
    'FRIENDLYNAME "Virtual PCD"',
    `DEVICENAME /dev/null:${port}`,
    `LIBPATH ${vpcdDriver}`,
    `CHANNELID ${port}`,
  ]
  writeFileSync(join(folder, 'vpcd'), `${lines.join('\n')}\n`)
  const daemon = await startPcscd({ readerConf: folder })
  let connection: VpcdConnection | undefined
  // Its port opens some time after the daemon has begun.
  for (const endMs = Date.now() + 10_000; connection === undefined && Date.now() < endMs; ) {
    connection = await connectVpcd(card, { port }).catch(() => undefined)
    if (connection === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const end = async () => {
    await connection?.close()
    await daemon.end()
    rmSync(folder, { recursive: true, force: true })
  }
  if (connection !== undefined && (await isSeen(daemon))) return { card, daemon, end }
  await end()
  return undefined
}

/** What a program said. */
export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program that finds the daemon; 30 s at most. */
export function runInside(daemon: Pcscd, program: string, ...args: readonly string[]): Promise<Said> {
  const inside = daemon.inside(program, ...args)
  return new Promise((resolve) => {
    execFile(inside.program, [...inside.args], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}
