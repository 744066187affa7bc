/**
 * Activates a card after its ATR: protocol, parameters, PPS, IFSD and the limits of an APDU (ISO/IEC 7816-3:2006).
 */
import { atrStatesExtended, atrStatesLengths, limitsOf, NotSupportedError, readAtr } from '@webtoki/apdu'
import type { ActivatedSlot, Activation } from './activation-port.ts'
import { HEADER_BYTES } from './messages.ts'

/** CLA, INS, P1, P2, three bytes of Lc, 65535 bytes of data, two bytes of Le. */
const EXTENDED_COMMAND_BYTES = 65_544

/**
 * Settles what the reader and the card leave to the host. Rejects with NotSupportedError if they have no protocol in
 * common, or not the requested one.
 */
export async function activate(
  slot: ActivatedSlot,
  atrBytes: Uint8Array,
  requested: 'T=0' | 'T=1' | undefined,
): Promise<Activation> {
  const atr = readAtr(atrBytes)
  const { level } = slot.reader.descriptor
  if (level === 'tpdu' || level === 'character') {
    // Loaded on demand: most readers take APDUs, and few work at character level.
    const { activateTpdu } = await import('./tpdu/activate.ts')
    const characters = level === 'tpdu' ? undefined : await import('./tpdu/character-line.ts')
    return activateTpdu(slot, atr, requested, characters && new characters.CharacterLine(slot))
  }
  if (requested !== undefined && atr !== undefined && `T=${atr.protocols[0] ?? 0}` !== requested) {
    // At APDU level the reader selects the protocol: the first one in the ATR.
    throw new NotSupportedError(
      `The reader uses T=${atr.protocols[0] ?? 0} with this card, not ${requested}.`,
    )
  }
  const { maxMessageBytes } = slot.reader.descriptor
  const longest = { commandBytes: EXTENDED_COMMAND_BYTES, responseBytes: 65_536 }
  const extended = level === 'extended' && atr !== undefined && atrStatesExtended(atr)
  if (extended) return { limits: { extended, ...longest } }
  // Over T=0 the reader splits an extended APDU into short ones (ISO/IEC 7816-3:2006, 12.2), so trying one has no
  // advantage.
  const isSilent = atr !== undefined && atr.protocols[0] === 1 && !atrStatesLengths(atr)
  const mayTry = level === 'extended' && isSilent && slot.mayTryExtended
  const capacityBytes = level === 'extended' ? EXTENDED_COMMAND_BYTES : maxMessageBytes - HEADER_BYTES
  return { limits: { ...limitsOf(capacityBytes), ...(mayTry && { untried: longest }) } }
}

/** True if an ATR was damaged in transit, so that another reset may return a correct one. */
export function isDamaged(bytes: Uint8Array): boolean {
  const faults = readAtr(bytes)?.faults ?? []
  return faults.some((fault) => /wrong|truncated|convention/.test(fault))
}
