/** `webtoki tokens`: lists each token with its certificates and keys. */
import { toHex } from '@webtoki/apdu'
import { curveOfParameters } from '@webtoki/crypto'
import { CKA, CKO, type CkObject, Cryptoki, isCryptokiError, type Slot } from '@webtoki/cryptoki'
import { parseOptions, readerOptions } from './arguments.ts'
import { connect } from './connect.ts'
import { allDrivers } from './keys.ts'
import { failWithoutCard, presentSlots, tokenSlots } from './present-slots.ts'

/**
 * Prints one block for each token: a line with label, model, serial number and reader, then one line for each object.
 * Resolves to 1 if a card could not be read.
 */
export async function tokens(
  args: readonly string[],
  output: (line: string) => void,
  complain: (line: string) => void,
): Promise<number> {
  const connected = await connect(parseOptions(args, readerOptions))
  const { source } = connected
  let failures = 0
  const cryptoki = new Cryptoki({ sources: [source], drivers: allDrivers(), login: 'on-demand' })
  try {
    const slots = await presentSlots(cryptoki)
    if (slots.length === 0) return await failWithoutCard(cryptoki, connected, complain)
    for (const slot of slots) {
      try {
        for (const each of await tokenSlots(cryptoki, slot)) await print(each, output)
      } catch (error) {
        // A card that no driver recognizes must not hide the other cards.
        if (!isCryptokiError(error)) throw error
        complain(`${slot.name}: ${error.message}`)
        failures++
      }
    }
    return failures > 0 ? 1 : 0
  } finally {
    await cryptoki.close()
  }
}

async function print(slot: Slot, output: (line: string) => void): Promise<void> {
  const info = await slot.tokenInfo()
  output(`${info.label} · ${info.model} · ${info.serialNumber || 'no serial number'} · in ${slot.name}`)
  const session = await slot.openSession()
  for (const object of await session.findObjects()) output(`  ${line(object)}`)
  await session.close()
}

function line(object: CkObject): string {
  const { [CKA.ID]: id, [CKA.LABEL]: label, [CKA.CLASS]: objectClass } = object.attributes
  const kind =
    objectClass === CKO.CERTIFICATE
      ? 'certificate'
      : objectClass === CKO.PUBLIC_KEY
        ? 'public key '
        : 'private key'
  return `${toHex(id ?? new Uint8Array(0))} ${kind} ${label ?? ''}${size(object)}`
}

function size(object: CkObject): string {
  const { [CKA.MODULUS_BITS]: bits, [CKA.EC_PARAMS]: curve } = object.attributes
  if (bits !== undefined) return ` (RSA ${bits})`
  if (curve === undefined) return ''
  return ` (${curveOfParameters(curve)?.name ?? 'EC'})`
}
