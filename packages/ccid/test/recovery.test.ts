/**
 * Injects every fault at every message of one scenario, once, twice and until a reset. The result is exact if the
 * standards allow recovery, otherwise a typed error. Nothing is sent twice, no PIN attempt is lost, and the next
 * attempt works.
 *
 * WEBTOKI_LONG=1 runs the whole matrix. By default each row (a reader, a fault, its duration) injects it at a few
 * messages in turn: each row starts where the previous one ended, so that every message is covered by many rows.
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
import { inTime, setUp } from './set-up.ts'

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

/** True if one or two faults of this kind at this message must end in the exact result. */
type Recovers = (message: string, level: Level) => boolean
const always: Recovers = () => true
const never: Recovers = () => false
/** Only commands to the card must not be sent again. */
const exceptCommands: Recovers = (message) => message !== 'XfrBlock' && message !== 'SetParameters'
/** T=1 can request a block again. */
const exceptApdus: Recovers = (message, level) =>
  exceptCommands(message, level) || (message === 'XfrBlock' && level === 'T=1')
/** A malformed response to SetParameters is repeated too. */
const exceptMalformedApdus: Recovers = (message, level) =>
  exceptApdus(message, level) || message === 'SetParameters'

const faults: readonly (readonly [Shape, Recovers])[] = [
  [{ kind: 'stall-in' }, always],
  [{ kind: 'stall-out' }, always],
  [{ kind: 'stale-response' }, always],
  [{ kind: 'stale-response', frames: 5 }, always],
  [{ kind: 'empty-packet' }, always],
  [{ kind: 'extra-empty-packet' }, always],
  [{ kind: 'no-empty-packet' }, never],
  [{ kind: 'time-extension' }, always],
  [{ kind: 'slot-busy' }, always],
  [{ kind: 'auto-sequence' }, always],
  [{ kind: 'mute-card' }, exceptApdus],
  [{ kind: 'overrun', moment: 'before' }, exceptApdus],
  [{ kind: 'overrun', moment: 'during' }, exceptApdus],
  [{ kind: 'parity-error', moment: 'before' }, exceptApdus],
  [{ kind: 'parity-error', moment: 'during' }, exceptApdus],
  [{ kind: 'hardware-error', moment: 'before' }, exceptCommands],
  [{ kind: 'hardware-error', moment: 'during' }, exceptCommands],
  [{ kind: 'hardware-notice', moment: 'before' }, exceptCommands],
  [{ kind: 'hardware-notice', moment: 'during' }, exceptCommands],
  [{ kind: 'hardware-notice-alone', moment: 'during' }, exceptCommands],
  [{ kind: 'damaged-atr' }, always],
  [{ kind: 'bad-atr' }, always],
  [{ kind: 'reinserted' }, (message) => message === 'IccPowerOn'],
  [{ kind: 'truncated-message' }, exceptMalformedApdus],
  [{ kind: 'wrong-length' }, exceptMalformedApdus],
  [{ kind: 'huge-length' }, exceptMalformedApdus],
  [{ kind: 'one-byte-message' }, exceptMalformedApdus],
  [{ kind: 'one-byte-response' }, exceptMalformedApdus],
  [{ kind: 'silent-reader' }, never],
  [{ kind: 'suspended' }, never],
  [{ kind: 'card-pulled', moment: 'before' }, never],
  [{ kind: 'card-pulled', moment: 'during' }, never],
  [{ kind: 'card-pulled', moment: 'after' }, never],
  [{ kind: 'unplugged', moment: 'before' }, never],
  [{ kind: 'unplugged', moment: 'during' }, never],
  [{ kind: 'unplugged', moment: 'after' }, never],
] as readonly [Shape, Recovers][]

/** Longer than a run, so that polling does not depend on the duration of the card's cryptography. */
const POLL_MS = 10_000_000
/** The number of messages per row in a sampled run. */
const SAMPLES: Readonly<Record<FaultEnd, number>> = { once: 2, twice: 2, 'until-reset': 1 }
const busy: ReadonlySet<Kind> = new Set<Kind>(['slot-busy', 'auto-sequence'])
const onlyOnPowerOn: ReadonlySet<Kind> = new Set<Kind>(['damaged-atr', 'bad-atr'])

type TestSetup = ReturnType<typeof setUp>

/**
 * SELECT PIV, the certificate of 9A, VERIFY, a P-256 signature with 9C. Resolves to lengths that only the exact
 * responses have.
 */
async function scenario({ source }: TestSetup): Promise<readonly number[]> {
  const [cardSlot] = await firstValueFrom(source.slots$)
  if (cardSlot === undefined) throw new ReaderGoneError()
  const connection = await cardSlot.connect()
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

/** Counts commands with data, because VERIFY without data only reads the retry counter. */
const executed = (card: PivCard, ins: number): number =>
  card.log.filter((entry) => entry.ins === ins && entry.dataBytes > 0).length

/** Restores what the fault removed. */
async function repair({ reader, bus, clock, source }: TestSetup, card: PivCard): Promise<void> {
  if (reader.cardIn() === undefined) reader.insert(card)
  if (!bus.devices.some(({ model }) => model === reader)) bus.plug(reader)
  for (let waits = 0; waits < 50; waits++) {
    await clock.advance(100)
    if ((await firstValueFrom(source.slots$)).length > 0) return
  }
}

/** Records the names of the messages that were hit. */
function recordHits({ reader }: TestSetup): string[] {
  const hits: string[] = []
  const next = reader.faults.next.bind(reader.faults)
  reader.faults.next = (message) => {
    const fault = next(message)
    if (fault !== undefined) hits.push(message ?? 'XfrBlock')
    return fault
  }
  return hits
}

// The module is loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => import('../src/tpdu/activate.ts'))

const seen = { cells: 0, runs: 0, exact: 0, failed: 0, recovered: 0 }
let turn = 0

describe.each(Object.entries(readers))('a reader that takes %s', (_, { profile, protocols, level }) => {
  let exact: readonly number[]
  /** The number of commands that the card executes before VERIFY. */
  let beforeVerify: number
  // One card for all runs on a reader, so that damage from one run shows in the next.
  const card = createPivCard({ protocols })
  /** The number of messages in the scenario. */
  const counts = { any: 0, XfrBlock: 0, IccPowerOn: 1 }
  beforeAll(async () => {
    const unharmed = setUp({ profile, card, pollMs: POLL_MS })
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
      ([fault, recovers]) =>
        [
          [fault.kind, 'moment' in fault ? fault.moment : '', 'frames' in fault ? `× ${fault.frames}` : '']
            .filter(Boolean)
            .join(' '),
          fault,
          recovers,
        ] as const,
    ),
  )(
    '%s gives the exact result or a typed error, repeats nothing, and the next attempt works',
    async (__, fault, recovers) => {
      const before = seen.runs
      for (const ends of ['once', 'twice', 'until-reset'] as const) {
        const on = onlyOnPowerOn.has(fault.kind) ? 'IccPowerOn' : ends === 'until-reset' ? 'XfrBlock' : 'any'
        const count = counts[on]
        seen.cells += count
        const samples = runsAll ? count : Math.min(count, SAMPLES[ends])
        for (let sample = 0; sample < samples; sample++) {
          const skip = runsAll ? sample : turn++ % count
          await inject({ ...fault, ends } as Fault, on, skip, recovers)
        }
      }
      expect(seen.runs).toBeGreaterThan(before)
    },
    600_000,
  )

  async function inject(
    fault: Fault,
    on: 'any' | 'XfrBlock' | 'IccPowerOn',
    skip: number,
    recovers: Recovers,
  ): Promise<void> {
    card.log.length = 0
    const made = setUp({ profile, card, pollMs: POLL_MS })
    const hits = recordHits(made)
    made.reader.faults.schedule(fault, { skip, on })
    // The fault may also hit the source's own first messages.
    for (let waits = 0; waits < 50; waits++) {
      if ((await firstValueFrom(made.source.slots$)).length > 0) break
      await made.clock.advance(100)
    }
    const outcome = await inTime(made.clock, scenario(made)).catch((error: unknown) => error)
    const what = `${fault.kind} ${fault.ends} at message ${skip} (${hits.join(', ')}): ${String(outcome)}`
    if (outcome instanceof Error) expect(outcome, what).toBeInstanceOf(WebtokiError)
    else expect(outcome, what).toEqual(exact)
    // A PIN is not sent again even to a reader that reports "busy": everything before it was executed, and nothing
    // else.
    const isPinRefused = busy.has(fault.kind) && card.log.length === beforeVerify
    const mustRecover =
      fault.ends !== 'until-reset' && hits.every((message) => recovers(message, level)) && !isPinRefused
    if (mustRecover) expect(outcome, what).toEqual(exact)
    expect(executed(card, VERIFY), what).toBeLessThanOrEqual(1)
    expect(executed(card, GENERAL_AUTHENTICATE), what).toBeLessThanOrEqual(1)
    expect(card.pinTriesLeft, what).toBe(3)
    // A fault that lasts until a reset must be over after what the driver did. Others may still be pending.
    if (fault.ends !== 'until-reset' || hits.length === 0 || on === 'IccPowerOn') made.reader.faults.clear()
    await repair(made, card)
    card.log.length = 0
    const again = await inTime(made.clock, scenario(made)).catch((error: unknown) => String(error))
    expect(again, `the next attempt after ${what}`).toEqual(exact)
    expect(executed(card, VERIFY), what).toBe(1)
    expect(executed(card, GENERAL_AUTHENTICATE), what).toBe(1)
    await inTime(made.clock, made.source.close())
    if (hits.length === 0) return
    seen.runs++
    if (outcome instanceof Error) seen.failed++
    else seen.exact++
    if (mustRecover) seen.recovered++
  }
})

it('the fault matrix contains faults that are recovered and faults that are reported', () => {
  const { cells, runs, exact, failed, recovered } = seen
  console.log(
    `${cells} cases (${Object.keys(readers).length} readers × ${faults.length} faults × once, twice, until a reset × messages); ` +
      `${runs} run${runsAll ? '' : ' (WEBTOKI_LONG=1 runs all)'}: ${exact} exact, ${recovered} of them required to be, ${failed} reported as typed errors`,
  )
  expect(recovered).toBeGreaterThan(350)
  expect(failed).toBeGreaterThan(350)
})
