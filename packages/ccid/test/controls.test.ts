/** Reader controls: functions, refusals, and waiting for the card's lock. */
import {
  AbortedError,
  type CardSlot,
  NotSupportedError,
  ReaderRefusedError,
  TransactionError,
} from '@webtoki/apdu'
import { readerControls } from '@webtoki/ccid/controls'
import { createEchoCard, type ReaderProfile, readerProfiles } from '@webtoki/simulator'
import { beforeAll, describe, expect, it } from 'vitest'
import { setUp } from './set-up.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const echo = bytes('0010000002aabb00')

/** dwMechanical with every mechanism. */
const { hpKus0133 } = readerProfiles
const mechanicalReader: ReaderProfile = {
  ...hpKus0133,
  ccidDescriptor: `${hpKus0133.ccidDescriptor.slice(0, 72)}0f${hpKus0133.ccidDescriptor.slice(74)}`,
}

async function setUpControls(profile: ReaderProfile = readerProfiles.scr3310Ntt) {
  const made = setUp({ profile, card: createEchoCard() })
  const slot = await made.slot()
  const count = (name: string): number => made.reader.counters.messages.get(name) ?? 0
  return { ...made, slot, count, controls: readerControls(slot) }
}

beforeAll(() => import('../src/tpdu/activate.ts'))

describe('the clock of a card', () => {
  it('stops in the state that the parameters name, and starts again', async () => {
    const { slot, controls, reader, source } = await setUpControls()
    const connection = await slot.connect({ protocol: 'T=1' })
    // The driver sets bClockStop 00, so the clock must not be stopped.
    await expect(controls.iccClock('stop')).rejects.toMatchObject({ command: 'IccClock', bError: 7 })
    const { protocol, data } = await controls.getParameters()
    expect(protocol).toBe(1)
    const allowing = data.slice()
    allowing[4] = 2
    expect(await controls.setParameters({ protocol, data: allowing })).toEqual({ protocol, data: allowing })
    expect(await controls.iccClock('stop')).toBe('stopped-high')
    expect(await controls.iccClock('restart')).toBe('running')
    const response = await connection.transaction({}, (channel) => channel.transmit(echo))
    expect(hex(response)).toBe('aabb9000')
    expect(reader.counters.messages.get('IccClock')).toBe(3)
    await source.close()
  })

  it('is not stopped if the reader cannot, before anything is sent', async () => {
    const { controls, count, source } = await setUpControls(readerProfiles.gemPcTwin)
    await expect(controls.iccClock('stop')).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('IccClock')).toBe(0)
    await source.close()
  })
})

describe('data rates and clock frequencies', () => {
  it('are listed as the reader lists them', async () => {
    const { controls, source } = await setUpControls()
    expect(await controls.clockFrequenciesKHz()).toEqual([4000, 4800, 6000, 8000, 12000])
    expect(await controls.dataRatesBps()).toEqual(readerProfiles.scr3310Ntt.dataRatesBps)
    await source.close()
  })

  it('reject as not supported if the reader stalls the request', async () => {
    const { controls, source } = await setUpControls(readerProfiles.gemPcTwin)
    await expect(controls.clockFrequenciesKHz()).rejects.toBeInstanceOf(NotSupportedError)
    await expect(controls.dataRatesBps()).rejects.toBeInstanceOf(NotSupportedError)
    await source.close()
  })

  it('are set to the value that the reader reports, and an unsupported one is refused by name', async () => {
    const { controls, source } = await setUpControls()
    const wanted = { clockKHz: 4800, dataRateBps: 21_505 }
    expect(await controls.setDataRateAndClockFrequency(wanted)).toEqual(wanted)
    await expect(controls.setDataRateAndClockFrequency({ ...wanted, dataRateBps: 1 })).rejects.toMatchObject({
      code: 'reader/refused',
      errorName: 'BAD_PARAMETER_AT_14',
    })
    await source.close()
  })

  it('are refused before anything is sent if the reader has only one of each', async () => {
    const { controls, count, source } = await setUpControls(readerProfiles.nitrokey3)
    await expect(
      controls.setDataRateAndClockFrequency({ clockKHz: 3580, dataRateBps: 9600 }),
    ).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('SetDataRateAndClockFrequency')).toBe(0)
    await source.close()
  })
})

describe('mechanical functions', () => {
  it('lock a card, unlock it and eject it', async () => {
    const { controls, reader, source } = await setUpControls(mechanicalReader)
    await controls.mechanical('lock')
    expect(() => reader.remove()).toThrow(/card cannot be removed/)
    await expect(controls.mechanical('eject')).rejects.toBeInstanceOf(ReaderRefusedError)
    await controls.mechanical('unlock')
    await controls.mechanical('eject')
    expect(reader.cardIn()).toBeUndefined()
    await source.close()
  })

  it('that the descriptor lacks are refused before anything is sent', async () => {
    const { controls, count, source } = await setUpControls(hpKus0133)
    await controls.mechanical('accept')
    await expect(controls.mechanical('eject')).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('Mechanical')).toBe(1)
    await source.close()
  })
})

describe('a vendor command', () => {
  it('resolves to the response of the reader', async () => {
    const { controls, reader, source } = await setUpControls()
    reader.onEscape = (data) => Uint8Array.of(...data, 0x42)
    expect(hex(await controls.escape(bytes('0102')))).toBe('010242')
    await source.close()
  })

  it('that the reader does not know rejects as not supported, with the refusal as cause', async () => {
    const { controls, source } = await setUpControls()
    const error = await controls.escape(bytes('01')).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NotSupportedError)
    expect((error as Error).cause).toMatchObject({ command: 'Escape', bError: 0 })
    await source.close()
  })
})

describe('the card’s lock', () => {
  it('delays a reader control during a transaction, and the next owner finds undisturbed false', async () => {
    const { controls, slot, reader, count, source } = await setUpControls()
    reader.onEscape = () => new Uint8Array(0)
    const connection = await slot.connect()
    const owner = {}
    const order: string[] = []
    let escape: Promise<unknown> | undefined
    await connection.transaction(owner, async (channel) => {
      escape = controls.escape(bytes('01')).then(() => order.push('escape'))
      await channel.transmit(echo)
      await channel.transmit(echo)
      expect(count('Escape')).toBe(0)
      order.push('work')
    })
    await escape
    expect(order).toEqual(['work', 'escape'])
    expect(await connection.transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(false)
    await source.close()
  })

  it('is no longer waited for after the caller aborts', async () => {
    const { controls, slot, count, source } = await setUpControls()
    const connection = await slot.connect()
    const giveUp = new AbortController()
    await connection.transaction({}, async () => {
      const waiting = controls.resetParameters({ signal: giveUp.signal })
      giveUp.abort()
      await expect(waiting).rejects.toBeInstanceOf(AbortedError)
    })
    expect(count('ResetParameters')).toBe(0)
    await source.close()
  })

  it('rejects reader controls while the card is being connected', async () => {
    const { controls, slot, source } = await setUpControls()
    const connecting = slot.connect()
    await expect(controls.resetParameters()).rejects.toBeInstanceOf(TransactionError)
    await connecting
    expect((await controls.resetParameters()).protocol).toBe(0)
    await source.close()
  })
})

it('a slot of another driver has no reader controls', () => {
  expect(() => readerControls({} as CardSlot)).toThrow(NotSupportedError)
})
