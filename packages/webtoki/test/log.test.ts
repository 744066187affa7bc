import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Webtoki } from 'webtoki'
import { type LogEvent, logged } from 'webtoki/log'
import { ccidSlots } from '@webtoki/ccid'

beforeEach(() => vi.stubGlobal('location', { origin: 'https://example.org' }))
afterEach(() => void vi.unstubAllGlobals())

it('a logged source reports instructions and status words of a login, and no data', async () => {
  const card = createPivCard()
  const sent: string[] = []
  const process = card.process.bind(card)
  card.process = async (command) => {
    const before = Buffer.from(command).toString('hex')
    const answer = await process(command)
    sent.push(before.slice(10), Buffer.from(answer).toString('hex').slice(0, -4))
    return answer
  }
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const events: LogEvent[] = []
  const source = logged(ccidSlots({ usb: virtualUsb([reader]) }), (event) => {
    events.push(event)
    throw new Error('The log is full.')
  })
  const pin = async () => ({ pin: new TextEncoder().encode('123456') })
  const webtoki = new Webtoki({ pin, sources: [source] })
  await webtoki.login('n'.repeat(44))
  await webtoki.close()
  const apdus = events.flatMap((event) => (event.kind === 'apdu' ? [`${event.instruction} ${event.sw}`] : []))
  expect(apdus).toContain('VERIFY 9000')
  expect(apdus).toContain('GENERAL AUTHENTICATE 9000')
  expect(events[0]).toMatchObject({ kind: 'connected' })
  // Only these fields, of these shapes: nothing of a data field can be in them.
  for (const event of events) {
    expect(['connected', 'apdu']).toContain(event.kind)
    if (event.kind !== 'apdu') continue
    expect(Object.keys(event).toSorted()).toEqual(['instruction', 'kind', 'milliseconds', 'slot', 'sw'])
    expect(event.instruction).toMatch(/^[A-Z][A-Z ]+$|^INS [0-9A-F]{2}$/)
    expect(event.sw).toMatch(/^[0-9A-F]{4}$/)
  }
  const told = JSON.stringify(events.map((event) => ({ ...event, milliseconds: 0 }))).toLowerCase()
  expect(told).not.toContain('313233343536')
  expect(told).not.toContain('123456')
  for (const data of sent) if (data.length >= 8) expect(told).not.toContain(data)
})
