/** A private key on a card, whichever card application it belongs to. */
import type { CardChannel, TransmitOptions } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { KeyAccess, KeyPurpose, KeyUse, UsableKey } from './key-use.ts'
import type { RawMechanism } from './mechanisms.ts'

/** What a key does with its data before and after the card's part, which `Command` describes. */
export interface CardUse<Command> extends Pick<KeyUse, 'gathers' | 'outputBytes'> {
  readonly prepare: (data: Uint8Array) => Promise<Command>
}

/** `useOf` throws as `UsableKey.use` does; `perform` is the card's part. */
export function cardKey<Command>(
  access: KeyAccess,
  useOf: (purpose: KeyPurpose, mechanism: RawMechanism) => CardUse<Command>,
  perform: (command: Command, channel: CardChannel, options: TransmitOptions) => Promise<Uint8Array>,
): UsableKey {
  return {
    use: (purpose, mechanism) => {
      const { prepare, ...use } = useOf(purpose, mechanism)
      return {
        ...use,
        access,
        prepare: async (data) => {
          const command = await prepare(data)
          return {
            perform: async (channel, options) => {
              if (channel === undefined) throw new CryptokiError(CKR.FUNCTION_FAILED)
              return perform(command, channel, options)
            },
          }
        },
      }
    },
  }
}
