/** What the driver hands out is the caller's own. */
import { createEchoCard } from '@webtoki/simulator'
import { expect, it } from 'vitest'
import { stand } from './stand.ts'

it('an ATR that somebody overwrites is the same for whoever asks next, after a reset too', async () => {
  const card = createEchoCard()
  const { slot, source } = stand({ card })
  const connection = await (await slot()).connect()
  await connection.transaction({}, async (channel) => {
    const atr = Uint8Array.from(channel.atr)
    expect(atr).toEqual(card.atr)
    channel.atr.fill(0)
    expect(channel.atr).toEqual(atr)
    const answer = await channel.reset('warm')
    expect(answer).toEqual(atr)
    answer.fill(0)
    expect(channel.atr).toEqual(atr)
  })
  await source.close()
})
