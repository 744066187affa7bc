/** Rules of T=1 as steps of the pure function (ISO/IEC 7816-3:2006, 11.6.3). */
import { describe, expect, it } from 'vitest'
import type { T1Block } from '../src/tpdu/t1-block.ts'
import { beginExchange, beginIfs, beginResynch, initialT1, stepT1 } from '../src/tpdu/t1-machine.ts'

const supervisory = (about: 'ifs' | 'resynch' | 'wtx', isResponse: boolean, value?: number): T1Block => ({
  kind: 'S',
  about,
  isResponse,
  value,
})

describe('the reader’s S(IFS request)', () => {
  it('is not answered by a response of another size, and after three attempts the default applies', () => {
    let step = beginIfs(initialT1(32, 254), 254)
    for (let attempt = 0; attempt < 2; attempt++) {
      step = stepT1(step.state, supervisory('ifs', true, 100))
      expect(step.action).toEqual({ do: 'send', block: supervisory('ifs', false, 254) })
    }
    step = stepT1(step.state, supervisory('ifs', true, 100))
    expect(step.action).toEqual({ do: 'settled', ifsdBytes: undefined })
  })
})

describe('a T=1 resynchronisation', () => {
  it('restores the IFSC of the ATR', () => {
    const begun = beginExchange(initialT1(32, 254), new Uint8Array(100))
    const larger = stepT1(begun.state, supervisory('ifs', false, 254))
    expect(larger.state.ifscBytes).toBe(254)
    const { state, action } = stepT1(beginResynch(larger.state).state, supervisory('resynch', true))
    expect(action).toEqual({ do: 'give-up', why: 'resynchronised' })
    expect(state.ifscBytes).toBe(32)
  })

  it('ends only with a response: a card that echoes the request gets it again', () => {
    const { action } = stepT1(beginResynch(initialT1(32, 254)).state, supervisory('resynch', false))
    expect(action).toEqual({ do: 'send', block: supervisory('resynch', false) })
  })
})

it('no T=1 block is larger than the reader’s capacity, whatever the card accepts', () => {
  const { action } = beginExchange(initialT1(254, 100), new Uint8Array(200))
  expect(action).toMatchObject({ do: 'send', block: { more: true, data: new Uint8Array(100) } })
})

it('T=1 failures before a time extension are not added to those after it', () => {
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
