/** Private keys on a PIV card: access conditions and uses (SP 800-73-4 part 2, 3.2.4). */
import type { TransmitOptions } from '@webtoki/apdu'
import type { PivApplet, PivSlot } from '@webtoki/apdu/piv'
import type { Attributes } from '../attributes.ts'
import { cardKey, type CardUse } from '../card-key.ts'
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyAccess, KeyPurpose, UsableKey } from '../key-use.ts'
import { checkSignatureKey, gatheredFor, type RawMechanism, signMechanism } from '../mechanisms.ts'
import { type CardCommand, curveOf, modulusBytes, rawRsa } from './card-command.ts'
import type { RejectionSecret } from './deciphering.ts'
import { prepareSignature, signatureBytes } from './signing.ts'

/** The access conditions of the key in one PIV slot. */
export class PivKeyAccess implements KeyAccess {
  readonly application: PivApplet
  readonly #slot: PivSlot
  #needs: KeyAccess['needs']
  touch: boolean | undefined
  #isRead = false

  constructor(application: PivApplet, slot: PivSlot) {
    this.application = application
    this.#slot = slot
    this.#needs = needsOf[slot.pin]
  }

  get needs(): KeyAccess['needs'] {
    return this.#needs
  }

  async read(options?: TransmitOptions): Promise<void> {
    const { application } = this
    if (this.#isRead || !application.reportsKeyPolicies) return
    const policy = await application.transaction(
      (channel) => application.readKeyPolicy(channel, this.#slot.key, options),
      options,
    )
    this.#isRead = true
    if (policy?.pin !== undefined) this.#needs = needsOf[policy.pin]
    this.touch = policy?.touch
  }

  learnContextPin(): void {
    this.#needs = 'context-pin'
  }
}

const needsOf = { never: 'nothing', once: 'login', always: 'context-pin' } as const

/** The random values that keys use. */
export interface PivSecrets {
  /** Generates the salts of PSS. */
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly rejectionSecret: RejectionSecret
}

/** The module for decryption and key agreement. It is loaded only for keys that allow them; a login uses none. */
export type Deciphering = typeof import('./deciphering.ts')

/**
 * Makes the private key of a slot. `attributes` come from its certificate. `deciphering` is set if they allow decryption or
 * derivation: an Init is synchronous, so the module is loaded before the key has a handle.
 */
export function pivKey(
  access: PivKeyAccess,
  slot: PivSlot,
  attributes: Attributes,
  secrets: PivSecrets,
  deciphering: Deciphering | undefined,
): UsableKey {
  const { application } = access
  return cardKey(
    access,
    (purpose, mechanism) => cardUse(purpose, mechanism, attributes, secrets, deciphering),
    async ({ algorithm, input, finish }, channel, options) =>
      finish(await application.generalAuthenticate(channel, algorithm, slot.key, input, options)),
  )
}

/**
 * Throws CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE,
 * CKR_KEY_FUNCTION_NOT_PERMITTED.
 */
function cardUse(
  purpose: KeyPurpose,
  mechanism: RawMechanism,
  attributes: Attributes,
  { randomBytes, rejectionSecret }: PivSecrets,
  deciphering: Deciphering | undefined,
): CardUse<CardCommand> {
  if (purpose === 'sign' || purpose === 'sign-recover') return signUse(mechanism, attributes, randomBytes)
  if (deciphering === undefined) throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
  if (purpose === 'derive') return deciphering.deriveUse(mechanism, attributes, { curveOf })
  return deciphering.decipherUse(mechanism, attributes, rejectionSecret, { modulusBytes, rawRsa })
}

/** Signs. A signature with recovery consists of the same block, so both purposes use this. */
function signUse(
  mechanism: RawMechanism,
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array,
): CardUse<CardCommand> {
  const rules = signMechanism(mechanism.type)
  if (rules === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkSignatureKey(attributes, mechanism, rules)
  const bytes = signatureBytes(attributes)
  return {
    gathers: gatheredFor(rules),
    outputBytes: () => bytes,
    prepare: (data) => prepareSignature(mechanism, attributes, data, randomBytes),
  }
}
