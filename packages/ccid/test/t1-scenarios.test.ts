/**
 * The scenarios of ISO/IEC 7816-3:2006, Annex A, as the blocks on the line: every byte is written out by the rules of 11.6,
 * none comes from our encoder. Numbers are the annex's; what has none is a variant of ours. The order of the blocks was
 * held against libt1prime's tests (Infineon), which number them the same way.
 *
 * '>' we send, '<' the card does, 'x' damaged on the way (what the card sends then has a wrong LRC).
 */
import { AbortedError, CardGarbledError, CardSilentError } from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'
import type { BlockResponse, T1Transport } from '../src/tpdu/t1-transport.ts'
import { plainT1 } from './plain-t1.ts'

interface Scenario {
  readonly title: string
  /** Default 32. */
  readonly ifscBytes?: number
  /** What the caller sends, and what it gets; 'IFSD xx' tells the card how much we take. */
  readonly exchanges: readonly (readonly [string, string | number])[]
  readonly line: readonly string[]
}

const scenarios: readonly Scenario[] = [
  {
    title: '1: I-blocks both ways',
    exchanges: [
      ['0102', 'f1f2'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '2: the card asks for waiting time',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>  00 e3 01 10 f2 | S(WTX response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '3: the card tells its IFSC',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '4: we tell our IFSD between two exchanges',
    exchanges: [
      ['0102', 'f1f2'],
      ['IFSD 79', 121],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
      '>  00 c1 01 79 b9 | S(IFS request)',
      '<  00 e1 01 79 99 | S(IFS response)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '5: a command in a chain',
    ifscBytes: 2,
    exchanges: [['010203040506', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 90 00 90 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 80 00 80 | R(0)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '6: an answer in a chain',
    exchanges: [
      ['0102', 'f1f2f3f4'],
      ['0304', 'f5f6'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 00 02 f5 f6 01 | I(0,0)',
    ],
  },
  {
    title: '7: an answer in a chain that ends with an empty block',
    exchanges: [
      ['0102', 'f1f2'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 40 00 40 | I(1,0)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: '5 and 6 together: chains both ways, and numbers that go on',
    ifscBytes: 2,
    exchanges: [
      ['01020304', 'f1f2f3f4'],
      ['0506', 'f5f6'],
    ],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f5 f6 01 | I(0,0)',
    ],
  },
  {
    title: '8: our I-block is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>x 00 00 02 01 02 01 | I(0,0)',
      '<  00 81 00 81 | R(0)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '9: the card’s I-block is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '10: our I-block is damaged, and the R-block that says so',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>x 00 00 02 01 02 01 | I(0,0)',
      '<x 00 81 00 7e | R(0)',
      '>  00 81 00 81 | R(0)',
      '<  00 81 00 81 | R(0)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '11: the card’s I-block is damaged, and our R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>x 00 81 00 81 | R(0)',
      '<  00 91 00 91 | R(1)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '12: the card’s I-block is damaged, our R-block, and the card’s',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>x 00 81 00 81 | R(0)',
      '<x 00 91 00 6e | R(1)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '13: the same, and our second R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>x 00 81 00 81 | R(0)',
      '<x 00 91 00 6e | R(1)',
      '>x 00 81 00 81 | R(0)',
      '<  00 91 00 91 | R(1)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '14: S(WTX request) is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 c3 01 10 2d | S(WTX request)',
      '>  00 81 00 81 | R(0)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>  00 e3 01 10 f2 | S(WTX response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '15: S(WTX request) is damaged, and our R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 c3 01 10 2d | S(WTX request)',
      '>x 00 81 00 81 | R(0)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>  00 e3 01 10 f2 | S(WTX response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(WTX response) is damaged: the card asks again',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>x 00 e3 01 10 f2 | S(WTX response)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>  00 e3 01 10 f2 | S(WTX response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '16: S(IFS request) of the card is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 c1 01 79 46 | S(IFS request)',
      '>  00 81 00 81 | R(0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '17: S(IFS request) of the card is damaged, and our R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<x 00 c1 01 79 46 | S(IFS request)',
      '>x 00 81 00 81 | R(0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '18: S(IFS response) of ours is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>x 00 e1 01 79 99 | S(IFS response)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '19: the I-block after S(IFS response) is damaged',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '20: the same, and our R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>x 00 81 00 81 | R(0)',
      '<  00 91 00 91 | R(1)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '21: the R-block within our chain is damaged',
    ifscBytes: 2,
    exchanges: [['010203040506', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<x 00 90 00 6f | R(1)',
      '>  00 81 00 81 | R(0)',
      '<  00 90 00 90 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 80 00 80 | R(0)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '22: the same, and our R-block',
    ifscBytes: 2,
    exchanges: [['010203040506', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<x 00 90 00 6f | R(1)',
      '>x 00 81 00 81 | R(0)',
      '<  00 91 00 91 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 80 00 80 | R(0)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'an I-block within our chain is damaged',
    ifscBytes: 2,
    exchanges: [['010203040506', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 90 00 90 | R(1)',
      '>x 00 60 02 03 04 65 | I(1,1)',
      '<  00 91 00 91 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 80 00 80 | R(0)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '23: our R-block within the card’s chain is damaged',
    exchanges: [['0102', 'f1f2f3f4']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>x 00 90 00 90 | R(1)',
      '<  00 91 00 91 | R(1)',
      '>  00 90 00 90 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '24: the same, and the R-block of the card that says so',
    exchanges: [['0102', 'f1f2f3f4']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>x 00 90 00 90 | R(1)',
      '<x 00 91 00 6e | R(1)',
      '>  00 91 00 91 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: 'an I-block within the card’s chain is damaged',
    exchanges: [['0102', 'f1f2f3f4']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<x 00 40 02 f3 f4 ba | I(1,0)',
      '>  00 91 00 91 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '26: the card aborts its own chain',
    exchanges: [
      ['0102', 'aborted'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>  00 e2 00 e2 | S(ABORT response)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '27: the card aborts our chain',
    ifscBytes: 2,
    exchanges: [
      ['010203040506', 'aborted'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 90 00 90 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>  00 e2 00 e2 | S(ABORT response)',
      '<  00 80 00 80 | R(0)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: '27, by a card that counts the block it aborted as not come: both sides begin anew',
    ifscBytes: 2,
    exchanges: [
      ['010203040506', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 90 00 90 | R(1)',
      '>  00 60 02 03 04 65 | I(1,1)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>  00 e2 00 e2 | S(ABORT response)',
      '<  00 90 00 90 | R(1)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: 'S(ABORT request) of the card is damaged, then our response',
    exchanges: [
      ['0102', 'aborted'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<x 00 c2 00 3d | S(ABORT request)',
      '>  00 91 00 91 | R(1)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>x 00 e2 00 e2 | S(ABORT response)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>  00 e2 00 e2 | S(ABORT response)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: 'the R-block behind S(ABORT response) is damaged',
    exchanges: [
      ['0102', 'aborted'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 c2 00 c2 | S(ABORT request)',
      '>  00 e2 00 e2 | S(ABORT response)',
      '<x 00 90 00 6f | R(1)',
      '>  00 91 00 91 | R(1)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: '29: three attempts bring nothing: both sides begin anew, and the command is not sent again',
    exchanges: [
      ['0102', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: '30: S(RESYNCH response) is damaged',
    exchanges: [
      ['0102', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<x 00 e0 00 1f | S(RESYNCH response)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: '31: S(RESYNCH request) is damaged',
    exchanges: [
      ['0102', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>x 00 c0 00 c0 | S(RESYNCH request)',
      '<  00 81 00 81 | R(0)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: '32: S(RESYNCH request) is damaged, and the R-block that says so',
    exchanges: [
      ['0102', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>x 00 c0 00 c0 | S(RESYNCH request)',
      '<x 00 81 00 7e | R(0)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: 'three S(RESYNCH request) bring nothing: only a reset helps',
    exchanges: [['0102', 'mute']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  nothing',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 81 00 81 | R(0)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  nothing',
    ],
  },
  {
    title: 'the numbers begin anew after a resynchronisation in the middle',
    exchanges: [
      ['0102', 'f1f2'],
      ['0304', 'resynchronised'],
      ['0506', 'f5f6'],
    ],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<x 00 40 02 f3 f4 ba | I(1,0)',
      '>  00 91 00 91 | R(1)',
      '<x 00 40 02 f3 f4 ba | I(1,0)',
      '>  00 91 00 91 | R(1)',
      '<x 00 40 02 f3 f4 ba | I(1,0)',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 05 06 01 | I(0,0)',
      '<  00 00 02 f5 f6 01 | I(0,0)',
    ],
  },
  {
    title: 'the IFSD is told again after a resynchronisation, for the card is back at 32',
    exchanges: [
      ['IFSD fe', 254],
      ['0102', 'resynchronised'],
      ['0304', 'f3f4'],
    ],
    line: [
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<  00 e1 01 fe 1e | S(IFS response)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  nothing',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<  00 e1 01 fe 1e | S(IFS response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ],
  },
  {
    title: 'S(IFS response) of the card is damaged, then lost, then another size: S(IFS request) goes thrice',
    exchanges: [
      ['IFSD fe', 32],
      ['0102', 'f1f2'],
    ],
    line: [
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<x 00 e1 01 fe e1 | S(IFS response)',
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<  nothing',
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<  00 e1 01 20 c0 | S(IFS response)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(IFS request) of ours is damaged',
    exchanges: [
      ['IFSD fe', 254],
      ['0102', 'f1f2'],
    ],
    line: [
      '>x 00 c1 01 fe 3e | S(IFS request)',
      '<  00 81 00 81 | R(0)',
      '>  00 c1 01 fe 3e | S(IFS request)',
      '<  00 e1 01 fe 1e | S(IFS response)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'our I-block is lost',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>x 00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  00 82 00 82 | R(0)',
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'the card’s I-block is lost',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'the card’s R-block within our chain is lost',
    ifscBytes: 2,
    exchanges: [['01020304', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  nothing',
      '>  00 82 00 82 | R(0)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'an I-block that came before comes again: it is not taken twice',
    exchanges: [['0102', 'f1f2f3f4']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 90 00 90 | R(1)',
      '<  00 20 02 f1 f2 21 | I(0,1)',
      '>  00 92 00 92 | R(1)',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ],
  },
  {
    title: 'an answer before the command was whole is none',
    ifscBytes: 2,
    exchanges: [['01020304', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 00 02 6f 00 6d | I(0,0)',
      '>  00 82 00 82 | R(0)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'a response that nobody asked for is none',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 e3 01 01 e3 | S(WTX response)',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(RESYNCH request) is not the card’s to send',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c0 00 c0 | S(RESYNCH request)',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(IFS request) of 0 is refused, and of 255',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 00 c0 | S(IFS request)',
      '>  00 82 00 82 | R(0)',
      '<  00 c1 01 ff 3f | S(IFS request)',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(IFS request) within our chain holds for the next block of it',
    ifscBytes: 2,
    exchanges: [['0102030405', 'f1f2']],
    line: [
      '>  00 20 02 01 02 21 | I(0,1)',
      '<  00 c1 01 03 c3 | S(IFS request)',
      '>  00 e1 01 03 e3 | S(IFS response)',
      '<  00 90 00 90 | R(1)',
      '>  00 40 03 03 04 05 41 | I(1,0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'a block for another node is no answer to us',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  21 00 02 f1 f2 20 | I(0,0) of another logical connection',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'LEN 255 is reserved',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 00 ff ff | LEN 255',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
]

const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (step: string): string => (step.slice(3).split('|')[0] as string).replaceAll(' ', '')

interface Line {
  readonly transport: T1Transport
  /** bBWI of each block that left. */
  readonly waited: number[]
  /** Steps that were not reached. */
  readonly rest: string[]
}

/** A card that says what stands in the script, and is loud where we say anything else. */
function lineOf(steps: readonly string[], ifscBytes = 32): Line {
  const rest = [...steps]
  const waited: number[] = []
  const transport = plainT1(
    async (block, waitingTimes): Promise<BlockResponse> => {
      const said = rest.shift() ?? '>  nothing'
      expect(`> ${toHex(block)}`).toBe(`> ${bytesOf(said)}`)
      waited.push(waitingTimes)
      const answer = bytesOf(rest.shift() ?? '')
      return answer === 'nothing' ? 'silent' : fromHex(answer)
    },
    { ifscBytes },
  )
  return { transport, waited, rest }
}

async function run({ transport }: Line, sent: string, expected: string | number): Promise<void> {
  if (sent.startsWith('IFSD ')) {
    expect(await transport.negotiateIfsd(Number.parseInt(sent.slice(5), 16))).toBe(expected)
    return
  }
  const outcome = await transport.transmit(fromHex(sent)).then(toHex, (error: unknown) => {
    if (error instanceof CardGarbledError) return error.why
    if (error instanceof CardSilentError) return 'mute'
    throw error
  })
  expect(outcome).toBe(expected)
}

describe('ISO/IEC 7816-3, Annex A', () => {
  it.each(scenarios)('$title', async ({ ifscBytes, exchanges, line }) => {
    const made = lineOf(line, ifscBytes)
    for (const [sent, expected] of exchanges) await run(made, sent, expected)
    expect(made.rest).toEqual([])
  })

  it('25: we abort our own chain, because the caller left: the card executes nothing of it', async () => {
    const made = lineOf(
      [
        '>  00 20 02 01 02 21 | I(0,1)',
        '<  00 90 00 90 | R(1)',
        '>  00 c2 00 c2 | S(ABORT request)',
        '<  00 e2 00 e2 | S(ABORT response)',
        '>  00 40 02 07 08 4d | I(1,0)',
        '<  00 00 02 f3 f4 05 | I(0,0)',
      ],
      2,
    )
    const caller = new AbortController()
    const work = made.transport.transmit(fromHex('010203040506'), { signal: caller.signal })
    caller.abort()
    await expect(work).rejects.toMatchObject({ code: 'work/aborted' })
    await run(made, '0708', 'f3f4')
    expect(made.rest).toEqual([])
  })

  it('a caller that leaves while a command of one block is out changes nothing on the line', async () => {
    const made = lineOf(['>  00 00 02 01 02 01 | I(0,0)', '<  00 00 02 f1 f2 01 | I(0,0)'], 2)
    const caller = new AbortController()
    const work = made.transport.transmit(fromHex('0102'), { signal: caller.signal })
    caller.abort()
    expect(toHex(await work)).toBe('f1f2')
  })

  it('28: we abort the card’s chain, because it is longer than any answer; the next exchange works', async () => {
    const block = (pcb: number): Uint8Array => {
      const bytes = Uint8Array.of(0, pcb, 254, ...new Uint8Array(254).fill(0xaa), pcb ^ 254)
      return bytes
    }
    const said: string[] = []
    let blocks = 0
    const transport = plainT1(async (sent): Promise<BlockResponse> => {
      said.push(toHex(sent))
      if (sent[1] === 0xc2) return fromHex('00e200e2')
      if (sent[1] === 0x40) return fromHex('00 40 02 f3 f4 45')
      return block(blocks++ % 2 === 0 ? 0x20 : 0x60)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'aborted' })
    // 259 blocks of 254 bytes are more than the 65538 of the longest answer; the 258 before are acknowledged in turn.
    expect(blocks).toBe(259)
    expect(said.slice(0, 3)).toEqual(['000002010201', '00900090', '00800080'])
    expect(said.at(-1)).toBe('00c200c2')
    // The 259th block had N(S) 0, so that the card's next one has 1.
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(said.at(-1)).toBe('004002030445')
  })
})

describe('an answer in very many blocks', () => {
  const bytesOfBlock = (sequence: number, more: boolean, data: readonly number[]): Uint8Array => {
    const head = [0, (sequence << 6) | (more ? 0x20 : 0), data.length]
    return Uint8Array.of(
      ...head,
      ...data,
      [...head, ...data].reduce((sum, byte) => sum ^ byte, 0),
    )
  }
  /** A card that answers with these blocks, one for each block that it gets, and once more with 9000. */
  const answering = (count: number, dataOf: (at: number) => readonly number[]) => {
    let at = 0
    let isBroken = false
    let sequence = 0
    const transport = plainT1(async (sent): Promise<BlockResponse> => {
      if (sent[1] === 0xc2) {
        isBroken = true
        return fromHex('00e200e2')
      }
      const isOver = isBroken || at >= count
      const block = isOver
        ? bytesOfBlock(sequence, false, [0x90, 0])
        : bytesOfBlock(sequence, ++at < count, dataOf(at))
      sequence ^= 1
      return block
    })
    return { transport, blocks: () => at, isBroken: () => isBroken }
  }

  it('of one byte each, as many as the longest answer has bytes, is put together, and soon', async () => {
    const count = 65_538
    const { transport } = answering(count, (at) => [at & 0xff])
    const answer = await transport.transmit(fromHex('0102'))
    // Seconds; where each block copies all before it, most of a minute, which is longer than a test may take.
    expect(answer).toEqual(Uint8Array.from({ length: count }, (_, at) => (at + 1) & 0xff))
  })

  it('that is longer than any answer by its last block alone is refused, and the next exchange works', async () => {
    const full = Array.from({ length: 254 }, () => 0xaa)
    const { transport, isBroken } = answering(259, () => full)
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({
      code: 'card/garbled',
      why: 'aborted',
    })
    expect(isBroken()).toBe(false)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('9000')
  })

  it('is broken off where blocks without data make it longer than any answer', async () => {
    const { transport, blocks, isBroken } = answering(200_000, (at) => (at % 4 === 0 ? [0xaa] : []))
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({
      code: 'card/garbled',
      why: 'aborted',
    })
    expect([blocks(), isBroken()]).toEqual([65_539, true])
  })
})

describe('rules beside the annex', () => {
  it('a time extension holds for the block that follows it and for no other (rule 3)', async () => {
    const made = lineOf([
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c3 01 05 c7 | S(WTX request) 5',
      '>  00 e3 01 05 e7 | S(WTX response) 5',
      '<x 00 00 02 f1 f2 fe | I(0,0)',
      '>  00 81 00 81 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
      '>  00 40 02 03 04 45 | I(1,0)',
      '<  00 c3 01 00 c2 | S(WTX request) 0',
      '>  00 e3 01 00 e2 | S(WTX response) 0',
      '<  00 40 02 f3 f4 45 | I(1,0)',
    ])
    await run(made, '0102', 'f1f2')
    await run(made, '0304', 'f3f4')
    expect(made.waited).toEqual([0, 5, 0, 0, 1])
  })

  it.each([
    ['asks for another IFSC', '00c1012ce3', '00c1012d' + 'ed'],
    ['says that it wants our block again', '00810081', '00810081'],
    ['says that it has our block', '00900090', '00910091'],
  ])(
    'a card that for ever %s is resynchronised, and answered so after a bounded time',
    async (_, even, odd) => {
      let sent = 0
      const transport = plainT1(async (block): Promise<BlockResponse> => {
        if (block[1] === 0xc0) return fromHex('00e000e0')
        return fromHex(sent++ % 2 === 0 ? even : odd)
      })
      await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'resynchronised' })
      expect(sent).toBeLessThan(30)
    },
  )

  it('a card that sends empty blocks for ever is resynchronised', async () => {
    let sent = 0
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      if (block[1] === 0xc0) return fromHex('00e000e0')
      return fromHex(sent++ % 2 === 0 ? '00200020' : '00600060')
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'resynchronised' })
    expect(sent).toBeLessThan(30)
  })

  it('after an exchange that broke off within, both sides begin anew before the next one; nothing is repeated', async () => {
    const steps = [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  broken',
      '>  00 c0 00 c0 | S(RESYNCH request)',
      '<  00 e0 00 e0 | S(RESYNCH response)',
      '>  00 00 02 03 04 05 | I(0,0)',
      '<  00 00 02 f3 f4 05 | I(0,0)',
    ]
    const seen: string[] = []
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      seen.push(toHex(block))
      const answer = bytesOf(steps[2 * seen.length - 1] as string)
      if (answer === 'broken') throw new TypeError('the reader says something of its own')
      return fromHex(answer)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toBeInstanceOf(TypeError)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(seen).toEqual(steps.filter((step) => step.startsWith('>')).map(bytesOf))
  })

  it('a caller who leaves while both sides begin anew: the command is not sent, and the next one is', async () => {
    const answers = ['broken', '00e000e0', '000002f3f405']
    const seen: string[] = []
    const caller = new AbortController()
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      seen.push(toHex(block))
      const answer = answers.shift()
      if (answer === 'broken' || answer === undefined)
        throw new TypeError('the reader says something of its own')
      if (block[1] === 0xc0) caller.abort()
      return fromHex(answer)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toBeInstanceOf(TypeError)
    const left = transport.transmit(fromHex('0506'), { signal: caller.signal })
    await expect(left).rejects.toBeInstanceOf(AbortedError)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(seen).toEqual(['000002010201', '00c000c0', '000002030405'])
  })
})
