/** A private key of a PIV card: what it asks of its user, and its uses (SP 800-73-4 part 2, 3.2.4). */
import type { TransmitOptions } from '@webtoki/apdu'
import type { PivApplet, PivSlot } from '@webtoki/apdu/piv'
import type { Attributes } from '../attributes.ts'
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyAccess, KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import { type Mechanism, signMechanism } from '../mechanisms.ts'
import { checkSignatureKey, gatheredFor } from '../software/public-key.ts'
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
    if (this.#isRead || !application.tellsKeyPolicies) return
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

/** The key of a slot, with the attributes that its certificate tells. */
export function pivKey(
  access: PivKeyAccess,
  slot: PivSlot,
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array,
): UsableKey {
  return {
    use: (purpose: KeyPurpose, mechanism: Mechanism): KeyUse => {
      const rules = signMechanism(mechanism.type)
      if (purpose !== 'sign' || rules === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
      checkSignatureKey(attributes, mechanism, rules)
      const outputBytes = signatureBytes(attributes)
      return {
        gathers: gatheredFor(rules),
        access,
        outputBytes: () => outputBytes,
        prepare: async (data) => {
          const signature = await prepareSignature(mechanism, attributes, data, randomBytes)
          return {
            perform: async (channel, options) => {
              if (channel === undefined) throw new CryptokiError(CKR.FUNCTION_FAILED)
              const input = { tag: 0x81, value: signature.challenge } as const
              return signature.finish(
                await access.application.generalAuthenticate(
                  channel,
                  signature.algorithm,
                  slot.key,
                  input,
                  options,
                ),
              )
            },
          }
        },
      }
    },
  }
}
