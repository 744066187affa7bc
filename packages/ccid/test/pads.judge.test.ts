/**
 * Compares the driver with Debian's libccid on readers with PIN pads: the same PC_to_RDR_Secure messages and the same
 * outcomes.
 */
import {
  PinPadCancelledError,
  PinPadRefusedError,
  PinPadTimeoutError,
  type PinTemplate,
  ReaderRefusedError,
} from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  createPivCard,
  type PinEntry,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { judgeMissing, pcscHost } from './pcsc-host.ts'

if (judgeMissing !== undefined) console.warn(`PIN pads are not judged by libccid: ${judgeMissing}.`)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

/**
 * Records the messages for the PIN pad: Secure, and the Escape that SPR532 needs before it. libccid sends other
 * Escapes on opening.
 */
class WatchedReader extends VirtualCcidReader {
  readonly entries: string[] = []
  protected override outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    const data = hex(bytes.subarray(10))
    if (bytes[0] === 0x69 || (bytes[0] === 0x6b && data === '800200')) this.entries.push(data)
    return super.outReceived(endpoint, bytes)
  }
}

const pivPin: PinTemplate = {
  command: bytesOf('0020008008ffffffffffffffff'),
  pinOffset: 0,
  blockBytes: 8,
  format: 'ascii',
  minDigits: 6,
  maxDigits: 8,
}
/** CHANGE REFERENCE DATA of SP 800-73-4: the old and the new PIN in adjacent blocks. */
const pivChange: PinTemplate = {
  ...pivPin,
  command: bytesOf(`0024008010${'ff'.repeat(16)}`),
  newPinOffset: 8,
  requiresOldPin: true,
  confirms: true,
}
/** A PIN without padding. PIV cards refuse it, which both sides must report. */
const bare: PinTemplate = { ...pivPin, command: bytesOf('0020008000'), blockBytes: 0 }

interface Pad {
  verify(template: PinTemplate): Promise<string>
  modify(template: PinTemplate): Promise<string>
  transmit(apdu: string): Promise<string>
}
type Protocol = 'T=0' | 'T=1'

const uint32 = (value: number): string => value.toString(16).padStart(2, '0').padEnd(8, '0')

/** PIN_VERIFY_STRUCTURE and PIN_MODIFY_STRUCTURE of PC/SC part 10, 2.5.2 and 2.5.3. */
async function libccid(reader: VirtualCcidReader, protocol: Protocol): Promise<Pad> {
  const host = await pcscHost(reader, open)
  expect(await host.ask('wait present')).toMatch(/^ok/)
  expect(await host.ask(`connect ${protocol}`)).toBe('ok')
  // libccid reports the person's own actions as status words. Any other failure has one word.
  const words: Readonly<Record<string, string>> = { 'ok 6401': 'cancelled', 'ok 6400': 'too late' }
  const resultOf = (result: string): string =>
    words[result] ?? (result.startsWith('ok ') ? result.slice(3) : 'refused by the reader')
  return {
    verify: async ({ command, blockBytes }) => {
      // SPR532 needs a header without Lc, which PC/SC leaves to the caller.
      const isBare = blockBytes === 0 && reader.profile === readerProfiles.spr532
      const data = hex(isBare ? command.subarray(0, 4) : command)
      const block = blockBytes.toString(16).padStart(2, '0')
      const structure = `3c3c82${block}00080602010904000000${'00'}${uint32(data.length / 2)}${data}`
      return resultOf(await host.ask(`feature 06 ${structure}`))
    },
    modify: async ({ command }) => {
      const structure = `3c3c8208000008080603${'0203'}0904000102000000${uint32(command.length)}${hex(command)}`
      return resultOf(await host.ask(`feature 07 ${structure}`))
    },
    transmit: async (apdu) => (await host.ask(`transmit ${apdu}`)).replace('ok ', ''),
  }
}

async function ours(reader: VirtualCcidReader, protocol: Protocol): Promise<Pad> {
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  open.push(() => source.close())
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('Our driver shows no slot.')
  await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
  const connection = await slot.connect({ protocol })
  const onPad = (what: 'verify' | 'modify') => (template: PinTemplate) =>
    connection
      .transaction({}, async ({ pinPad }) => {
        if (pinPad === undefined) throw new Error('There is no pad.')
        return hex(await pinPad[what](template))
      })
      .catch((error: unknown) => {
        if (error instanceof PinPadCancelledError) return 'cancelled'
        if (error instanceof PinPadTimeoutError) return 'too late'
        if (error instanceof PinPadRefusedError) return 'refused by the reader'
        if (error instanceof ReaderRefusedError) return 'refused by the reader'
        throw error
      })
  return {
    verify: onPad('verify'),
    modify: onPad('modify'),
    transmit: (apdu) =>
      connection.transaction({}, async (channel) => hex(await channel.transmit(bytesOf(apdu)))),
  }
}

/** libccid accepts a vendor class only with ids that it lists. Debian 12 lists 0504 of the cyberJack's family. */
const models = {
  ...readerProfiles,
  cyberJackPinpad: { ...readerProfiles.cyberJackPinpad, productId: 0x0504 },
}
const tpdu = ['spr532', 'dellSk3106', 'cyberJackPinpad', 'gemPcPinpad', 'cherrySt2000'] as const
const apdu = ['cherryKc1000', 'ezioShield'] as const
type Model = (typeof tpdu)[number] | (typeof apdu)[number]

/**
 * Entries in order: correct, wrong, cancelled, timed out, a PIN pad failure, correct; then modifications with a wrong
 * old PIN, with a repetition that differs and without a fault, and the new PIN; then a PIN without a block.
 */
async function runScenario(
  drive: (reader: VirtualCcidReader, protocol: Protocol) => Promise<Pad>,
  model: Model,
  protocol: Protocol,
) {
  const reader = new WatchedReader(models[model])
  const card = createPivCard({ protocols: protocol })
  reader.insert(card)
  const entries: PinEntry[] = []
  reader.person = async () => entries.shift() ?? 'timeout'
  const type = (...typed: string[]): void => {
    const isWord = (each: string): each is Exclude<PinEntry, object> => /^[a-z]/.test(each)
    entries.splice(0, entries.length, ...typed.map((each) => (isWord(each) ? each : { digits: each })))
  }
  const pad = await drive(reader, protocol)
  const lines = [`select ${await pad.transmit('00a4040009a00000030800001000')}`]
  const note = async (what: string, result: Promise<string>): Promise<void> => {
    lines.push(`${what}: ${await result}, ${card.pinTriesLeft} left`)
  }
  for (const entry of ['123456', '654321', 'cancel', 'timeout', 'broken', '123456'] as const) {
    type(entry)
    await note(entry, pad.verify(pivPin))
  }
  if (model !== 'dellSk3106') {
    for (const entered of [
      ['654321', '234567', '234567'],
      ['123456', '234567', '234568'],
      ['123456', '234567', '234567'],
    ]) {
      type(...entered)
      await note(entered.join(' '), pad.modify(pivChange))
    }
    type('234567')
    await note('the new PIN', pad.verify(pivPin))
  }
  type('123456')
  await note('without a block', pad.verify(bare))
  lines.push(`status ${await pad.transmit('0020008000')}`)
  return { lines, entries: reader.entries, commands: card.log.length }
}

const cases = [
  ...tpdu.flatMap((model) => (['T=1', 'T=0'] as const).map((protocol) => [model, protocol] as const)),
  ...apdu.map((model) => [model, 'T=1'] as const),
]

/**
 * After the PIN pad failure, the fifth entry, the card may have received the command. The driver resynchronises T=1,
 * so that a late response cannot be taken for that of the next command, and N(S) is 0 again. libccid continues to
 * count.
 */
const renumbered = (entries: readonly string[]): string[] =>
  entries.map((message, at) =>
    at < 5 ? message : message.replace(/(?:00|40)(?=..002[04]0080)/, (pcb) => (pcb === '00' ? '40' : '00')),
  )

describe.skipIf(judgeMissing !== undefined)('libccid and the driver send the same bytes to a PIN pad', () => {
  it.each(cases)('%s, %s', { timeout: 30_000 }, async (model, protocol) => {
    const theirs = await runScenario(libccid, model, protocol)
    expect(theirs.lines.slice(1, 7)).toEqual([
      '123456: 9000, 3 left',
      '654321: 63c2, 2 left',
      'cancel: cancelled, 2 left',
      'timeout: too late, 2 left',
      'broken: refused by the reader, 2 left',
      '123456: 9000, 3 left',
    ])
    if (model !== 'dellSk3106')
      expect(theirs.lines.slice(7, 11)).toEqual([
        '654321 234567 234567: 63c2, 2 left',
        '123456 234567 234568: cancelled, 2 left',
        '123456 234567 234567: 9000, 3 left',
        'the new PIN: 9000, 3 left',
      ])
    const isBlocks = protocol === 'T=1' && tpdu.some((each) => each === model)
    const entries = isBlocks ? renumbered(theirs.entries) : theirs.entries
    expect(await runScenario(ours, model, protocol)).toEqual({ ...theirs, entries })
  })

  it('QEMU announces but lacks: the entry is the same, and the card receives nothing', async () => {
    const runScenario = async (drive: typeof libccid) => {
      const reader = new WatchedReader(readerProfiles.qemuUsbCcid)
      const card = createPivCard({ protocols: 'T=0' })
      reader.insert(card)
      const pad = await drive(reader, 'T=0')
      const lines = [await pad.transmit('00a4040009a00000030800001000'), await pad.verify(pivPin)]
      return { lines, entries: reader.entries, verifies: card.log.filter(({ ins }) => ins === 0x20).length }
    }
    const theirs = await runScenario(libccid)
    expect([theirs.lines[1], theirs.entries.length, theirs.verifies]).toEqual(['refused by the reader', 1, 0])
    expect(await runScenario(ours)).toEqual(theirs)
  })
})
