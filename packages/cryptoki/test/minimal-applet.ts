/** A badge: one P-256 key under one PIN of four to eight digits. */
import {
  CardApplication,
  type CardChannel,
  type CardConnection,
  concatBytes,
  encodeTlv,
  expectOk,
  fromHex,
  isWebtokiError,
  PinReference,
  toHex,
  type TransmitOptions,
} from '@webtoki/apdu'
import {
  type Attributes,
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  CKR,
  CryptokiError,
  type KeyAccess,
  type Token,
  type TokenDriver,
  type TokenObject,
} from '@webtoki/cryptoki'

/** The commands of the card. Each goes through `exchange`, which lets the PIN see the latest command. */
export class BadgeApplet extends CardApplication {
  readonly pin: PinReference = new PinReference(this, {
    name: 'PIN',
    reference: () => 0x01,
    format: { minBytes: 4, maxBytes: 8, alphabet: 'digits', encode: (pin) => concatBytes(pin) },
  })

  constructor(connection: CardConnection) {
    super(connection, { name: 'badge', aid: fromHex('f042414447450001') })
  }

  /** The serial number identifies the card before a PIN is sent to it. */
  override async fingerprint(channel: CardChannel, options?: TransmitOptions): Promise<string> {
    return toHex(await this.read(channel, 0x5a, options))
  }

  async read(channel: CardChannel, tag: number, options?: TransmitOptions): Promise<Uint8Array> {
    const command = { name: 'GET DATA', cla: 0, ins: 0xca, p1: 0, p2: tag, responseBytes: 256 }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }

  async sign(channel: CardChannel, data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array> {
    const command = { name: 'SIGN', cla: 0, ins: 0x88, p1: 0, p2: 0, data, responseBytes: 256 }
    return expectOk(await this.exchange(channel, command, options), command.name)
  }
}

function privateKey(applet: BadgeApplet): TokenObject {
  const known: Attributes = {
    [CKA.CLASS]: CKO.PRIVATE_KEY,
    [CKA.TOKEN]: true,
    [CKA.PRIVATE]: true,
    [CKA.ID]: Uint8Array.of(1),
    [CKA.LABEL]: 'Badge key',
  }
  const access = {
    application: applet,
    needs: 'login' as KeyAccess['needs'],
    learnContextPin: () => void (access.needs = 'context-pin'),
  }
  let all: Attributes | undefined
  return {
    known,
    access,
    // Init is synchronous and needs type and size, so both are known before the object has a handle.
    load: async (options) => {
      all ??= {
        ...known,
        [CKA.KEY_TYPE]: CKK.EC,
        [CKA.EC_PARAMS]: fromHex('06082a8648ce3d030107'),
        [CKA.EC_POINT]: encodeTlv(
          0x04,
          await applet.transaction((channel) => applet.read(channel, 0x86, options), options),
        ),
        [CKA.SIGN]: true,
      }
      return all
    },
    use: (purpose, mechanism) => {
      if (purpose !== 'sign' || mechanism.type !== CKM.ECDSA_SHA256)
        throw new CryptokiError(CKR.MECHANISM_INVALID)
      return {
        gathers: { hash: 'SHA-256' },
        access,
        outputBytes: () => 64,
        prepare: async (digest) => ({
          perform: (channel, options) => applet.sign(channel as CardChannel, digest, options),
        }),
      }
    },
  }
}

/** Recognizes a badge. */
export function badgeDriver(): TokenDriver {
  const open = async (connection: CardConnection): Promise<readonly Token[]> => {
    const applet = new BadgeApplet(connection)
    try {
      await applet.transaction(async (channel) => applet.remember(await applet.fingerprint(channel)))
    } catch (error) {
      // A status word: not a badge. Any other failure, such as a pulled card, is an error.
      if (isWebtokiError(error, 'card/status')) return []
      throw error
    }
    const key = privateKey(applet)
    const info = { minKeyBits: 256, maxKeyBits: 256, flags: CKF.SIGN }
    const token: Token = {
      name: 'badge',
      label: 'Badge',
      flags: CKF.WRITE_PROTECTED,
      mechanisms: new Map([[CKM.ECDSA_SHA256, info]]),
      pins: { user: applet.pin },
      describe: async () => ({ label: 'Badge', manufacturer: '', model: 'Badge 1', serialNumber: '' }),
      objects: () => [key],
    }
    return [token]
  }
  return { name: 'badge', open }
}
