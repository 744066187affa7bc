/** Cards whose ATR is wrong about extended lengths or does not state them: what is sent, learned and never repeated. */
import {
  type CardChannel,
  type CardLink,
  CardSilentError,
  type ChannelLimits,
  exchange,
  fromHex,
  LockedConnection,
  type NamedCommand,
  toHex,
} from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'

const stated: ChannelLimits = { extended: true, commandBytes: 65_544, responseBytes: 65_536 }
const unstated: ChannelLimits = {
  extended: false,
  commandBytes: 261,
  responseBytes: 256,
  untried: { commandBytes: 65_544, responseBytes: 65_536 },
}
const OK = '9000'

const select = {
  name: 'SELECT',
  cla: 0,
  ins: 0xa4,
  p1: 4,
  p2: 0,
  data: fromHex('a000000308'),
  responseBytes: 256,
}
const read = {
  name: 'GET DATA',
  cla: 0,
  ins: 0xcb,
  p1: 0x3f,
  p2: 0xff,
  data: fromHex('5c017e'),
  responseBytes: 65_536,
}
const status = { name: 'VERIFY', cla: 0, ins: 0x20, p1: 0, p2: 0x80 }
const sign = (bytes: number): NamedCommand => ({
  name: 'GENERAL AUTHENTICATE',
  cla: 0,
  ins: 0x87,
  p1: 7,
  p2: 0x9a,
  data: new Uint8Array(bytes).fill(0xaa),
  responseBytes: 65_536,
})

/** A card with separate responses to extended and short APDUs, which logs the commands. */
class OddLink implements CardLink {
  readonly atr: Uint8Array = fromHex('3b00')
  readonly vouchesForCard = true
  readonly log: string[] = []
  readonly limits: ChannelLimits
  readonly #toExtended: (command: string) => string | Error
  readonly #toShort: (command: string) => string

  constructor(
    limits: ChannelLimits,
    toExtended: (command: string) => string | Error,
    toShort: (command: string) => string = () => OK,
  ) {
    this.limits = limits
    this.#toExtended = toExtended
    this.#toShort = toShort
  }

  async exchange(command: Uint8Array): Promise<Uint8Array> {
    const hex = toHex(command)
    const isExtended = command.length > 5 && command[4] === 0
    this.log.push(`${isExtended ? 'extended' : 'short'} ${hex.slice(0, 4)}`)
    const response = isExtended ? this.#toExtended(hex) : this.#toShort(hex)
    if (response instanceof Error) throw response
    return fromHex(response)
  }

  async reset(kind: string): Promise<Uint8Array> {
    this.log.push(`${kind} reset`)
    return this.atr
  }

  async release(): Promise<void> {}
}

function inOneTransaction<T>(link: OddLink, work: (channel: CardChannel) => Promise<T>): Promise<T> {
  return new LockedConnection(link).transaction({}, work)
}

describe('a card whose ATR states extended lengths', () => {
  it.each(['6700', '6a86', '6d00', '6e00', '6f00'])(
    'but which refuses a reading command in that form with %s gets short APDUs and chains from then on',
    async (refusal) => {
      const link = new OddLink(
        stated,
        () => refusal,
        (hex) => (hex.startsWith('00cb') ? `0102${OK}` : OK),
      )
      const connection = new LockedConnection(link)
      await connection.transaction({}, async (channel) => {
        await exchange(channel, select)
        expect(await exchange(channel, read)).toEqual({ data: fromHex('0102'), sw: 0x9000 })
        expect(channel.limits).toEqual({ extended: false, commandBytes: 261, responseBytes: 256 })
      })
      // Another application on the same card.
      await connection.transaction({}, async (channel) => {
        await exchange(channel, read)
        await exchange(channel, sign(266))
      })
      const reads = ['short 00a4', 'extended 00cb', 'short 00cb', 'short 00cb']
      expect(link.log).toEqual([...reads, 'short 1087', 'short 0087'])
    },
  )

  it('gets further extended APDUs if it refuses a command in both forms', async () => {
    const link = new OddLink(
      stated,
      () => '6700',
      () => '6700',
    )
    await inOneTransaction(link, async (channel) => {
      expect((await exchange(channel, read)).sw).toBe(0x6700)
      expect(channel.limits.extended).toBe(true)
    })
    expect(link.log).toEqual(['extended 00cb', 'short 00cb'])
  })

  it.each(['6a82', '6982', '6a80', '6985'])(
    'does not get the command again after %s, which does not concern the form',
    async (sw) => {
      const link = new OddLink(stated, () => sw)
      await inOneTransaction(link, async (channel) => {
        expect(toHex(Uint8Array.of((await exchange(channel, read)).sw >> 8))).toBe(sw.slice(0, 2))
      })
      expect(link.log).toEqual(['extended 00cb'])
    },
  )

  it('gets a signature command again in short form only if it certainly did not execute it', async () => {
    const certain = new OddLink(stated, () => '6700')
    expect((await inOneTransaction(certain, (channel) => exchange(channel, sign(266)))).sw).toBe(0x9000)
    expect(certain.log).toEqual(['extended 0087', 'short 1087', 'short 0087'])
    const uncertain = new OddLink(stated, () => '6f00')
    expect((await inOneTransaction(uncertain, (channel) => exchange(channel, sign(266)))).sw).toBe(0x6f00)
    expect(uncertain.log).toEqual(['extended 0087'])
  })

  it('never gets a sensitive command again', async () => {
    const link = new OddLink(stated, () => '6700')
    const response = await inOneTransaction(link, (channel) =>
      exchange(channel, sign(266), { sensitive: true }),
    )
    expect(response.sw).toBe(0x6700)
    expect(link.log).toEqual(['extended 0087'])
  })
})

describe('a card whose ATR does not state extended lengths', () => {
  it('gets one reading command in extended form, and further extended APDUs if it accepts it', async () => {
    const link = new OddLink(unstated, () => `0102${OK}`)
    const connection = new LockedConnection(link)
    await connection.transaction({}, async (channel) => {
      await exchange(channel, select)
      expect(toHex((await exchange(channel, read)).data)).toBe('0102')
      await exchange(channel, read)
    })
    await connection.transaction({}, (channel) => exchange(channel, sign(266)))
    expect(link.log).toEqual(['short 00a4', 'extended 00cb', 'extended 00cb', 'extended 0087'])
  })

  it.each(['6700', '6f00', '6a81', '6c10', '6300'])(
    'gets only short APDUs after it responds with %s',
    async (sw) => {
      const link = new OddLink(unstated, () => sw)
      await inOneTransaction(link, async (channel) => {
        await exchange(channel, select)
        for (const command of [read, read, sign(266)])
          expect((await exchange(channel, command)).sw).toBe(0x9000)
      })
      expect(link.log.filter((each) => each.startsWith('extended'))).toEqual(['extended 00cb'])
      expect(link.log.slice(-2)).toEqual(['short 1087', 'short 0087'])
    },
  )

  it('that goes mute at an extended APDU is reset and selected again, and then gets only short APDUs', async () => {
    const link = new OddLink(
      unstated,
      () => new CardSilentError(),
      (hex) => (hex.startsWith('00cb') ? `05${OK}` : OK),
    )
    const connection = new LockedConnection(link)
    const owner = {}
    await connection.transaction(owner, async (channel) => {
      await exchange(channel, select)
      expect(toHex((await exchange(channel, read)).data)).toBe('05')
      expect(channel.undisturbed).toBe(false)
    })
    const after = ['cold reset', 'short 00a4', 'short 00cb']
    expect(link.log).toEqual(['short 00a4', 'extended 00cb', ...after])
    // The owner's next transaction is disturbed, so that it selects and verifies again.
    await connection.transaction(owner, async (channel) => {
      expect(channel.undisturbed).toBe(false)
      await exchange(channel, read)
    })
    expect(link.log.at(-1)).toBe('short 00cb')
  })

  it('that refuses SELECT after that reset rejects the command with the original error', async () => {
    let selects = 0
    const link = new OddLink(
      unstated,
      () => new CardSilentError(),
      (hex) => (hex.startsWith('00a4') && selects++ > 0 ? '6a82' : OK),
    )
    const reading = inOneTransaction(link, async (channel) => {
      await exchange(channel, select)
      return exchange(channel, read)
    })
    await expect(reading).rejects.toMatchObject({ code: 'card/mute' })
  })

  it.each([
    ['before an application is selected', []],
    ['after a command that does more than read', [select, status]],
    ['after a selection by file identifier', [select, { ...select, p1: 0, data: fromHex('3f00') }]],
  ])('gets no extended APDU %s', async (_, before) => {
    const link = new OddLink(unstated, () => OK)
    await inOneTransaction(link, async (channel) => {
      for (const command of before) await exchange(channel, command)
      await exchange(channel, read)
    })
    expect(link.log.filter((each) => each.startsWith('extended'))).toEqual([])
  })

  it('gets no extended APDU for a command that may change something or fits a short APDU', async () => {
    const link = new OddLink(unstated, () => OK)
    await inOneTransaction(link, async (channel) => {
      await exchange(channel, select)
      await exchange(channel, { ...read, responseBytes: 256 })
      await exchange(channel, { ...read, ins: 0xdb })
      await exchange(channel, sign(266))
    })
    expect(link.log.filter((each) => each.startsWith('extended'))).toEqual([])
  })

  it('may still support extended lengths if it does not have the requested object', async () => {
    const link = new OddLink(unstated, () => '6a82')
    await inOneTransaction(link, async (channel) => {
      await exchange(channel, select)
      expect((await exchange(channel, read)).sw).toBe(0x6a82)
      expect(channel.limits).toBe(unstated)
    })
    expect(link.log).toEqual(['short 00a4', 'extended 00cb'])
  })
})
