/**
 * Every fault at every message of one scenario, once, twice and until a reset: exact where the standard lets us recover,
 * else a typed error; nothing sent twice, no PIN try lost, and the next attempt works.
 *
 * The whole matrix is run with WEBTOKI_LONG=1. Else each row (a reader, a fault, an end) is struck at a few of its
 * messages, which are taken in turn: the next row begins where the one before left off, so that all are struck by many.
 */
import { ReaderGoneError, WebtokiError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import {
  createPivCard,
  type Fault,
  type FaultEnd,
  type PivCard,
  type ReaderProfile,
  readerProfiles,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { inTime, stand } from './stand.ts'

const runsAll = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env[
  'WEBTOKI_LONG'
]
const nineA = pivSlot(0x9a) as PivSlot
const SIGNATURE_TEMPLATE = { tag: 0x81 as const, value: new Uint8Array(32).fill(0x5a) }
const VERIFY = 0x20
const GENERAL_AUTHENTICATE = 0x87

type Level = 'APDU' | 'T=1' | 'T=0'
const readers: Readonly<Record<string, { profile: ReaderProfile; protocols: 'T=0' | 'T=1'; level: Level }>> =
  {
    'extended APDUs': { profile: readerProfiles.dualiAbcm6, protocols: 'T=1', level: 'APDU' },
    'short APDUs': { profile: readerProfiles.omnikey3021, protocols: 'T=1', level: 'APDU' },
    'short APDUs, no interrupt endpoint': {
      profile: readerProfiles.rutokenLite,
      protocols: 'T=1',
      level: 'APDU',
    },
    'TPDUs over T=1': { profile: readerProfiles.scr331, protocols: 'T=1', level: 'T=1' },
    'TPDUs over T=0': { profile: readerProfiles.scr331, protocols: 'T=0', level: 'T=0' },
    'TPDUs over T=1, host negotiation': { profile: readerProfiles.gemPcTwin, protocols: 'T=1', level: 'T=1' },
  }

type Shape = Fault extends infer F ? (F extends { ends: unknown } ? Omit<F, 'ends'> : never) : never
type Kind = Fault['kind']

/** Whether one or two of this kind, at this message, must end in the exact answer. */
type Mends = (message: string, level: Level) => boolean
const always: Mends = () => true
const never: Mends = () => false
/** Asking again does no harm to anything but a command for the card. */
const butForCommands: Mends = (message) => message !== 'XfrBlock' && message !== 'SetParameters'
/** And T=1 has its own way to ask for a block again. */
const butForApdus: Mends = (message, level) =>
  butForCommands(message, level) || (message === 'XfrBlock' && level === 'T=1')
/** A garbled answer to SetParameters is asked for again too. */
const butForGarbledApdus: Mends = (message, level) =>
  butForApdus(message, level) || message === 'SetParameters'

const faults: readonly (readonly [Shape, Mends])[] = [
  [{ kind: 'stall-in' }, always],
  [{ kind: 'stall-out' }, always],
  [{ kind: 'stale-answer' }, always],
  [{ kind: 'stale-answer', frames: 5 }, always],
  [{ kind: 'empty-packet' }, always],
  [{ kind: 'extra-empty-packet' }, always],
  [{ kind: 'no-empty-packet' }, never],
  [{ kind: 'time-extension' }, always],
  [{ kind: 'slot-busy' }, always],
  [{ kind: 'auto-sequence' }, always],
  [{ kind: 'mute-card' }, butForApdus],
  [{ kind: 'overrun', moment: 'before' }, butForApdus],
  [{ kind: 'overrun', moment: 'during' }, butForApdus],
  [{ kind: 'parity-error', moment: 'before' }, butForApdus],
  [{ kind: 'parity-error', moment: 'during' }, butForApdus],
  [{ kind: 'hardware-error', moment: 'before' }, butForCommands],
  [{ kind: 'hardware-error', moment: 'during' }, butForCommands],
  [{ kind: 'hardware-notice', moment: 'before' }, butForCommands],
  [{ kind: 'hardware-notice', moment: 'during' }, butForCommands],
  [{ kind: 'hardware-notice-alone', moment: 'during' }, butForCommands],
  [{ kind: 'damaged-atr' }, always],
  [{ kind: 'bad-atr' }, always],
  [{ kind: 'reinserted' }, (message) => message === 'IccPowerOn'],
  [{ kind: 'truncated-message' }, butForGarbledApdus],
  [{ kind: 'wrong-length' }, butForGarbledApdus],
  [{ kind: 'huge-length' }, butForGarbledApdus],
  [{ kind: 'one-byte-message' }, butForGarbledApdus],
  [{ kind: 'one-byte-response' }, butForGarbledApdus],
  [{ kind: 'silent-reader' }, never],
  [{ kind: 'suspended' }, never],
  [{ kind: 'card-pulled', moment: 'before' }, never],
  [{ kind: 'card-pulled', moment: 'during' }, never],
  [{ kind: 'card-pulled', moment: 'after' }, never],
  [{ kind: 'unplugged', moment: 'before' }, never],
  [{ kind: 'unplugged', moment: 'during' }, never],
  [{ kind: 'unplugged', moment: 'after' }, never],
] as readonly [Shape, Mends][]

/** Never within a run: what is struck does not depend on how long the card's cryptography takes. */
const POLL_MS = 10_000_000
/** Of how many messages a row strikes, where not all are. */
const SAMPLES: Readonly<Record<FaultEnd, number>> = { once: 2, twice: 2, 'until-reset': 1 }
const busy: ReadonlySet<Kind> = new Set<Kind>(['slot-busy', 'auto-sequence'])
const onlyOnPowerOn: ReadonlySet<Kind> = new Set<Kind>(['damaged-atr', 'bad-atr'])

type Stand = ReturnType<typeof stand>

/** SELECT PIV, the certificate of 9A, VERIFY, a P-256 signature with 9C; resolves to lengths that only the exact answers have. */
async function scenario({ source }: Stand): Promise<readonly number[]> {
  const [place] = await firstValueFrom(source.slots$)
  if (place === undefined) throw new ReaderGoneError()
  const connection = await place.connect()
  try {
    const applet = new PivApplet(connection)
    return await connection.transaction(applet, async (channel) => {
      await applet.select(channel, { timeoutMs: 3000 })
      const object = await applet.readObject(channel, nineA.certificateTag, { timeoutMs: 3000 })
      await applet.pin.verify(channel, new TextEncoder().encode('123456'), { timeoutMs: 3000 })
      const options = { timeoutMs: 3000 }
      const signature = await applet.generalAuthenticate(channel, 0x11, 0x9c, SIGNATURE_TEMPLATE, options)
      return [object?.length ?? 0, object?.[100] ?? -1, signature[0] ?? 0]
    })
  } finally {
    await connection.close()
  }
}

/** With data: VERIFY without a PIN asks for the attempts alone. */
const executed = (card: PivCard, ins: number): number =>
  card.log.filter((entry) => entry.ins === ins && entry.dataBytes > 0).length

/** Puts back what the fault took away. */
async function mend({ reader, bus, clock, source }: Stand, card: PivCard): Promise<void> {
  if (reader.cardIn() === undefined) reader.insert(card)
  if (!bus.devices.some(({ model }) => model === reader)) bus.plug(reader)
  for (let waits = 0; waits < 50; waits++) {
    await clock.advance(100)
    if ((await firstValueFrom(source.slots$)).length > 0) return
  }
}

/** Names the messages that were struck. */
function listen({ reader }: Stand): string[] {
  const struck: string[] = []
  const next = reader.faults.next.bind(reader.faults)
  reader.faults.next = (message) => {
    const fault = next(message)
    if (fault !== undefined) struck.push(message ?? 'XfrBlock')
    return fault
  }
  return struck
}

// Loaded with the first TPDU reader: real time, of which the hand-moved clock knows nothing.
beforeAll(() => import('../src/tpdu/activate.ts'))

const seen = { cells: 0, runs: 0, exact: 0, told: 0, mended: 0 }
let turn = 0

describe.each(Object.entries(readers))('a reader that takes %s', (_, { profile, protocols, level }) => {
  let exact: readonly number[]
  /** How many commands the card executes before VERIFY. */
  let beforeVerify: number
  // One for all of a reader's runs: what one spoils, the next would show.
  const card = createPivCard({ protocols })
  /** How many messages the scenario takes. */
  const counts = { any: 0, XfrBlock: 0, IccPowerOn: 1 }
  beforeAll(async () => {
    const unharmed = stand({ profile, card, pollMs: POLL_MS })
    await unharmed.slot()
    exact = await inTime(unharmed.clock, scenario(unharmed))
    beforeVerify = card.log.findIndex(({ ins, dataBytes }) => ins === VERIFY && dataBytes > 0)
    for (const [name, count] of unharmed.reader.counters.messages) {
      counts.any += count
      if (name === 'XfrBlock') counts.XfrBlock = count
    }
    await inTime(unharmed.clock, unharmed.source.close())
  })

  it.each(
    faults.map(
      ([fault, mends]) =>
        [
          [fault.kind, 'moment' in fault ? fault.moment : '', 'frames' in fault ? `× ${fault.frames}` : '']
            .filter(Boolean)
            .join(' '),
          fault,
          mends,
        ] as const,
    ),
  )(
    '%s: exact or a typed error, nothing twice, and the next attempt works',
    async (__, fault, mends) => {
      const before = seen.runs
      for (const ends of ['once', 'twice', 'until-reset'] as const) {
        const on = onlyOnPowerOn.has(fault.kind) ? 'IccPowerOn' : ends === 'until-reset' ? 'XfrBlock' : 'any'
        const count = counts[on]
        seen.cells += count
        const samples = runsAll ? count : Math.min(count, SAMPLES[ends])
        for (let sample = 0; sample < samples; sample++) {
          const skip = runsAll ? sample : turn++ % count
          await strike({ ...fault, ends } as Fault, on, skip, mends)
        }
      }
      expect(seen.runs).toBeGreaterThan(before)
    },
    600_000,
  )

  async function strike(
    fault: Fault,
    on: 'any' | 'XfrBlock' | 'IccPowerOn',
    skip: number,
    mends: Mends,
  ): Promise<void> {
    card.log.length = 0
    const made = stand({ profile, card, pollMs: POLL_MS })
    const struck = listen(made)
    made.reader.faults.schedule(fault, { skip, on })
    // The source's own first look may be struck as well.
    for (let waits = 0; waits < 50; waits++) {
      if ((await firstValueFrom(made.source.slots$)).length > 0) break
      await made.clock.advance(100)
    }
    const outcome = await inTime(made.clock, scenario(made)).catch((error: unknown) => error)
    const what = `${fault.kind} ${fault.ends} at message ${skip} (${struck.join(', ')}): ${String(outcome)}`
    if (outcome instanceof Error) expect(outcome, what).toBeInstanceOf(WebtokiError)
    else expect(outcome, what).toEqual(exact)
    // A PIN is not sent again, not even to a reader that says it was busy: all before it was executed, and nothing else.
    const isPinRefused = busy.has(fault.kind) && card.log.length === beforeVerify
    const mustMend =
      fault.ends !== 'until-reset' && struck.every((message) => mends(message, level)) && !isPinRefused
    if (mustMend) expect(outcome, what).toEqual(exact)
    expect(executed(card, VERIFY), what).toBeLessThanOrEqual(1)
    expect(executed(card, GENERAL_AUTHENTICATE), what).toBeLessThanOrEqual(1)
    expect(card.pinTriesLeft, what).toBe(3)
    // What lasts until a reset must be over by what the driver did; the rest may still wait.
    if (fault.ends !== 'until-reset' || struck.length === 0 || on === 'IccPowerOn') made.reader.faults.clear()
    await mend(made, card)
    card.log.length = 0
    const again = await inTime(made.clock, scenario(made)).catch((error: unknown) => String(error))
    expect(again, `the next attempt after ${what}`).toEqual(exact)
    expect(executed(card, VERIFY), what).toBe(1)
    expect(executed(card, GENERAL_AUTHENTICATE), what).toBe(1)
    await inTime(made.clock, made.source.close())
    if (struck.length === 0) return
    seen.runs++
    if (outcome instanceof Error) seen.told++
    else seen.exact++
    if (mustMend) seen.mended++
  }
})

it('the matrix has faults that are survived unnoticed, and faults that are told', () => {
  const { cells, runs, exact, told, mended } = seen
  console.log(
    `${cells} cells (${Object.keys(readers).length} readers × ${faults.length} faults × once, twice, until a reset × messages); ` +
      `${runs} struck${runsAll ? '' : ' (WEBTOKI_LONG=1 strikes all)'}: ${exact} exact, ${mended} of them had to be, ${told} told as typed errors`,
  )
  expect(mended).toBeGreaterThan(350)
  expect(told).toBeGreaterThan(350)
})
