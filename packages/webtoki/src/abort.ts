/** What an abort of the caller ends. */
import { CKR, CryptokiError } from '@webtoki/cryptoki'

function canceled({ reason }: AbortSignal): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { cause: reason })
}

/** Throws CKR_FUNCTION_CANCELED if the signal has aborted. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceled(signal)
}

/** Rejects as soon as the signal aborts, whatever becomes of the work: a card may take its time, or not answer at all. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(canceled(signal))
    signal.addEventListener('abort', abort)
    // Work may have aborted it before the listener was there.
    if (signal.aborted) abort()
    const leave = (): void => signal.removeEventListener('abort', abort)
    work.then(resolve, reject).then(leave, leave)
  })
}
