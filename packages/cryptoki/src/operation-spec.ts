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
import type { PinSource } from './pin.ts'
import type { Progress } from './progress.ts'
import { type Chunks, stepsOf } from './source.ts'

/** One operation, told as data: what `Session.together` takes two of. */
export type OperationSpec =
  | { readonly type: 'digest'; readonly mechanism: DigestMechanism }
  | {
      readonly type: 'sign'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
      readonly pin?: PinSource
    }
  | {
      readonly type: 'verify'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
      readonly signature: Uint8Array
    }
  | { readonly type: 'encrypt'; readonly mechanism: CipherMechanism; readonly key: CkObject }
  | {
      readonly type: 'decrypt'
      readonly mechanism: CipherMechanism
      readonly key: CkObject
      readonly pin?: PinSource
    }

/** An operation as `Session.begin` takes it: with any mechanism, and C gives the signature with the last call. */
export type RawOperationSpec =
  | { readonly type: 'digest'; readonly mechanism: RawMechanism }
  | {
      readonly type: KeyOperationType
      readonly mechanism: RawMechanism
      readonly key: CkObject
      readonly pin?: PinSource
      readonly signature?: Uint8Array
    }

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
  const own = { ...spec, mechanism: mechanismAtCall(spec.mechanism) }
  if (own.type !== 'verify' || !('signature' in own)) return own
  if (!isByteSource(own.signature))
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'verify: the signature is not a Uint8Array' })
  return { ...own, signature: copyOf(own.signature) }
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
    for await (const step of stepsOf(chunks, progress)) await update(step)
    // One after the other, and what a decryption puts out last before what is made of it: both may need the card.
    for (const at of feederAt < 0 ? all : [feederAt, ...others]) {
      progress.check()
      const spec = specs[at] as RawOperationSpec
      const signature = 'signature' in spec ? { signature: spec.signature } : {}
      const last = await (operations[at] as ActiveOperation).final({ progress, ...signature })
      ;(outputs[at] as Output).put(last)
      if (at === feederAt && last.length > 0) for (const other of others) await feed(other, last)
    }
    return outputs.map((output) => output.result)
  } finally {
    chunks.stop()
  }
}
