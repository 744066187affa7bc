/** Every fault at every transfer of one scenario: the exact result or a typed error, nothing sent twice, and the next attempt works. */
import { SmartcardError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import {
  createPivCard,
  type Fault,
  type FaultTarget,
  type PivCard,
  type ReaderProfile,
  readerProfiles,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { inTime, stand } from './stand.ts'

const nineA = pivSlot(0x9a) as PivSlot
const SIGNATURE_TEMPLATE = { tag: 0x81 as const, value: new Uint8Array(32).fill(0x5a) }
const VERIFY = 0x20
const GENERAL_AUTHENTICATE = 0x87

type Shape = Fault extends infer F ? (F extends { ends: unknown } ? Omit<F, 'ends'> : never) : never
const faults: readonly Shape[] = [
  { kind: 'stall-in' },
  { kind: 'stall-out' },
  { kind: 'mute-card' },
  { kind: 'stale-answer' },
  { kind: 'truncated-message' },
  { kind: 'wrong-length' },
  { kind: 'huge-length' },
  { kind: 'one-byte-message' },
  { kind: 'one-byte-response' },
  { kind: 'empty-packet' },
  { kind: 'silent-reader' },
  { kind: 'time-extension' },
  { kind: 'card-pulled', moment: 'before' },
  { kind: 'card-pulled', moment: 'during' },
  { kind: 'card-pulled', moment: 'after' },
  { kind: 'unplugged', moment: 'before' },
  { kind: 'unplugged', moment: 'during' },
  { kind: 'unplugged', moment: 'after' },
] as Shape[]

const readers: Readonly<Record<string, { profile: ReaderProfile; protocols: 'T=0' | 'T=1' }>> = {
  'extended APDUs': { profile: readerProfiles.dualiAbcm6, protocols: 'T=1' },
  'short APDUs': { profile: readerProfiles.omnikey3021, protocols: 'T=1' },
  'short APDUs, no interrupt endpoint': { profile: readerProfiles.rutokenLite, protocols: 'T=1' },
  'TPDUs over T=1': { profile: readerProfiles.scr331, protocols: 'T=1' },
  'TPDUs over T=0': { profile: readerProfiles.scr331, protocols: 'T=0' },
  'TPDUs over T=1, host negotiation': { profile: readerProfiles.gemPcTwin, protocols: 'T=1' },
}

type Stand = ReturnType<typeof stand>

/** SELECT PIV, the certificate of 9A, VERIFY, a P-256 signature with 9C; resolves to lengths that only the exact answers have. */
async function scenario({ slot, source }: Stand): Promise<readonly number[]> {
  const place = await firstValueFrom(source.slots$).then((slots) => slots[0] ?? slot())
  const connection = await place.connect()
  try {
    const applet = new PivApplet()
    return await connection.transaction(applet, async (channel) => {
      await applet.select(channel, { timeoutMs: 3000 })
      const object = await applet.readObject(channel, nineA.certificateTag, { timeoutMs: 3000 })
      await applet.verifyPin(channel, new TextEncoder().encode('123456'), { timeoutMs: 3000 })
      const options = { timeoutMs: 3000 }
      const signature = await applet.generalAuthenticate(channel, 0x11, 0x9c, SIGNATURE_TEMPLATE, options)
      return [object?.length ?? 0, object?.[100] ?? -1, signature[0] ?? 0]
    })
  } finally {
    await connection.close()
  }
}

const executed = (card: PivCard, ins: number): number => card.log.filter((entry) => entry.ins === ins).length

/** Puts back what the fault took away. */
async function mend({ reader, bus, clock, source }: Stand, card: PivCard): Promise<void> {
  reader.faults.clear()
  if (reader.cardIn() === undefined) reader.insert(card)
  if (!bus.devices.some(({ model }) => model === reader)) bus.plug(reader)
  for (let waits = 0; waits < 50; waits++) {
    await clock.advance(100)
    if ((await firstValueFrom(source.slots$)).length > 0) return
  }
}

// Loaded with the first TPDU reader: real time, of which the hand-moved clock knows nothing.
beforeAll(() => import('../src/tpdu/activate.ts'))

const seen = { exact: 0, told: 0 }
describe.each(Object.entries(readers))('a reader that takes %s', (_, { profile, protocols }) => {
  it.each(faults.map((fault) => [`${fault.kind} ${'moment' in fault ? fault.moment : ''}`, fault] as const))(
    '%s, at every transfer: exact or a typed error, nothing twice, and the next attempt works',
    async (__, fault) => {
      const unharmed = stand({ profile, card: createPivCard({ protocols }) })
      const exact = await inTime(unharmed.clock, scenario(unharmed))
      await inTime(unharmed.clock, unharmed.source.close())
      for (let skip = 0; skip < 40; skip++) {
        const card = createPivCard({ protocols })
        const made = stand({ profile, card, pollMs: 500 })
        await made.slot()
        const target: FaultTarget = { skip }
        made.reader.faults.schedule({ ...fault, ends: 'once' } as Fault, target)
        const outcome = await inTime(made.clock, scenario(made)).catch((error: unknown) => error)
        const hasStruck = made.reader.faults.waiting === 0
        if (outcome instanceof Error) expect(outcome, String(outcome)).toBeInstanceOf(SmartcardError)
        else expect(outcome).toEqual(exact)
        expect(executed(card, VERIFY)).toBeLessThanOrEqual(1)
        expect(executed(card, GENERAL_AUTHENTICATE)).toBeLessThanOrEqual(1)
        expect(card.pinTriesLeft).toBe(3)
        await mend(made, card)
        const again = await inTime(made.clock, scenario(made))
        expect(again).toEqual(exact)
        await inTime(made.clock, made.source.close())
        if (outcome instanceof Error) seen.told++
        else seen.exact++
        // Past the last transfer of the scenario there is nothing to strike.
        if (!hasStruck) break
        expect(skip).toBeLessThan(39)
      }
    },
    60_000,
  )
})

it('the matrix has faults that are survived unnoticed, and faults that are told', () => {
  console.log(
    `${seen.exact + seen.told} runs with a fault: ${seen.exact} exact, ${seen.told} told as typed errors`,
  )
  expect(seen.exact).toBeGreaterThan(200)
  expect(seen.told).toBeGreaterThan(300)
})
