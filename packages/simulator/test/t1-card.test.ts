/**
 * Tests of the T=1 parameters in the ATR of a card, and of the card's use of them (ISO/IEC 7816-3:2006, 8.2.3 and
 * 11.4).
 */
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../src/bytes.ts'
import { ContactCard } from '../src/iso7816/contact-card.ts'

/** A card with this ATR that uses T=1 and returns 9000 to every command. */
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

/** The block I(0,0) with an information field of this length. */
const information = (bytes: number) => lrc(0, 0, bytes, ...new Uint8Array(bytes).fill(0x10))

async function responseTo(card: ContactCard, block: Uint8Array): Promise<string> {
  const response = await card.exchange(block, 1)
  return response === 'mute' ? response : toHex(response)
}

describe('a T=1 card accepts information fields up to the IFSC in its ATR', () => {
  it.each([
    ['32 bytes without TA3', '3b 80 81 01', 32],
    ['TA3 after a TD1 for T=1', '3b 80 81 11 fd', 253],
    ['TA3 after a TD1 for T=0', '3b 80 80 11 14', 20],
    ['32 bytes with TA2, which is not an IFSC', '3b 80 91 01 01', 32],
    ['the first of two IFSC bytes for T=1', '3b 80 81 91 40 11 fe', 64],
  ])('%s', async (_title, atr, bytes) => {
    expect(await responseTo(contact(atr), information(bytes))).toBe(toHex(lrc(0, 0, 2, 0x90, 0)))
    // R(0), other error: the card rejects the block.
    expect(await responseTo(contact(atr), information(bytes + 1))).toBe(toHex(lrc(0, 0x82, 0)))
  })
})

it.each([
  ['after a TD1 for T=1', '3b 80 81 41 01'],
  ['after a TD1 for T=0', '3b 80 80 41 01'],
])('a T=1 card rejects a block with an LRC if its TC3 %s states a CRC', async (_title, atr) => {
  expect(await responseTo(contact(atr), information(5))).toMatch(/^008100....$/)
})
