/** What a card at the contacts says of its T=1, and keeps to (ISO/IEC 7816-3:2006, 8.2.3 and 11.4). */
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../src/bytes.ts'
import { ContactCard } from '../src/iso7816/contact-card.ts'

/** A card with this ATR whose T=1 is chosen; it takes every command. */
function contact(atr: string): ContactCard {
  const card = {
    atr: fromHex(atr),
    reset() {},
    powerOff() {},
    process: async () => Uint8Array.of(0x90, 0),
  }
  const contacts = new ContactCard(card, {}, () => {})
  contacts.negotiated(1)
  return contacts
}

function lrc(...block: readonly number[]): Uint8Array {
  return Uint8Array.of(
    ...block,
    block.reduce((sum, byte) => sum ^ byte, 0),
  )
}

/** I(0,0) with so many bytes. */
const information = (bytes: number) => lrc(0, 0, bytes, ...new Uint8Array(bytes).fill(0x10))

async function answerTo(card: ContactCard, block: Uint8Array): Promise<string> {
  const answer = await card.exchange(block, 1)
  return answer === 'mute' ? answer : toHex(answer)
}

describe('a T=1 card takes information fields as long as its ATR says, and no longer', () => {
  it.each([
    ['32 where it says nothing', '3b 80 81 01', 32],
    ['TA3 behind a TD1 for T=1', '3b 80 81 11 fd', 253],
    ['TA3 behind a TD1 for T=0', '3b 80 80 11 14', 20],
    ['TA2 is no IFSC', '3b 80 91 01 01', 32],
    ['the first for T=1 counts', '3b 80 81 91 40 11 fe', 64],
  ])('%s', async (_title, atr, bytes) => {
    expect(await answerTo(contact(atr), information(bytes))).toBe(toHex(lrc(0, 0, 2, 0x90, 0)))
    // R(0), other error: nothing of it was taken.
    expect(await answerTo(contact(atr), information(bytes + 1))).toBe(toHex(lrc(0, 0x82, 0)))
  })
})

it.each([
  ['behind a TD1 for T=1', '3b 80 81 41 01'],
  ['behind a TD1 for T=0', '3b 80 80 41 01'],
])('a T=1 card whose TC3 asks for CRC has no LRC: TC3 %s', async (_title, atr) => {
  expect(await answerTo(contact(atr), information(5))).toMatch(/^008100....$/)
})
