/**
 * Makes virtual cards available to PC/SC programs: in a virtual reader with pcscd and libccid, or with vpcd. Requires
 * root.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readerProfiles, VirtualCcidReader, type VirtualCard } from '../src/index.ts'
import { connectVpcd, type Pcscd, startBus, startPcscd, type VpcdConnection } from '../src/node/index.ts'
import { whatIsMissing } from './bus/line-program.ts'

const vpcdDriver = '/usr/lib/pcsc/drivers/serial/libifdvpcd.so'

/** Returns why these programs cannot be used with pcscd here, as text, or undefined if they can. */
export function whatPlacesLack(programs: readonly string[]): string | undefined {
  return (
    whatIsMissing(['gcc', 'pcscd', 'unshare', 'nsenter', 'opensc-tool', ...programs]) ??
    (existsSync(vpcdDriver) ? undefined : 'vpcd is missing') ??
    (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')
  )
}

/** A card that programs can use with PC/SC. */
export interface Place<Card extends VirtualCard> {
  readonly card: Card
  readonly daemon: Pcscd
  end(): Promise<void>
}

/** Inserts the card into a virtual reader at short (`omnikey3021`) or extended (`yubikey4`) APDU level. */
export async function inReader<Card extends VirtualCard>(
  card: Card,
  profile: 'omnikey3021' | 'yubikey4',
): Promise<Place<Card>> {
  const bus = await startBus()
  const reader = new VirtualCcidReader(readerProfiles[profile])
  reader.insert(card)
  bus.plug(reader)
  const daemon = await startPcscd({ bus })
  if (!(await isSeen(daemon))) throw new Error('pcscd did not find the card in 10 s.')
  return {
    card,
    daemon,
    end: async () => {
      await daemon.end()
      await bus.close()
    },
  }
}

/** Returns a free port whose next port is free too, because vpcd has a second slot there. */
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

/** Resolves to true as soon as a program finds the card, or false after 10 s. */
export async function isSeen(daemon: Pcscd): Promise<boolean> {
  for (const endMs = Date.now() + 10_000; Date.now() < endMs; )
    if ((await runInside(daemon, 'opensc-tool', '--atr')).code === 0) return true
  return false
}

/** Connects a card to vpcd. Another process may use the ports first, so it tries twice with different ports. */
export async function behindVpcd<Card extends VirtualCard>(makeCard: () => Card): Promise<Place<Card>> {
  return (
    (await tryVpcd(makeCard())) ??
    (await tryVpcd(makeCard())) ??
    Promise.reject(new Error('vpcd did not listen in two attempts.'))
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
  // vpcd opens its port some time after the start of the daemon.
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

/** The exit code and the output of a program. */
export interface ProgramResult {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program that uses the daemon, for at most 30 s. */
export function runInside(
  daemon: Pcscd,
  program: string,
  ...args: readonly string[]
): Promise<ProgramResult> {
  const inside = daemon.inside(program, ...args)
  return new Promise((resolve) => {
    execFile(inside.program, [...inside.args], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}
