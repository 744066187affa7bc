/** Operations described as data, and the loop that runs a source through one or two of them (PKCS#11 v2.40, 5.12). */
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

/** The description of one operation. `Session.together` accepts two of them. */
export type OperationSpec =
  | ({ readonly type: 'digest'; readonly mechanism: DigestMechanism } & WithHeader)
  | ({
      readonly type: 'sign'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
    } & WithHeader &
      PinOptions)
  | ({
      readonly type: 'verify'
      readonly mechanism: SignatureMechanism
      readonly key: CkObject
      readonly signature: SignatureSource
    } & WithHeader)
  | { readonly type: 'encrypt'; readonly mechanism: CipherMechanism; readonly key: CkObject }
  | ({
      readonly type: 'decrypt'
      readonly mechanism: CipherMechanism
      readonly key: CkObject
    } & PinOptions)

/** The signature to verify, or a promise of it for a signature that follows the data. It is awaited after the data is complete. */
export type SignatureSource = Uint8Array | PromiseLike<Uint8Array>

/** The member of an operation that processes more data than its partner in a pair. */
interface WithHeader {
  /** Data that is digested, signed or verified before the source, such as the header of a file whose rest is encrypted. */
  readonly header?: Uint8Array | undefined
}

/** An operation as `Session.begin` accepts it: with any mechanism, and without `signature`, which the last call passes. */
export type RawOperationSpec =
  | ({ readonly type: 'digest'; readonly mechanism: RawMechanism } & WithHeader)
  | ({
      readonly type: KeyOperationType
      readonly mechanism: RawMechanism
      readonly key: CkObject
      readonly signature?: SignatureSource
    } & WithHeader &
      PinOptions)

/** The operations that `Session.together` can combine with an operation. */
export type PartnerOf<S extends OperationSpec> = Extract<
  OperationSpec,
  { readonly type: Partners[S['type']] }
>

/** `operationPairs` as types. */
interface Partners {
  readonly digest: 'encrypt' | 'decrypt'
  readonly encrypt: 'digest' | 'sign'
  readonly decrypt: 'digest' | 'verify'
  readonly sign: 'encrypt'
  readonly verify: 'decrypt'
}

/** The result of an operation: a digest, a signature or the output of a cipher; true for a valid signature. */
export type ResultOf<S extends { readonly type: string }> = S extends { readonly type: 'verify' }
  ? true
  : Uint8Array

/** Copies the description of an operation. Throws CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID. */
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

/** Copies the signature now, or when its promise resolves. */
function signatureAtCall(signature: unknown): SignatureSource {
  if (isByteSource(signature)) return copyOf(signature)
  if (typeof (signature as PromiseLike<unknown> | null | undefined)?.then !== 'function')
    throw badMember('verify', 'signature')
  const promised = Promise.resolve(signature as PromiseLike<unknown>).then((bytes) => {
    if (!isByteSource(bytes)) throw badMember('verify', 'signature')
    return copyOf(bytes)
  })
  // An operation that ends before its data is complete never awaits the promise.
  promised.catch(() => {})
  return promised
}

function badMember(type: string, name: string): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${type}: the ${name} must be a Uint8Array` })
}

/** Runs the source through the operations. In a pair, the output of a decryption goes to its partner; otherwise both get the source. */
export async function run(
  specs: readonly RawOperationSpec[],
  operations: readonly ActiveOperation[],
  open: () => Chunks,
  progress: Progress,
): Promise<readonly unknown[]> {
  // Opened before the first await, because chunks that a pushing source emits earlier would be lost.
  const chunks = open()
  try {
    const outputs = specs.map(({ type }) => new Output(type, progress))
    const decryptAt = specs.length > 1 ? specs.findIndex(({ type }) => type === 'decrypt') : -1
    const all = operations.map((_, at) => at)
    const others = all.filter((at) => at !== decryptAt)
    const feed = async (at: number, chunk: Uint8Array): Promise<Uint8Array> =>
      (outputs[at] as Output).put(await (operations[at] as ActiveOperation).update(chunk, { progress }))
    const update = async (step: Uint8Array): Promise<void> => {
      const fed = decryptAt < 0 ? step : await feed(decryptAt, step)
      for (const at of others) await feed(at, fed)
    }
    for (const at of all) {
      const { header } = specs[at] as RawOperationSpec
      if (header !== undefined) await feed(at, header)
    }
    // In a pair, the digest or signature is computed in this thread, which needs small steps to stay responsive.
    const [only] = operations
    const stepBytes = operations.length === 1 ? only?.stepBytes : undefined
    for await (const step of stepsOf(chunks, progress, stepBytes)) await update(step)
    // Final runs in sequence, because both may need the card, and for a decryption first, because its partner needs its output.
    for (const at of decryptAt < 0 ? all : [decryptAt, ...others]) {
      progress.check()
      const spec = specs[at] as RawOperationSpec
      const signature = 'signature' in spec ? await spec.signature : undefined
      progress.check()
      const last = await (operations[at] as ActiveOperation).final({ progress, signature })
      ;(outputs[at] as Output).put(last)
      if (at === decryptAt && last.length > 0) for (const other of others) await feed(other, last)
    }
    return outputs.map((output) => output.result)
  } finally {
    chunks.stop()
  }
}
