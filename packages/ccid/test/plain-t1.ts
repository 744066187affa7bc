/** A T=1 transport over a line that a test provides: LRC, blocks of 32 bytes and a BWT of one second by default. */
import { type T1Line, T1Transport } from '../src/tpdu/t1-transport.ts'

export function plainT1(exchange: T1Line['exchange'], line: Partial<T1Line> = {}): T1Transport {
  return new T1Transport({ nad: 0, detection: 'LRC', ifscBytes: 32, blockWaitingMs: 1000, ...line, exchange })
}
