/** Turns an abort by the caller into CKR_FUNCTION_CANCELED. */
import { CKR, CryptokiError } from '@webtoki/cryptoki'

function canceled({ reason }: AbortSignal): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { cause: reason })
}

/** Throws CKR_FUNCTION_CANCELED if the signal is aborted; its reason becomes `cause`. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceled(signal)
}

/** Settles as `work` does, but rejects as soon as the signal aborts: a card may respond late or never. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(canceled(signal))
    signal.addEventListener('abort', abort)
    // `work` may have aborted the signal before the listener was added.
    if (signal.aborted) abort()
    const stopListening = (): void => signal.removeEventListener('abort', abort)
    work.then(resolve, reject).then(stopListening, stopListening)
  })
}
