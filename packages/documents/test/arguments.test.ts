/**
 * Arguments of a wrong type, as a program without TypeScript may pass them, are refused with a typed error that names
 * them.
 */
import {
  digestDocument,
  documentAtCall,
  notChecked,
  signDetached,
  signOptionsAtCall,
  trustedBy,
  verifyDetached,
} from '@webtoki/documents'
import type { Signer } from '@webtoki/trust'
import { beforeAll, describe, expect, it } from 'vitest'
import { issue, softwareSigner } from '../../trust/test/pki.ts'
import { outcomeOf, wrongKinds } from '../../trust/test/wrong-kinds.ts'

const letter = new TextEncoder().encode('Dear reader,\n')
let signer: Signer
let file: Uint8Array
beforeAll(async () => {
  signer = softwareSigner(await issue({ name: 'Ada Lovelace' }), 'ES256')
  file = await signDetached(signer, letter)
})

const sign = (changed: object) => signDetached(signer, letter, changed)
const verify = (changed: object) => verifyDetached(file, letter, { trust: notChecked, ...changed })

type Row = readonly [what: string, names: RegExp, call: (value: never) => unknown, fits?: readonly string[]]
const rows: readonly Row[] = [
  ['signDetached(signer)', /`signer`/, (value) => signDetached(value, letter)],
  ['signDetached({ chain })', /`signer`/, (chain) => signDetached({ ...signer, chain }, letter), ['[]']],
  [
    'signDetached({ chain: [ ] })',
    /`signer`/,
    (value) => signDetached({ ...signer, chain: [value] }, letter),
  ],
  ['signDetached(, data)', /A document is/, (value) => signDetached(signer, value)],
  ['signDetached(, , options)', /`options`/, (value) => signDetached(signer, letter, value), ['[]', '{}']],
  ['signDetached(, , { signingTime })', /`signingTime`/, (signingTime) => sign({ signingTime })],
  ['signDetached(, , { chain })', /`chain`/, (chain) => sign({ chain }), ['[]']],
  ['signDetached(, , { digest })', /`digest`/, (digest) => sign({ digest })],
  ['signDetached(, , { onProgress })', /`onProgress`/, (onProgress) => sign({ onProgress })],
  ['signDetached(, , { signal })', /`signal`/, (signal) => sign({ signal })],
  ['signOptionsAtCall(options)', /`options`/, (value) => signOptionsAtCall(value), ['[]', '{}']],
  [
    'verifyDetached(signature)',
    /`signature`/,
    (value) => verifyDetached(value, letter, { trust: notChecked }),
    ['a text'],
  ],
  ['verifyDetached(, data)', /A document is/, (value) => verifyDetached(file, value, { trust: notChecked })],
  ['verifyDetached(, , options)', /`(options|trust)`/, (value) => verifyDetached(file, letter, value)],
  ['verifyDetached(, , { trust })', /`trust`/, (trust) => verify({ trust })],
  [
    'verifyDetached(, , { certificates })',
    /`certificates`/,
    (certificates) => verify({ certificates }),
    ['[]'],
  ],
  ['verifyDetached(, , { at })', /`at`/, (at) => verify({ at })],
  ['verifyDetached(, , { digest })', /`digest`/, (digest) => verify({ digest })],
  ['verifyDetached(, , { onProgress })', /`onProgress`/, (onProgress) => verify({ onProgress })],
  ['verifyDetached(, , { signal })', /`signal`/, (signal) => verify({ signal })],
  ['digestDocument(names)', /`names`/, (value) => digestDocument(value, letter), ['[]']],
  ['digestDocument([ ])', /`names`/, (value) => digestDocument([value], letter)],
  ['digestDocument(, data)', /A document is/, (value) => digestDocument(['SHA-256'], value)],
  [
    'digestDocument(, , options)',
    /`options`/,
    (value) => digestDocument(['SHA-256'], letter, value),
    ['[]', '{}'],
  ],
  ['digestDocument(, , { signal })', /`signal`/, (signal) => digestDocument(['SHA-256'], letter, { signal })],
  [
    'digestDocument(, , { onProgress })',
    /`onProgress`/,
    (onProgress) => digestDocument(['SHA-256'], letter, { onProgress }),
  ],
  ['trustedBy(anchors)', /`anchors`/, (value) => trustedBy(value), ['[]']],
  ['trustedBy([ ])', /`anchors`/, (value) => trustedBy([value])],
  ['documentAtCall(data)', /A document is/, (value) => documentAtCall(value)],
]

const rowsFor = (kind: string) =>
  rows.flatMap(([what, names, call, fits]) => (fits?.includes(kind) ? [] : [[what, names, call] as const]))

describe.each(wrongKinds)('%s is refused with an error that names the argument', (kind, value) => {
  it.each(rowsFor(kind))('as %s', async (_what, names, call) => {
    expect(await outcomeOf(() => call(value as never))).toMatchObject({
      isWebtokiError: true,
      code: 'documents/wrong-argument',
      message: expect.stringMatching(names),
    })
  })
})
