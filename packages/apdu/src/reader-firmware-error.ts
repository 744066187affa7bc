/** A warning about a reader. Loaded with the list of those that need one. */
import { WebtokiError } from './webtoki-error.ts'

/** A warning: the reader is used, and its firmware is known to be faulty. */
export class ReaderFirmwareError extends WebtokiError {
  readonly code = 'reader/firmware'
  override get name(): 'ReaderFirmwareError' {
    return 'ReaderFirmwareError'
  }
  constructor(firmware: string, goodFirmware: string, options?: ErrorOptions) {
    super(
      `The reader has firmware ${firmware}; versions before ${goodFirmware} are known to be faulty. Update it if cards fail.`,
      options,
    )
  }
}
