/** Byte arrays that the driver returns are copies that belong to the caller. */
import { createEchoCard } from '@webtoki/simulator'
import { expect, it } from 'vitest'
import { setUp } from './set-up.ts'

it('an ATR that a caller overwrites is unchanged for the next caller, even after a reset', async () => {
  const card = createEchoCard()
  const { slot, source } = setUp({ card })
  const connection = await (await slot()).connect()
  await connection.transaction({}, async (channel) => {
    const atr = Uint8Array.from(channel.atr)
    expect(atr).toEqual(card.atr)
    channel.atr.fill(0)
    expect(channel.atr).toEqual(atr)
    const response = await channel.reset('warm')
    expect(response).toEqual(atr)
    response.fill(0)
    expect(channel.atr).toEqual(atr)
  })
  await source.close()
})
