/**
 * The scenarios of ISO/IEC 7816-3:2006, Annex A, as the blocks on the line. Every byte is written by the rules of
 * 11.6, not by the driver's encoder. The numbers are those of the annex; scenarios without one are additional
 * variants. The order of the blocks was compared with the tests of libt1prime (Infineon), which use the same numbers.
 *
 * '>' the reader sends, '<' the card sends, 'x' damaged in transit (a damaged block of the card has a wrong LRC).
 */
import { AbortedError, CardGarbledError, CardSilentError } from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'
import type { BlockResponse, T1Transport } from '../src/tpdu/t1-transport.ts'
import { plainT1 } from './plain-t1.ts'

interface Scenario {
  readonly title: string
  /** Default 32. */
  readonly ifscBytes?: number
  /** The caller's commands and their results. 'IFSD xx' announces the reader's IFSD. */
  readonly exchanges: readonly (readonly [string, string | number])[]
  readonly line: readonly string[]
}

const scenarios: readonly Scenario[] = [
  {
    title: '1: I-blocks in both directions',
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
    title: '2: the card requests waiting time',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c3 01 10 d2 | S(WTX request)',
      '>  00 e3 01 10 f2 | S(WTX response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '3: the card announces its IFSC',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c1 01 79 b9 | S(IFS request)',
      '>  00 e1 01 79 99 | S(IFS response)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: '4: the reader announces its IFSD between two exchanges',
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
    title: '5: a chained command',
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
    title: '6: a chained response',
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
    title: '7: a chained response that ends with an empty block',
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
    title: '5 and 6 together: chains in both directions with consecutive numbers',
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
    title: '8: the reader’s I-block is damaged',
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
    title: '10: the reader’s I-block is damaged, and the R-block that reports it',
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
    title: '11: the card’s I-block is damaged, and the reader’s R-block',
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
    title: '12: the card’s I-block, the reader’s R-block and the card’s R-block are damaged',
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
    title: '13: as 12, and the reader’s second R-block is damaged',
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
    title: '15: S(WTX request) is damaged, and the reader’s R-block',
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
    title: 'S(WTX response) is damaged, and the card repeats its request',
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
    title: '17: S(IFS request) of the card is damaged, and the reader’s R-block',
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
    title: '18: the reader’s S(IFS response) is damaged',
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
    title: '20: as 19, and the reader’s R-block is damaged',
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
    title: '21: an R-block in the reader’s chain is damaged',
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
    title: '22: as 21, and the reader’s R-block is damaged',
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
    title: 'an I-block in the reader’s chain is damaged',
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
    title: '23: the reader’s R-block in the card’s chain is damaged',
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
    title: '24: as 23, and the card’s R-block that reports it is damaged',
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
    title: 'an I-block in the card’s chain is damaged',
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
    title: '27: the card aborts the reader’s chain',
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
    title: '27 with a card that does not count the aborted block: both sides resynchronise',
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
    title: 'S(ABORT request) of the card is damaged, then the reader’s response',
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
    title: 'the R-block after S(ABORT response) is damaged',
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
    title: '29: after three failed attempts both sides resynchronise, and the command is not sent again',
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
    title: '32: S(RESYNCH request) is damaged, and the R-block that reports it',
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
    title: 'after three S(RESYNCH request) without a response only a reset helps',
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
    title: 'the sequence numbers start again after a resynchronisation',
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
    title: 'the IFSD is announced again after a resynchronisation, which resets it to 32',
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
    title: 'S(IFS response) of the card is damaged, then lost, then of another size: three requests are sent',
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
    title: 'the reader’s S(IFS request) is damaged',
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
    title: 'the reader’s I-block is lost',
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
    title: 'the card’s R-block in the reader’s chain is lost',
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
    title: 'a repeated I-block is not taken twice',
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
    title: 'a response before the end of the command is rejected with an R-block',
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
    title: 'an unsolicited response is rejected with an R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 e3 01 01 e3 | S(WTX response)',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(RESYNCH request) of the card is rejected with an R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  00 c0 00 c0 | S(RESYNCH request)',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'S(IFS request) of 0 or 255 is refused',
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
    title: 'S(IFS request) in the reader’s chain applies to the next block',
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
    title: 'a block for another node is rejected with an R-block',
    exchanges: [['0102', 'f1f2']],
    line: [
      '>  00 00 02 01 02 01 | I(0,0)',
      '<  21 00 02 f1 f2 20 | I(0,0) of another logical connection',
      '>  00 82 00 82 | R(0)',
      '<  00 00 02 f1 f2 01 | I(0,0)',
    ],
  },
  {
    title: 'a block with the reserved LEN 255 is rejected with an R-block',
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
  /** bBWI of each block that was sent. */
  readonly waited: number[]
  /** The steps that were not reached. */
  readonly rest: string[]
}

/** A scripted card that fails if the driver sends anything else. */
function lineOf(steps: readonly string[], ifscBytes = 32): Line {
  const rest = [...steps]
  const waited: number[] = []
  const transport = plainT1(
    async (block, waitingTimes): Promise<BlockResponse> => {
      const expected = rest.shift() ?? '>  nothing'
      expect(`> ${toHex(block)}`).toBe(`> ${bytesOf(expected)}`)
      waited.push(waitingTimes)
      const response = bytesOf(rest.shift() ?? '')
      return response === 'nothing' ? 'silent' : fromHex(response)
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

describe('ISO/IEC 7816-3, Annex A, scenario', () => {
  it.each(scenarios)('$title', async ({ ifscBytes, exchanges, line }) => {
    const made = lineOf(line, ifscBytes)
    for (const [sent, expected] of exchanges) await run(made, sent, expected)
    expect(made.rest).toEqual([])
  })

  it('25: the reader aborts its chain because the caller aborted, and the card executes nothing', async () => {
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

  it('a caller that aborts during a command of one block changes nothing on the line', async () => {
    const made = lineOf(['>  00 00 02 01 02 01 | I(0,0)', '<  00 00 02 f1 f2 01 | I(0,0)'], 2)
    const caller = new AbortController()
    const work = made.transport.transmit(fromHex('0102'), { signal: caller.signal })
    caller.abort()
    expect(toHex(await work)).toBe('f1f2')
  })

  it('28: the reader aborts a chain longer than any response, and the next exchange works', async () => {
    const block = (pcb: number): Uint8Array => {
      const bytes = Uint8Array.of(0, pcb, 254, ...new Uint8Array(254).fill(0xaa), pcb ^ 254)
      return bytes
    }
    const sentBlocks: string[] = []
    let blocks = 0
    const transport = plainT1(async (sent): Promise<BlockResponse> => {
      sentBlocks.push(toHex(sent))
      if (sent[1] === 0xc2) return fromHex('00e200e2')
      if (sent[1] === 0x40) return fromHex('00 40 02 f3 f4 45')
      return block(blocks++ % 2 === 0 ? 0x20 : 0x60)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'aborted' })
    // 259 blocks of 254 bytes exceed the longest response of 65538 bytes. The first 258 are acknowledged in turn.
    expect(blocks).toBe(259)
    expect(sentBlocks.slice(0, 3)).toEqual(['000002010201', '00900090', '00800080'])
    expect(sentBlocks.at(-1)).toBe('00c200c2')
    // The 259th block had N(S) 0, so the card's next one has 1.
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(sentBlocks.at(-1)).toBe('004002030445')
  })
})

describe('a response in very many T=1 blocks', () => {
  const bytesOfBlock = (sequence: number, more: boolean, data: readonly number[]): Uint8Array => {
    const head = [0, (sequence << 6) | (more ? 0x20 : 0), data.length]
    return Uint8Array.of(
      ...head,
      ...data,
      [...head, ...data].reduce((sum, byte) => sum ^ byte, 0),
    )
  }
  /** A card that responds with these blocks, one for each block that it receives, and then with 9000. */
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

  it('of one byte each, up to the longest response, is assembled in reasonable time', async () => {
    const count = 65_538
    const { transport } = answering(count, (at) => [at & 0xff])
    const response = await transport.transmit(fromHex('0102'))
    // Takes seconds. If each block copied all previous ones, it would take most of a minute and exceed the test's
    // time-out.
    expect(response).toEqual(Uint8Array.from({ length: count }, (_, at) => (at + 1) & 0xff))
  })

  it('that only its last block makes too long is refused, and the next exchange works', async () => {
    const full = Array.from({ length: 254 }, () => 0xaa)
    const { transport, isBroken } = answering(259, () => full)
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({
      code: 'card/garbled',
      why: 'aborted',
    })
    expect(isBroken()).toBe(false)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('9000')
  })

  it('is aborted if empty blocks make it too long', async () => {
    const { transport, blocks, isBroken } = answering(200_000, (at) => (at % 4 === 0 ? [0xaa] : []))
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({
      code: 'card/garbled',
      why: 'aborted',
    })
    expect([blocks(), isBroken()]).toEqual([65_539, true])
  })
})

describe('T=1 rules beyond the annex', () => {
  it('a time extension applies only to the next block (rule 3)', async () => {
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
    ['announces another IFSC', '00c1012ce3', '00c1012d' + 'ed'],
    ['requests the reader’s block again', '00810081', '00810081'],
    ['acknowledges the reader’s block again', '00900090', '00910091'],
  ])('a card that %s forever is resynchronised after a limited time', async (_, even, odd) => {
    let sent = 0
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      if (block[1] === 0xc0) return fromHex('00e000e0')
      return fromHex(sent++ % 2 === 0 ? even : odd)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'resynchronised' })
    expect(sent).toBeLessThan(30)
  })

  it('a card that sends empty blocks forever is resynchronised', async () => {
    let sent = 0
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      if (block[1] === 0xc0) return fromHex('00e000e0')
      return fromHex(sent++ % 2 === 0 ? '00200020' : '00600060')
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toMatchObject({ why: 'resynchronised' })
    expect(sent).toBeLessThan(30)
  })

  it('an interrupted exchange is followed by a resynchronisation, and nothing is repeated', async () => {
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
      const response = bytesOf(steps[2 * seen.length - 1] as string)
      if (response === 'broken') throw new TypeError('an unexpected error of the reader')
      return fromHex(response)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toBeInstanceOf(TypeError)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(seen).toEqual(steps.filter((step) => step.startsWith('>')).map(bytesOf))
  })

  it('a caller that aborts during the resynchronisation sends no command, and the next one works', async () => {
    const responses = ['broken', '00e000e0', '000002f3f405']
    const seen: string[] = []
    const caller = new AbortController()
    const transport = plainT1(async (block): Promise<BlockResponse> => {
      seen.push(toHex(block))
      const response = responses.shift()
      if (response === 'broken' || response === undefined)
        throw new TypeError('an unexpected error of the reader')
      if (block[1] === 0xc0) caller.abort()
      return fromHex(response)
    })
    await expect(transport.transmit(fromHex('0102'))).rejects.toBeInstanceOf(TypeError)
    const left = transport.transmit(fromHex('0506'), { signal: caller.signal })
    await expect(left).rejects.toBeInstanceOf(AbortedError)
    expect(toHex(await transport.transmit(fromHex('0304')))).toBe('f3f4')
    expect(seen).toEqual(['000002010201', '00c000c0', '000002030405'])
  })
})
