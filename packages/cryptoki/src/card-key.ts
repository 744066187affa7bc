/** Private keys on cards, independent of the card application. */
import type { CardChannel, TransmitOptions } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { KeyAccess, KeyPurpose, KeyUse, UsableKey } from './key-use.ts'
import type { RawMechanism } from './mechanisms.ts'

/** A use of a key on a card. `prepare` turns the data into the `Command` that the card performs. */
export interface CardUse<Command> extends Pick<KeyUse, 'gathers' | 'outputBytes'> {
  readonly prepare: (data: Uint8Array) => Promise<Command>
}

/** Makes a key. `useOf` throws the errors of `UsableKey.use`; `perform` runs a prepared command on the card. */
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
