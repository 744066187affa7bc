/** Rules of T=1 that no wrong turn of the machine may pass, as steps of the pure function (ISO/IEC 7816-3:2006, 11.6.3). */
import { describe, expect, it } from 'vitest'
import type { T1Block } from '../src/tpdu/t1-block.ts'
import { beginExchange, beginIfs, beginResynch, initialT1, stepT1 } from '../src/tpdu/t1-machine.ts'

const supervisory = (about: 'ifs' | 'resynch' | 'wtx', isResponse: boolean, value?: number): T1Block => ({
  kind: 'S',
  about,
  isResponse,
  value,
})

describe('S(IFS request) of ours', () => {
  it('is not settled by a response of another size, and after three the default holds', () => {
    let step = beginIfs(initialT1(32, 254), 254)
    for (let attempt = 0; attempt < 2; attempt++) {
      step = stepT1(step.state, supervisory('ifs', true, 100))
      expect(step.action).toEqual({ do: 'send', block: supervisory('ifs', false, 254) })
    }
    step = stepT1(step.state, supervisory('ifs', true, 100))
    expect(step.action).toEqual({ do: 'settled', ifsdBytes: undefined })
  })
})

describe('a resynchronisation', () => {
  it('puts the card’s block size back to what its ATR says', () => {
    const begun = beginExchange(initialT1(32, 254), new Uint8Array(100))
    const larger = stepT1(begun.state, supervisory('ifs', false, 254))
    expect(larger.state.ifscBytes).toBe(254)
    const { state, action } = stepT1(beginResynch(larger.state).state, supervisory('resynch', true))
    expect(action).toEqual({ do: 'give-up', why: 'resynchronised' })
    expect(state.ifscBytes).toBe(32)
  })

  it('is answered by a response alone: a card that sends the request back is asked again', () => {
    const { action } = stepT1(beginResynch(initialT1(32, 254)).state, supervisory('resynch', false))
    expect(action).toEqual({ do: 'send', block: supervisory('resynch', false) })
  })
})

it('no block is larger than the reader has room for, whatever the card takes', () => {
  const { action } = beginExchange(initialT1(254, 100), new Uint8Array(200))
  expect(action).toMatchObject({ do: 'send', block: { more: true, data: new Uint8Array(100) } })
})

it('failures before a time extension are not counted with those after it', () => {
  let step = beginExchange(initialT1(32, 254), new Uint8Array(4))
  const fail = (): void => {
    step = stepT1(step.state, 'silent')
    expect(step.action).toMatchObject({ do: 'send', block: { kind: 'R' } })
  }
  fail()
  fail()
  step = stepT1(step.state, supervisory('wtx', false, 2))
  expect(step.action).toMatchObject({ do: 'send', waitingTimes: 2 })
  fail()
  fail()
})
