/** A private key of a PIV card: what it asks of its user, and its uses (SP 800-73-4 part 2, 3.2.4). */
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

/** What the PIV application asks before it uses the key of a slot; one for each slot. */
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
    const told = await application.transaction(
      (channel) => application.readKeyPolicy(channel, this.#slot.key, options),
      options,
    )
    this.#isRead = true
    if (told?.pin !== undefined) this.#needs = needsOf[told.pin]
    this.touch = told?.touch
  }

  learnContextPin(): void {
    this.#needs = 'context-pin'
  }
}

const needsOf = { never: 'nothing', once: 'login', always: 'context-pin' } as const

/** What keys need of randomness. */
export interface PivSecrets {
  /** Salts of PSS. */
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly rejectionSecret: RejectionSecret
}

/** What keys that decipher or agree on secrets need besides: a login has no such key. */
export type Deciphering = typeof import('./deciphering.ts')

/**
 * The key of a slot, with the attributes that its certificate tells. `deciphering` is there if they allow any of it: an Init
 * is synchronous, so it is loaded before the key has a handle.
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

/** Throws CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE, CKR_KEY_FUNCTION_NOT_PERMITTED. */
function cardUse(
  purpose: KeyPurpose,
  mechanism: RawMechanism,
  attributes: Attributes,
  { randomBytes, rejectionSecret }: PivSecrets,
  deciphering: Deciphering | undefined,
): CardUse<CardCommand> {
  if (purpose === 'sign' || purpose === 'sign-recover') return signature(mechanism, attributes, randomBytes)
  if (deciphering === undefined) throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
  if (purpose === 'derive') return deciphering.agreement(mechanism, attributes, { curveOf })
  return deciphering.decryption(mechanism, attributes, rejectionSecret, { modulusBytes, rawRsa })
}

/** A signature that data can be recovered from is the same block: what differs is who has the data afterwards. */
function signature(
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
