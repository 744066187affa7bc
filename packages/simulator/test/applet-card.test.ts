/**
 * Tests of a card with two applets: selection, chaining, response chaining and log (ISO/IEC 7816-4, 5.2 to 5.4 and
 * 11.2.2).
 */
import { describe, expect, it } from 'vitest'
import { type Answer, AppletCard, type CommandApdu, piv, type VirtualApplet } from '../src/index.ts'
import { hex, show } from './piv-terminal.ts'

const noteAid = hex('f07765627501')
const pivAid = 'a00000030800001000'

/** An applet with one note: INS 30 writes it, INS 32 reads it, INS 20 sets `isOpen` until the applet is deselected. */
class NoteApplet implements VirtualApplet {
  readonly aid: Uint8Array = noteAid
  readonly ready: Promise<void> | undefined
  note: Uint8Array = new Uint8Array(0)
  isOpen = false
  deselections = 0
  readonly interruptions: (number | undefined)[] = []

  constructor(ready?: Promise<void>) {
    this.ready = ready
  }

  select(): Answer {
    return { data: hex('6f00'), sw: 0x9000 }
  }

  run({ ins, data }: CommandApdu): Answer {
    if (ins === 0x20) this.isOpen = true
    if (ins === 0x30) this.note = Uint8Array.from(data)
    if (ins === 0x33) throw new Error('A fault in the applet.')
    if (ins === 0x32) return { data: this.note, sw: 0x9000 }
    return { data: new Uint8Array(0), sw: ins === 0xa4 ? 0x6a82 : 0x9000 }
  }

  interrupted(partOfIns?: number): void {
    this.interruptions.push(partOfIns)
  }

  deselect(): void {
    this.isOpen = false
    this.deselections++
  }
}

function cardWith(options: Partial<ConstructorParameters<typeof AppletCard>[0]> = {}) {
  const note = new NoteApplet()
  const pivApplet = piv()
  const card = new AppletCard({ applets: [pivApplet, note], ...options })
  const send = async (...parts: string[]): Promise<string> => show(await card.process(hex(parts.join(''))))
  const select = (aid: string): Promise<string> =>
    send('00a40400', (aid.length / 2).toString(16).padStart(2, '0'), aid)
  return { card, note, pivApplet, send, select }
}

describe('a card with two applets', () => {
  it('has no applet selected after a reset, and selects one by full or partial AID', async () => {
    const { card, send, select } = cardWith()
    expect(await send('00200080')).toBe('6d00')
    expect(await select(show(noteAid))).toBe('6f009000')
    expect(await select(pivAid)).toMatch(/^61.*9000$/)
    expect(await select('a000000308')).toMatch(/9000$/)
    expect(await select('f077656275')).toBe('6f009000')
    card.reset('warm')
    expect(await send('00320000')).toBe('6d00')
  })

  it('has its default applet selected at power-on and again after a reset', async () => {
    const note = new NoteApplet()
    const { card, send, select } = cardWith({ applets: [piv(), note], defaultApplet: note })
    expect(await send('00320000')).toBe('9000')
    await select(pivAid)
    card.reset('cold')
    expect(await send('00320000')).toBe('9000')
  })

  it('keeps the selected applet after SELECT with an unknown, too short or too long AID', async () => {
    const { send, select } = cardWith()
    await select('f077656275')
    for (const aid of ['a000000004', 'a0000003', 'f0776562750100']) expect(await select(aid)).toBe('6a82')
    expect(await send('00320000')).toBe('9000')
  })

  it('returns no data to a SELECT that requests none', async () => {
    const { send } = cardWith()
    expect(await send('00a4040c05f077656275')).toBe('9000')
  })

  it('passes SELECT by file identifier to the applet, and rejects it if none is selected', async () => {
    const { send, select } = cardWith()
    expect(await send('00a4000c023f00')).toBe('6a86')
    await select('f077656275')
    expect(await send('00a4000c023f00')).toBe('6a82')
  })

  it('resets a verified PIN when another applet is selected, but not when the same one is', async () => {
    const { pivApplet, note, send, select } = cardWith()
    await select(pivAid)
    expect(await send('0020008008', '313233343536ffff')).toBe('9000')
    await select(pivAid)
    expect(pivApplet.pinVerified).toBe(true)
    await select('f077656275')
    expect(pivApplet.pinVerified).toBe(false)
    await send('00200000')
    await select('f077656275')
    expect(note.deselections).toBe(0)
    await select(pivAid)
    expect(note.isOpen).toBe(false)
  })

  it('joins the parts of a chain, and discards them if a part has another header', async () => {
    const { note, send, select } = cardWith()
    await select('f077656275')
    await send('10300000', '02', '0102')
    await send('00300000', '01', '03')
    expect(show(note.note)).toBe('010203')
    await send('10300000', '02', '0102')
    await send('00300001', '01', '03')
    expect(show(note.note)).toBe('03')
  })

  it('returns a long response in parts, and discards the rest at the next command', async () => {
    const { note, send, select } = cardWith()
    await select('f077656275')
    note.note = new Uint8Array(600).fill(7)
    expect(await send('0032000000')).toMatch(/^(07){256}6100$/)
    expect(await send('00c0000000')).toMatch(/^(07){256}6158$/)
    expect(await send('00c0000058')).toMatch(/^(07){88}9000$/)
    expect(await send('00c0000000')).toBe('6985')
    await send('0032000000')
    await send('00200000')
    expect(await send('00c0000000')).toBe('6985')
  })

  it('notifies the applet of each command that the card handles itself', async () => {
    const { note, send, select } = cardWith()
    await select('f077656275')
    await send('10300000', '01', '01')
    await send('00c0000000')
    await send('80320000')
    await send('003000')
    await select('a000000004')
    expect(note.interruptions).toEqual([0x30, undefined, undefined, undefined, undefined])
  })

  it('returns 6F00 if an applet throws, and executes the next command', async () => {
    const { send, select } = cardWith()
    await select('f077656275')
    expect(await send('00330000')).toBe('6f00')
    expect(await send('00320000')).toBe('9000')
  })

  it('executes no command before every applet is ready', async () => {
    let finish = (): void => {}
    const slow = new NoteApplet(new Promise<void>((resolve) => (finish = resolve)))
    const { card, send } = cardWith({ applets: [piv(), slow] })
    const response = send('00a4040005f077656275')
    await new Promise((resolve) => setImmediate(resolve))
    expect(card.log).toEqual([])
    finish()
    expect(await response).toBe('6f009000')
  })

  it('does not execute a command that was sent before a loss of power', async () => {
    const { card, note, send, select } = cardWith()
    await select('f077656275')
    const late = send('00300000', '01', '03')
    card.powerOff()
    expect(await late).toBe('6f00')
    expect(note.note.length).toBe(0)
  })

  it('returns the right Le with 6Cxx for reading commands if wrongLe is 6Cxx', async () => {
    const { send } = cardWith({ wrongLe: '6Cxx' })
    expect(await send('00a4040005f07765627501')).toBe('6c02')
    expect(await send('00a4040005f07765627502')).toBe('6f009000')
  })

  it('logs every command, including parts of a chain and GET RESPONSE', async () => {
    const { card, send, select } = cardWith()
    await select('f077656275')
    await send('10300000', '01', '01')
    await send('00c0000000')
    expect(card.log.map(({ ins, dataBytes, sw }) => [ins, dataBytes, sw])).toEqual([
      [0xa4, 5, 0x9000],
      [0x30, 1, 0x9000],
      [0xc0, 0, 0x6985],
    ])
  })
})
