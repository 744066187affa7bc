/** The warning about faulty reader firmware. Loaded together with the list of these readers. */
import { WebtokiError } from './webtoki-error.ts'

/** A warning: the reader's firmware is known to be faulty. The reader is used all the same. */
export class ReaderFirmwareError extends WebtokiError {
  readonly code = 'reader/firmware'
  override get name(): 'ReaderFirmwareError' {
    return 'ReaderFirmwareError'
  }
  constructor(firmware: string, goodFirmware: string, options?: ErrorOptions) {
    super(
      `The reader has firmware ${firmware}. Versions before ${goodFirmware} are faulty; update it if cards fail.`,
      options,
    )
  }
}
