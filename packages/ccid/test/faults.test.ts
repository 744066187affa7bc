import { WebtokiError } from '@webtoki/apdu'
import { createEchoCard, type Fault, type FaultMoment, readerProfiles } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

const owner = {}
const command = Uint8Array.of(0, 0x10, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0)
const response = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0)

/** Faults that the standards let the driver recover from without the person and without sending an APDU twice. */
const recoverable = ['stall-in', 'stall-out', 'stale-response', 'empty-packet', 'time-extension'] as const

/** Faults that end in a typed error. The card has executed the command at most once. */
const fatal: readonly { readonly fault: FaultShape; readonly code: string }[] = [
  { fault: { kind: 'mute-card' }, code: 'card/mute' },
  { fault: { kind: 'truncated-message' }, code: 'wire/malformed' },
  { fault: { kind: 'wrong-length' }, code: 'wire/malformed' },
  { fault: { kind: 'huge-length' }, code: 'wire/malformed' },
  { fault: { kind: 'one-byte-message' }, code: 'wire/malformed' },
  { fault: { kind: 'one-byte-response' }, code: 'wire/malformed' },
  { fault: { kind: 'silent-reader' }, code: 'reader/timeout' },
  { fault: { kind: 'card-pulled', moment: 'before' }, code: 'card/gone' },
  { fault: { kind: 'card-pulled', moment: 'during' }, code: 'card/gone' },
  { fault: { kind: 'unplugged', moment: 'before' }, code: 'reader/gone' },
  { fault: { kind: 'unplugged', moment: 'during' }, code: 'reader/gone' },
]

type FaultShape = { readonly kind: Fault['kind']; readonly moment?: FaultMoment }

const levels = {
  extended: readerProfiles.dualiAbcm6,
  short: readerProfiles.omnikey3021,
  'without interrupt endpoint': readerProfiles.nitrokey3,
}

describe.each(Object.entries(levels))('a reader at level %s', (_name, profile) => {
  describe.each(['once', 'twice'] as const)('with a fault that occurs %s', (ends) => {
    it.each(recoverable)('recovers from %s with the exact response, executed once', async (kind) => {
      const card = createEchoCard()
      const { slot, source, reader, clock } = setUp({ profile, card })
      const connection = await (await slot()).connect()
      reader.faults.schedule({ kind, ends } as Fault)
      for (let run = 1; run <= 3; run++) {
        const work = connection.transaction(owner, (channel) => channel.transmit(command))
        expect(await inTime(clock, work)).toEqual(response)
        expect(card.log).toHaveLength(run)
      }
      await source.close()
    })

    it.each(fatal)(
      'reports $fault.kind $fault.moment the command as $code, and works after replugging',
      async ({ fault, code }) => {
        const card = createEchoCard()
        const { slot, source, reader, clock, bus, usb } = setUp({ profile, card })
        const connection = await (await slot()).connect()
        reader.faults.schedule({ ...fault, ends } as Fault)
        const work = connection.transaction(owner, (channel) =>
          channel.transmit(command, { timeoutMs: 3000 }),
        )
        const error: unknown = await inTime(clock, work).catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(WebtokiError)
        expect(error).toMatchObject({ code })
        expect(card.log.length).toBeLessThanOrEqual(1)

        bus.unplug(reader)
        if (reader.cardIn() === undefined) reader.insert(card)
        card.log.length = 0
        // Discards what is left of the fault.
        while (reader.faults.waiting > 0) reader.faults.next()
        bus.plug(reader)
        const again = await slotNow(source, clock)
        const connected = await inTime(clock, again.connect())
        const second = connected.transaction(owner, (channel) => channel.transmit(command))
        expect(await inTime(clock, second)).toEqual(response)
        expect(card.log).toHaveLength(1)
        await inTime(clock, source.close())
        const [device] = await usb.getDevices()
        expect(device?.opened).toBe(false)
      },
    )
  })

  it('recovers from a fault after which reader and card are still there', async () => {
    for (const kind of [
      'mute-card',
      'truncated-message',
      'huge-length',
      'one-byte-message',
      'silent-reader',
    ] as const) {
      const card = createEchoCard()
      const { slot, source, reader, clock } = setUp({ profile, card })
      const cardSlot = await slot()
      const connection = await cardSlot.connect()
      reader.faults.schedule({ kind, ends: 'once' })
      const work = connection.transaction(owner, (channel) => channel.transmit(command, { timeoutMs: 3000 }))
      await expect(inTime(clock, work), kind).rejects.toBeInstanceOf(WebtokiError)
      await inTime(clock, connection.close())
      const again = await inTime(clock, cardSlot.connect())
      const second = again.transaction(owner, (channel) => channel.transmit(command))
      expect(await inTime(clock, second), kind).toEqual(response)
      await inTime(clock, source.close())
    }
  })

  it('gives up on a card that requests time without end', async () => {
    const card = createEchoCard()
    const { slot, source, reader, clock } = setUp({ profile, card })
    const connection = await (await slot()).connect()
    reader.faults.schedule({
      kind: 'time-extension',
      ends: 'once',
      frames: 1000,
      multiplier: 255,
      delayMs: 1000,
    })
    const work = connection.transaction(owner, (channel) =>
      channel.transmit(command, { timeoutMs: 2000, maxWaitMs: 20_000 }),
    )
    await expect(inTime(clock, work)).rejects.toMatchObject({ code: 'reader/timeout' })
    expect(clock.nowMs).toBeLessThan(40_000)
    await inTime(clock, source.close())
  })

  it('reports a removed card to the connection and in the presence', async () => {
    const card = createEchoCard()
    const { slot, source, reader, clock } = setUp({ profile, card, pollMs: 500 })
    const cardSlot = await slot()
    const connection = await cardSlot.connect()
    reader.remove()
    const gone = await inTime(clock, connection.gone)
    expect(gone.why).toBe('removed')
    expect(await firstValueFrom(cardSlot.presence$)).toBe('empty')
    reader.insert(card)
    await clock.advance(1000)
    expect(await firstValueFrom(cardSlot.presence$)).toBe('present')
    await inTime(clock, source.close())
  })
})

async function slotNow(
  source: ReturnType<typeof setUp>['source'],
  clock: ReturnType<typeof setUp>['clock'],
): Promise<Awaited<ReturnType<ReturnType<typeof setUp>['slot']>>> {
  for (;;) {
    await clock.advance(100)
    const [slot] = await firstValueFrom(source.slots$)
    if (slot !== undefined) return slot
  }
}
