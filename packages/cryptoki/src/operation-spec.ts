/** Operations told as data, and what carries a source through them (PKCS#11 v2.40, 5.12 for two at once). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import type { ActiveOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { isKeyOperation } from './key-rules.ts'
import type { KeyOperationType } from './key-use.ts'
import {
  type CipherMechanism,
  type DigestMechanism,
  mechanismAtCall,
  type RawMechanism,
  type SignatureMechanism,
} from './mechanisms.ts'
import type { CkObject } from './object.ts'
import { Output } from './output.ts'
import type { PinOptions } from './pin.ts'
import type { Progress } from './progress.ts'
import { type Chunks, stepsOf } from './source.ts'

/** One operation, told as data: what `Session.together` takes two of. */
export type OperationSpec =
  | ({ readonly type: 'digest'; readonly mechanism: DigestMechanism } & Headed)
  | ({
      readonly type: 'sign'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
    } & Headed &
      PinOptions)
  | ({
      readonly type: 'verify'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
      readonly signature: SignatureSource
    } & Headed)
  | { readonly type: 'encrypt'; readonly mechanism: CipherMechanism; readonly key: CkObject }
  | ({
      readonly type: 'decrypt'
      readonly mechanism: CipherMechanism
      readonly key: CkObject
    } & PinOptions)

/** The signature that is verified, or a promise of it, as for one that follows the data: it is awaited when they are complete. */
export type SignatureSource = Uint8Array | PromiseLike<Uint8Array>

/** Of the half of a pair that sees more than the other. */
interface Headed {
  /** Digested, signed or verified before the source, such as the header of a file whose rest is encrypted. */
  readonly header?: Uint8Array | undefined
}

/** An operation as `Session.begin` takes it: with any mechanism, and C gives the signature with the last call. */
export type RawOperationSpec =
  | ({ readonly type: 'digest'; readonly mechanism: RawMechanism } & Headed)
  | ({
      readonly type: KeyOperationType
      readonly mechanism: RawMechanism
      readonly key: CkObject
      readonly signature?: SignatureSource
    } & Headed &
      PinOptions)

/** What may run beside an operation over the same source, in `Session.together`. */
export type PartnerOf<S extends OperationSpec> = Extract<
  OperationSpec,
  { readonly type: Partners[S['type']] }
>

/** `operationPairs`, as types. */
interface Partners {
  readonly digest: 'encrypt' | 'decrypt'
  readonly encrypt: 'digest' | 'sign'
  readonly decrypt: 'digest' | 'verify'
  readonly sign: 'encrypt'
  readonly verify: 'decrypt'
}

/** What an operation ends in: digest, signature, the output of a cipher; true if the signature fits. */
export type ResultOf<S extends { readonly type: string }> = S extends { readonly type: 'verify' }
  ? true
  : Uint8Array

/** A copy of what an operation is asked for. Throws CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID. */
export function specAtCall(spec: RawOperationSpec): RawOperationSpec {
  if (typeof spec !== 'object' || spec === null || !(spec.type === 'digest' || isKeyOperation(spec.type)))
    throw new CryptokiError(CKR.ARGUMENTS_BAD, {
      detail: "an operation must be an object such as { type: 'digest', mechanism }",
    })
  const { header } = spec
  if (header !== undefined && !isByteSource(header)) throw badMember(spec.type, 'header')
  const own = { ...spec, mechanism: mechanismAtCall(spec.mechanism), header: header && copyOf(header) }
  if (own.type !== 'verify' || !('signature' in own)) return own
  return { ...own, signature: signatureAtCall(own.signature) }
}

/** Bytes are copied now, promised ones when they are there. */
function signatureAtCall(signature: unknown): SignatureSource {
  if (isByteSource(signature)) return copyOf(signature)
  if (typeof (signature as PromiseLike<unknown> | null | undefined)?.then !== 'function')
    throw badMember('verify', 'signature')
  const promised = Promise.resolve(signature as PromiseLike<unknown>).then((bytes) => {
    if (!isByteSource(bytes)) throw badMember('verify', 'signature')
    return copyOf(bytes)
  })
  // An operation that ends before its data are complete never asks for it.
  promised.catch(() => {})
  return promised
}

function badMember(type: string, name: string): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${type}: the ${name} is not a Uint8Array` })
}

/** Pulls the source through the operations. In a pair, a decryption feeds its other half; else both see the source. */
export async function run(
  specs: readonly RawOperationSpec[],
  operations: readonly ActiveOperation[],
  open: () => Chunks,
  progress: Progress,
): Promise<readonly unknown[]> {
  // Before anything is waited for: a source that pushes would push into nothing.
  const chunks = open()
  try {
    const outputs = specs.map(({ type }) => new Output(type, progress))
    const feederAt = specs.length > 1 ? specs.findIndex(({ type }) => type === 'decrypt') : -1
    const all = operations.map((_, at) => at)
    const others = all.filter((at) => at !== feederAt)
    const feed = async (at: number, chunk: Uint8Array): Promise<Uint8Array> =>
      (outputs[at] as Output).put(await (operations[at] as ActiveOperation).update(chunk, { progress }))
    const update = async (step: Uint8Array): Promise<void> => {
      const fed = feederAt < 0 ? step : await feed(feederAt, step)
      for (const at of others) await feed(at, fed)
    }
    for (const at of all) {
      const { header } = specs[at] as RawOperationSpec
      if (header !== undefined) await feed(at, header)
    }
    // The digest or signature of a pair is made in this thread: it takes small steps.
    const [only] = operations
    const stepBytes = operations.length === 1 ? only?.stepBytes : undefined
    for await (const step of stepsOf(chunks, progress, stepBytes)) await update(step)
    // One after the other, and what a decryption puts out last before what is made of it: both may need the card.
    for (const at of feederAt < 0 ? all : [feederAt, ...others]) {
      progress.check()
      const spec = specs[at] as RawOperationSpec
      const signature = 'signature' in spec ? await spec.signature : undefined
      progress.check()
      const last = await (operations[at] as ActiveOperation).final({ progress, signature })
      ;(outputs[at] as Output).put(last)
      if (at === feederAt && last.length > 0) for (const other of others) await feed(other, last)
    }
    return outputs.map((output) => output.result)
  } finally {
    chunks.stop()
  }
}
