/** GetParameters, ResetParameters, SetParameters and their answer (CCID 1.1, 6.1.5 to 6.1.7 and 6.2.3), encoded and decoded. */
import { MalformedError } from '@webtoki/apdu'
import { type Answer, type CommandHead, CommandStatus, encode, PcToRdr } from './messages.ts'

/** CCID 1.1, 6.1.5. Answer: Parameters. */
export function encodeGetParameters(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.getParameters, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.6. Answer: Parameters. */
export function encodeResetParameters(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.resetParameters, command, 0, 0, 0)
}

/** Protocol parameters as they travel: 5 bytes for T=0, 7 for T=1 (CCID 1.1, 6.1.7). */
export interface ProtocolParameters {
  readonly protocol: 0 | 1
  readonly data: Uint8Array
}

const parameterBytes = { 0: 5, 1: 7 } as const

/** CCID 1.1, 6.1.7. Answer: Parameters. */
export function encodeSetParameters(command: CommandHead & ProtocolParameters): Uint8Array<ArrayBuffer> {
  if (command.data.length !== parameterBytes[command.protocol]) {
    throw new MalformedError('SetParameters', `${command.data.length} bytes for T=${command.protocol}`)
  }
  return encode(PcToRdr.setParameters, command, command.protocol, 0, 0, command.data)
}

/** Reads RDR_to_PC_Parameters (CCID 1.1, 6.2.3), of an answer whose type is known. */
export function decodeParameters(answer: Answer): Answer & ProtocolParameters {
  const protocol = answer.parameter
  if (protocol !== 0 && protocol !== 1) throw new MalformedError('Parameters', `bProtocolNum ${protocol}`)
  const ok = answer.commandStatus === CommandStatus.ok
  if (ok && answer.data.length !== parameterBytes[protocol]) {
    throw new MalformedError('Parameters', `${answer.data.length} bytes for T=${protocol}`)
  }
  return { ...answer, protocol }
}
