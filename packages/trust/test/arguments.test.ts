/**
 * Arguments of a wrong type, as a program without TypeScript may pass them, are refused with a typed error that names
 * them.
 */
import { checkedPublicKey, SignatureVerifier } from '@webtoki/trust'
import { SignerEngine } from '@webtoki/trust/engine'
import { type PathOptions, PathMemory, verifyPath } from '@webtoki/trust/path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Issued, issue, softwareSigner } from './pki.ts'
import { outcomeOf, wrongKinds } from './wrong-kinds.ts'

let root: Issued
let leaf: Issued
beforeAll(async () => {
  root = await issue({ name: 'Root', isCa: true })
  leaf = await issue({ name: 'Ada', issuer: root })
})

const path = (changed: object) =>
  verifyPath(leaf.der, { anchors: [root.der], at: new Date(), ...changed } as PathOptions)
const verify = (at: number, value: unknown) => {
  const bytes = Uint8Array.of(1)
  const args: unknown[] = [leaf.certificate.subjectPublicKeyInfo.toSchema().toBER(), scheme, bytes, bytes]
  args[at] = value
  return new SignatureVerifier().verify(...(args as Parameters<SignatureVerifier['verify']>))
}
const scheme = { family: 'ecdsa', hash: 'SHA-256' } as const
const engine = () => new SignerEngine(softwareSigner(leaf, 'ES256'))
const signed = (algorithm: unknown, key: unknown, data: unknown) =>
  engine().sign(algorithm, key, data as ArrayBuffer)

type Row = readonly [what: string, names: RegExp, call: (value: never) => unknown, fits?: readonly string[]]
const rows: readonly Row[] = [
  ['verifyPath(leaf)', /^leaf$/, (value) => verifyPath(value, { anchors: [root.der], at: new Date() })],
  ['verifyPath(, options)', /^(options|anchors)$/, (value) => verifyPath(leaf.der, value)],
  ['verifyPath(, { anchors })', /^anchors$/, (anchors) => path({ anchors }), ['[]']],
  ['verifyPath(, { anchors: [ ] })', /^anchors\[1\]$/, (value) => path({ anchors: [root.der, value] })],
  ['verifyPath(, { intermediates })', /^intermediates$/, (intermediates) => path({ intermediates }), ['[]']],
  [
    'verifyPath(, { intermediates: [ ] })',
    /^intermediates\[0\]$/,
    (value) => path({ intermediates: [value] }),
  ],
  ['verifyPath(, { at })', /^at$/, (at) => path({ at })],
  ['verifyPath(, { policies })', /^policies$/, (policies) => path({ policies }), ['{}']],
  [
    'verifyPath(, { policies: { acceptable } })',
    /^policies.acceptable$/,
    (acceptable) => path({ policies: { acceptable } }),
    ['[]'],
  ],
  [
    'verifyPath(, { policies: { required } })',
    /^policies.required$/,
    (required) => path({ policies: { required } }),
  ],
  ['verifyPath(, { memory })', /^memory$/, (memory) => path({ memory })],
  ['new PathMemory(other)', /^other$/, (value) => new PathMemory(value)],
  ['PathMemory.read(der)', /^der$/, (value) => new PathMemory().read(value)],
  ['checkedPublicKey(publicKeyInfo)', /^publicKeyInfo$/, (value) => checkedPublicKey(value)],
  ['SignatureVerifier.verify(publicKeyInfo)', /^publicKeyInfo$/, (value) => verify(0, value)],
  ['SignatureVerifier.verify(, scheme)', /^scheme$/, (value) => verify(1, value)],
  ['SignatureVerifier.verify(, , signature)', /^signature$/, (value) => verify(2, value)],
  ['SignatureVerifier.verify(, , , data)', /^data$/, (value) => verify(3, value)],
  ['SignatureVerifier.verify(, , , , form)', /^form$/, (value) => verify(4, value)],
  ['new SignerEngine(signer)', /^signer$/, (value) => new SignerEngine(value)],
  [
    'new SignerEngine(, options)',
    /^options$/,
    (value) => new SignerEngine(softwareSigner(leaf, 'ES256'), value),
    ['{}'],
  ],
  ['SignerEngine.sign(, key)', /^key$/, (value) => signed({ hash: { name: 'SHA-256' } }, value, leaf.der)],
]

const rowsFor = (kind: string) =>
  rows.flatMap(([what, names, call, fits]) => (fits?.includes(kind) ? [] : [[what, names, call] as const]))

describe.each(wrongKinds)('%s is refused with an error that names the argument', (kind, value) => {
  it.each(rowsFor(kind))('as %s', async (_what, names, call) => {
    expect(await outcomeOf(() => call(value as never))).toMatchObject({
      isWebtokiError: true,
      code: 'trust/wrong-argument',
      argument: expect.stringMatching(names),
    })
  })

  it('as the algorithm and the data of SignerEngine.sign', async () => {
    const own = engine()
    const refused = { isWebtokiError: true, code: 'trust/wrong-argument' }
    expect(await outcomeOf(() => own.sign(value, own.privateKey, leaf.der))).toMatchObject(refused)
    const data = value as ArrayBuffer
    const algorithm = { hash: { name: 'SHA-256' } }
    expect(await outcomeOf(() => own.sign(algorithm, own.privateKey, data))).toMatchObject(refused)
  })
})

it('verifyPath accepts all options when each has its right type', async () => {
  const policies = { acceptable: ['1.2.3'], required: false, inhibitMapping: true, inhibitAny: false }
  const found = await path({ intermediates: [], policies, memory: new PathMemory(new PathMemory()) })
  expect(found.path).toHaveLength(2)
})
