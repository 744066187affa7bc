import { createHash } from 'node:crypto'
import { schemeOf, signatureAlgorithms } from '@webtoki/crypto'
import { expect, it } from 'vitest'
import { statementOf } from '../src/statement.ts'

it.each(signatureAlgorithms)(
  'the statement for %s is hashed with the hash of the algorithm',
  async (algorithm) => {
    const digest = (text: string): Buffer =>
      createHash(schemeOf(algorithm).hash.replace('-', '')).update(text).digest()
    const expected = Buffer.concat([digest('https://example.org'), digest('nonce')])
    expect(Buffer.from(await statementOf(algorithm, 'https://example.org', 'nonce'))).toEqual(expected)
  },
)
