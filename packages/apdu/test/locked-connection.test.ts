/** The connection contract over a link in memory, and failures that only a link can cause. */
import { CardGoneError, type CardLink, LockedConnection } from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'
import { connectionContract, handTimers } from './connection-contract.ts'

class MemoryLink implements CardLink {
  readonly atr: Uint8Array = Uint8Array.of(0x3b, 0)
  readonly limits = { extended: false, commandBytes: 261, responseBytes: 256 }
  reached = 0
  releases = 0
  gate: Promise<void> = Promise.resolve()
  fails: Error | undefined

  async exchange(command: Uint8Array): Promise<Uint8Array> {
    this.reached++
    await this.gate
    if (this.fails !== undefined) throw this.fails
    return Uint8Array.of(...command.subarray(5, -1), 0x90, 0)
  }

  async reset(): Promise<Uint8Array> {
    if (this.fails !== undefined) throw this.fails
    return this.atr
  }

  async release(): Promise<void> {
    this.releases++
    await this.gate
    throw new Error('The reader was removed meanwhile.')
  }
}

connectionContract('a link in memory', async () => {
  const link = new MemoryLink()
  const { hands, clock } = handTimers()
  const connection = new LockedConnection(link, { clock })
  return {
    connection,
    reached: () => link.reached,
    hold: () => {
      let release = (): void => {}
      link.gate = new Promise((resolve) => (release = resolve))
      return release
    },
    pull: () => void connection.lost('removed'),
    advance: (milliseconds) => hands.advance(milliseconds),
    close: () => connection.close(),
  }
})

describe('a locked connection', () => {
  const command = Uint8Array.of(0, 0x10, 0, 0)

  it('ends if its link reports that the card is gone, and keeps the first reason', async () => {
    const link = new MemoryLink()
    const cause = new Error('no power')
    const connection = new LockedConnection(link)
    link.fails = new CardGoneError('reset', { cause })
    const gone = expect.objectContaining({ code: 'card/gone', why: 'reset', cause }) as unknown
    await expect(connection.transaction({}, (channel) => channel.transmit(command))).rejects.toEqual(gone)
    expect(await connection.gone).toEqual(gone)
    expect(connection.lost('removed')).toEqual(gone)
    expect(connection.ended).toEqual(gone)
  })

  it('ends if a reset fails, with the error as the cause', async () => {
    const link = new MemoryLink()
    const connection = new LockedConnection(link)
    link.fails = new Error('mute')
    await expect(connection.transaction({}, (channel) => channel.reset('cold'))).rejects.toThrow('mute')
    expect(await connection.gone).toMatchObject({ why: 'reset', cause: link.fails })
  })

  it('releases its link once and reports when the slot is idle', async () => {
    const link = new MemoryLink()
    let open = (): void => {}
    link.gate = new Promise((resolve) => (open = resolve))
    const ends: Promise<void>[] = []
    const connection = new LockedConnection(link, { onEnd: (idle) => void ends.push(idle) })
    let isIdle = false
    const closing = connection.close()
    void ends[0]?.then(() => (isIdle = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect([link.releases, ends.length, isIdle]).toEqual([1, 1, false])
    open()
    await closing
    await ends[0]
    await connection.close()
    expect([link.releases, ends.length, isIdle]).toEqual([1, 1, true])
  })

  it('has a PIN pad only if its link has one, and uses it after pending commands', async () => {
    const link = new MemoryLink()
    const connection = new LockedConnection(link)
    await connection.transaction({}, async (channel) => expect(channel.pinPad).toBeUndefined())
    const calls: string[] = []
    const pad = (method: string) => async () => {
      calls.push(`${method} after ${link.reached}`)
      return Uint8Array.of(0x90, 0)
    }
    Object.assign(link, { pinPad: { verify: pad('verify'), modify: pad('modify') } })
    const template = {
      command,
      pinOffset: 0,
      blockBytes: 8,
      format: 'ascii',
      minDigits: 4,
      maxDigits: 8,
    } as const
    await connection.transaction({}, (channel) =>
      Promise.all([channel.transmit(command), channel.pinPad?.verify(template)]),
    )
    expect(calls).toEqual(['verify after 1'])
  })
})
