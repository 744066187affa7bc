/** Selection and card identity of a made-up application, which shares nothing with PIV or OpenPGP. */
import {
  type CardApplicationOptions,
  CardApplication,
  type CardChannel,
  type CardLink,
  exchange,
  fromHex,
  LockedConnection,
  toHex,
} from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'
import { connectionOf, ScriptedChannel } from './scripted-channel.ts'

const aid = fromHex('f0004c4f434b')
const locker: CardApplicationOptions = { name: 'locker', aid }
const select: [string, string] = ['00a4040006f0004c4f434b00', 'a1a29000']

/** A card that logs its commands and accepts all of them. */
function memoryCard(respond: (command: string) => string = () => '9000') {
  const log: string[] = []
  const link: CardLink = {
    atr: fromHex('3b00'),
    limits: { extended: false, commandBytes: 261, responseBytes: 256 },
    vouchesForCard: true,
    exchange: async (command) => {
      log.push(toHex(command))
      return fromHex(respond(toHex(command)))
    },
    reset: async () => {
      log.push('reset')
      return fromHex('3b00')
    },
    release: async () => {},
  }
  return { log, connection: new LockedConnection(link) }
}

const echo = { name: 'ECHO', cla: 0, ins: 0x10, p1: 0, p2: 0 }
const [selectCommand] = select

describe('an application of a card', () => {
  it('is selected by the AID that was passed to the constructor, even if the array was overwritten since', async () => {
    const copy = aid.slice()
    const channel = new ScriptedChannel([select])
    const application = new CardApplication(connectionOf(channel), { name: 'locker', aid: copy })
    copy.fill(0)
    expect(toHex(await application.select(channel))).toBe('a1a2')
  })

  it('that the card does not have rejects with a StatusError that names SELECT', async () => {
    const channel = new ScriptedChannel([[select[0], '6a82']])
    await expect(new CardApplication(connectionOf(channel), locker).select(channel)).rejects.toMatchObject({
      code: 'card/status',
      sw: 0x6a82,
      command: 'SELECT locker',
    })
  })

  it('is selected once while no other owner uses the card', async () => {
    const { log, connection } = memoryCard()
    const application = new CardApplication(connection, locker)
    const states: boolean[] = []
    for (let times = 0; times < 3; times++) {
      await application.transaction(async (channel, { reselected }) => {
        states.push(reselected)
        await application.exchange(channel, echo)
      })
    }
    expect(log).toEqual([selectCommand, '00100000', '00100000', '00100000'])
    expect(states).toEqual([true, false, false])
  })

  it('is selected again after another application and after another owner used the card', async () => {
    const { log, connection } = memoryCard()
    const application = new CardApplication(connection, locker)
    const other = new CardApplication(connection, { name: 'other', aid: fromHex('f001') })
    await application.transaction(async () => {})
    await other.transaction(async () => {})
    await application.transaction(async () => {})
    await connection.transaction({}, async () => {})
    await application.transaction(async () => {})
    const selectOther = '00a4040002f00100'
    expect(log).toEqual([selectCommand, selectOther, selectCommand, selectCommand])
  })

  it('is selected once on a channel that is disturbed from the start', async () => {
    const channel = new ScriptedChannel([select])
    channel.undisturbed = false
    const application = new CardApplication(connectionOf(channel), locker)
    await application.transaction(async () => {})
    await application.transaction(async () => {})
    expect(channel.left).toBe(0)
  })

  it('is selected again after a failed selection', async () => {
    const channel = new ScriptedChannel([[select[0], '6f00'], select])
    const application = new CardApplication(connectionOf(channel), locker)
    await expect(application.transaction(async () => {})).rejects.toMatchObject({ sw: 0x6f00 })
    await application.transaction(async (_channel, { reselected }) => expect(reselected).toBe(true))
    expect(channel.left).toBe(0)
  })

  it('is selected again after it reset the card', async () => {
    const { log, connection } = memoryCard()
    const application = new CardApplication(connection, locker)
    await application.transaction(async (channel) => {
      await channel.reset('warm')
      application.forget()
    })
    await application.transaction(async () => {})
    expect(log).toEqual([selectCommand, 'reset', selectCommand])
  })

  it('reports each loss before it sends the command', async () => {
    const channel = new ScriptedChannel([select])
    const application = new CardApplication(connectionOf(channel), locker)
    const losses: string[] = []
    application.onLoss((loss) => losses.push(`${loss} after ${channel.received.length}`))
    await application.select(channel)
    application.forget()
    expect(losses).toEqual(['selection after 0', 'all after 1'])
  })

  it('counts only its own commands', async () => {
    const { connection } = memoryCard()
    const application = new CardApplication(connection, locker)
    await application.transaction(async (channel) => {
      expect(application.commands).toBe(1)
      await application.exchange(channel, echo)
      await exchange(channel, echo)
      expect(application.commands).toBe(2)
    })
  })

  it('rejects PIN entry on a reader without a PIN pad with PinPadRefusedError', async () => {
    const channel = new ScriptedChannel([])
    const template = {
      command: fromHex('00200005'),
      pinOffset: 0,
      blockBytes: 0,
      format: 'ascii',
      minDigits: 4,
      maxDigits: 8,
    } as const
    const application = new CardApplication(connectionOf(channel), locker)
    await expect(application.exchangeOnPad(channel, template)).rejects.toMatchObject({
      code: 'card/pin-pad-refused',
    })
  })
})

describe('confirmCard', () => {
  class Locker extends CardApplication {
    serial: string | undefined = 'A'
    reads = 0
    override fingerprint(): Promise<string | undefined> {
      this.reads++
      return Promise.resolve(this.serial)
    }
  }

  async function confirm(vouchesForCard: boolean, before: string | undefined, now: string | undefined) {
    const channel = new ScriptedChannel([])
    channel.vouchesForCard = vouchesForCard
    const application = new Locker(connectionOf(channel), locker)
    application.serial = before
    application.remember(await application.fingerprint())
    application.serial = now
    const outcome = await application.confirmCard(channel).then(
      () => 'confirmed',
      ({ code, why }: { code: string; why: string }) => `${code} ${why}`,
    )
    return [outcome, application.reads - 1]
  }

  it('reads nothing if the reader would have noticed another card', async () => {
    expect(await confirm(true, 'A', 'B')).toEqual(['confirmed', 0])
  })

  it('reads the fingerprint at other readers and rejects if it differs or cannot be read', async () => {
    expect(await confirm(false, 'A', 'A')).toEqual(['confirmed', 1])
    expect(await confirm(false, 'A', 'B')).toEqual(['card/gone replaced', 1])
    expect(await confirm(false, 'A', undefined)).toEqual(['card/gone replaced', 1])
    expect(await confirm(false, undefined, undefined)).toEqual(['card/gone replaced', 1])
  })

  it('rejects for an application that has no fingerprint or stored none', async () => {
    const channel: CardChannel = Object.assign(new ScriptedChannel([]), { vouchesForCard: false })
    const gone = { code: 'card/gone', why: 'replaced' }
    for (const application of [
      new CardApplication(connectionOf(channel), locker),
      new Locker(connectionOf(channel), locker),
    ])
      await expect(application.confirmCard(channel)).rejects.toMatchObject(gone)
  })
})
